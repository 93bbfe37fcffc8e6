"""LHEH5: Les Houches events in HDF5, as Sherpa, Pepper and Pythia 8 read and write them, version 2.

==============  ===================================================================================================
``init``        the ten numbers of ``<init>``
``procInfo``    one row a process, with ``npLO`` and ``npNLO``, which `RunInfo.foreign` keeps under ``lheh5``
``events``      one row an event: pid, nparticles, start, trials, scale, fscale, rscale, aqed, aqcd, NOMINAL and one
                column for each named weight
``particles``   one row a particle, all events in a row
``xml/header``  header blocks and ``<initrwgt>``, where there are named weights (as pylhe writes it)
``mlgen``       what LHEH5 has no place for: the run information as JSON, comments and tag attributes
==============  ===================================================================================================

``trials`` becomes an attribute of the event's tag when it is read (``<event trials="3.0">``), ``fscale`` and ``rscale``
become a line ``<scales fscale="..." rscale="..."/>`` after the particles, and both become columns again when they are
written. Files of version 1 (groups ``event`` and ``particle`` with one dataset a column) are read too. Of columns,
or declared weights, of one name the first is read.

References:
    Hoeche, Prestel, Schulz, arXiv:1905.05120; Bothmann et al., arXiv:2309.13154.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from mlgen.event_format import EventFormat, EventReader, EventWriter, ReadOptions
from mlgen.run_info import RunInfo


class LesHouchesHDF5(EventFormat):
    """Les Houches events in HDF5."""

    name = "lheh5"
    summary = "Les Houches events in HDF5 (LHEH5)"
    suffixes = (".lheh5", ".hdf5", ".h5")
    contract_version = 1
    shower_level = False
    streams = False

    def recognises(self, head: bytes) -> bool:
        r"""Tell by the magic number of HDF5, ``\x89HDF\r\n\x1a\n``."""
        return head.startswith(b"\x89HDF\r\n\x1a\n")

    def reader(self, stream: BinaryIO | Path, options: ReadOptions) -> EventReader:
        """Open for reading."""
        from mlgen.formats.lheh5_reader import LesHouchesHDF5Reader

        return LesHouchesHDF5Reader(_local(stream), options)

    def writer(self, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
        """Open for writing."""
        from mlgen.formats.lheh5_writer import LesHouchesHDF5Writer

        return LesHouchesHDF5Writer(_local(stream), run_info)


def _local(stream: BinaryIO | Path) -> Path:
    if not isinstance(stream, Path):
        raise TypeError("LHEH5 is read and written by path, not through a stream")
    return stream
