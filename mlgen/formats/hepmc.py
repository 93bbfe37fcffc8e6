"""HepMC event files, the format of showered events, as streams of batches.

References:
    HepMC3: Buckley et al., Comput. Phys. Commun. 260, 107310 (2021), arXiv:1912.08005.
    HepMC2: Dobbs and Hansen, Comput. Phys. Commun. 134, 41 (2001).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

from mlgen.event_format import EventFormat, EventReader, EventWriter, ReadOptions
from mlgen.run_info import RunInfo


class HepMC3(EventFormat):
    """HepMC3 ASCII.

    A hard event is written with beam particles, a hard vertex and the decays of its resonances, and comes back
    exactly as it was: what HepMC has no place for stands in attributes that begin with ``mlgen_``. A shower-level
    event keeps particles, vertices, colours, weights, scale, couplings and process; spins and lifetimes are not kept,
    mothers are read from the graph.

    Files of other programs are read as shower-level events. Attributes that have no column (cross section, PDFs,
    heavy ions, whatever else the program wrote, also those of particles and vertices) stay with their event as text
    in `EventBatch.attributes` and are written again. `RunInfo.cross_section` is the estimate of the first event,
    because a stream cannot know the last one; it is written into those events that have none of their own. It is the
    same with what mlgen wrote of a matched sample, whose cross section was not known when the file was begun.
    Units are converted to GeV and mm, and the event's own position into positions of its vertices.

    Weight names have their blanks replaced, because HepMC3 splits names there, and a weight that an event lacks
    is written as 0 because HepMC3 cannot read NaN; mlgen reads both as they were.
    """

    name = "hepmc3"
    summary = "HepMC3 ASCII events"
    suffixes = (".hepmc3", ".hepmc")
    contract_version = 1

    def recognises(self, head: bytes) -> bool:
        """Look for the line with which HepMC3 begins its listing."""
        return b"HepMC::Asciiv3" in head

    def reader(self, stream: BinaryIO | Path, options: ReadOptions) -> EventReader:
        """Read HepMC3."""
        from mlgen.formats.hepmc_reader import HepMCReader

        return HepMCReader(cast(BinaryIO, stream), options, 3)

    def writer(self, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
        """Write HepMC3."""
        from mlgen.formats.hepmc_writer import HepMCWriter

        return HepMCWriter(cast(BinaryIO, stream), run_info, 3)


class HepMC2(EventFormat):
    """HepMC2 ASCII (IO_GenEvent), for programs that read nothing newer.

    Kept: particles with status, momentum, mass and colour flow, the graph with vertex positions, all weights with
    names, cross section and error, PDFs (x, scale, densities). Scale and couplings are written with 7 digits. Lost:
    spins, lifetimes, comments and other attributes of the event (heavy ions are written, but not read), and of the run
    information everything but weight names, beams and cross section, which is that of the first event as in HepMC3.
    The format cannot say that an event is a hard process, so it is read back as a shower-level event,
    beams included, with HepMC's status codes.
    """

    name = "hepmc2"
    summary = "HepMC2 ASCII events (IO_GenEvent)"
    suffixes = (".hepmc2",)
    contract_version = 1

    def recognises(self, head: bytes) -> bool:
        """Look for the line with which HepMC2 begins its listing."""
        return b"HepMC::IO_GenEvent" in head

    def reader(self, stream: BinaryIO | Path, options: ReadOptions) -> EventReader:
        """Read HepMC2."""
        from mlgen.formats.hepmc_reader import HepMCReader

        return HepMCReader(cast(BinaryIO, stream), options, 2)

    def writer(self, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
        """Write HepMC2."""
        from mlgen.formats.hepmc_writer import HepMCWriter

        return HepMCWriter(cast(BinaryIO, stream), run_info, 2)
