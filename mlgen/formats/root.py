"""ROOT files: events as a TTree or an RNTuple that ROOT and uproot read without mlgen.

The object ``events`` has one entry an event:

==========================================  =====================================================================
``weight, scale, alpha_qed, alpha_qcd``     ``double`` (GeV where there is a unit)
``process_id``                              ``int64``
``variations``                              ``double[n]``, the named weights, in the order of `mlgen_variation_names`
``comments, tag_attributes``                strings, mostly empty
``particles``                               pdg_id, status, mother1, ... spin: as in `mlgen.events.EventBatch`
``vertices``                                x, y, z, t, status; only for shower-level events
``attributes``                              strings: a JSON object for each shower-level event that has attributes
==========================================  =====================================================================

Where a calorimeter was simulated there is a second object ``cells``. Its entry i belongs to entry i of ``events``:

==========================================  =====================================================================
``event``                                   ``int64``, the number of the event, from 0
``weight, variations``                      as in ``events``
``particle``                                the particles with a shower: ``pdg_id``; ``energy`` (GeV), ``eta`` and
                                            ``phi`` where they were produced; ``x, y, z`` (mm) at the front face;
                                            ``index``, their place in ``particles``, from 0; ``outside_range``, whether
                                            the model was trained at other energies
``cell``                                    the cells with energy: ``energy`` (MeV); ``layer``; ``voxel``, their number
                                            in the model's geometry (or in the layer of a fixed grid); ``eta, phi, x, y,
                                            z`` (mm) of their centre; ``particle``, the place among those above, from 0
==========================================  =====================================================================

In a TTree the particles are jagged branches ``particles_px``, ``particles_py``, ... that share the counter
``nparticles`` (``vertices_x``, ... and ``nvertices``; ``cell_energy``, ... and ``ncell``); in an RNTuple ``particles``
is a collection with fields ``px``, .... Beside ``events`` stand three strings: ``mlgen_run_info`` (everything that is
true of the whole file, as JSON), ``mlgen_variation_names`` (one name a line) and ``mlgen_about`` (for people).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from mlgen.event_format import EventFormat, EventReader, EventWriter, ReadOptions
from mlgen.run_info import RunInfo


def _local(stream: BinaryIO | Path, name: str) -> Path:
    if not isinstance(stream, Path):
        raise TypeError(f"{name} is read and written by path, not through a stream")
    return stream


class RootTree(EventFormat):
    """ROOT files with a TTree; the reader takes those with an RNTuple too."""

    name = "root"
    summary = "ROOT file with a TTree of flat and jagged branches"
    suffixes = (".root",)
    contract_version = 1
    streams = False
    holds_cells = True

    def recognises(self, head: bytes) -> bool:
        """Tell by ROOT's magic number."""
        return head.startswith(b"root")

    def reader(self, stream: BinaryIO | Path, options: ReadOptions) -> EventReader:
        """Open for reading."""
        from mlgen.formats.root_reader import RootReader

        return RootReader(_local(stream, self.name), options)

    def writer(self, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
        """Open for writing."""
        from mlgen.formats.root_writer import RootWriter

        return RootWriter(_local(stream, self.name), run_info, ntuple=False)


class RootNTuple(RootTree):
    """ROOT files with an RNTuple, the successor of the TTree (ROOT 6.34 and later)."""

    name = "rntuple"
    summary = "ROOT file with an RNTuple, for ROOT 6.34 and later"
    suffixes = (".rntuple.root",)
    contract_version = 1

    def recognises(self, head: bytes) -> bool:
        """Leave recognising to `RootTree`, whose reader takes both: they begin with the same bytes."""
        return False

    def writer(self, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
        """Open for writing."""
        from mlgen.formats.root_writer import RootWriter

        return RootWriter(_local(stream, self.name), run_info, ntuple=True)
