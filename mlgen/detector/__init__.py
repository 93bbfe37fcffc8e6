"""From particles to calorimeter cells: which particles shower, where they hit, and where their voxels are.

================  ===================================================================================================
`settings`        what a card says of the detector
`particles`       the final particles of events, with where they were produced
`front_face`      the way to the calorimeter's front face, straight or in a solenoid
`placement`       from a shower's own frame to the detector
`simulation`      all of it, for a batch of events: selection, showers of a surrogate, cells
`grid`            a fixed grid of cells, in which overlapping showers add up
`names`           names of particles
`census`          what became of the final particles, by kind
================  ===================================================================================================
"""
