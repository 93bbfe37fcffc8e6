"""Events <-> the numbers that networks see. NumPy only: what a network is made of is the plugin's own affair.

`represent` splits the events of a file into *topologies* (`Topology`): events that have the same decay tree and jets,
and differ in flavours, colour flow and helicities (`Labels`). Every event of a topology is then three labels and a
*point*, a row of uncorrelated numbers of order one. `Topology.decode` turns points into events that conserve
four-momentum, stand on their mass shells and lie inside the cuts of the sample, whatever the numbers are.
"""

from mlgen.representation.classes import EventClass, canonical_colors, find_classes
from mlgen.representation.collected import collected
from mlgen.representation.couplings import CouplingTable
from mlgen.representation.cuts import SampleCuts
from mlgen.representation.decay_tree import DecayTree
from mlgen.representation.kinematics import Kinematics
from mlgen.representation.labels import Labels
from mlgen.representation.marginals import NormalMarginals
from mlgen.representation.numbers import EVENT_NUMBERS, EventNumbers
from mlgen.representation.sample import Representation, represent
from mlgen.representation.topology import DecodedEvents, Topology, TopologyEvents

__all__ = [
    "EVENT_NUMBERS",
    "CouplingTable",
    "DecayTree",
    "DecodedEvents",
    "EventClass",
    "EventNumbers",
    "Kinematics",
    "Labels",
    "NormalMarginals",
    "Representation",
    "SampleCuts",
    "Topology",
    "TopologyEvents",
    "canonical_colors",
    "collected",
    "find_classes",
    "represent",
]
