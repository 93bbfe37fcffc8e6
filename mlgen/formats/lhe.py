"""The Les Houches event file, versions 1.0 to 3.0 (hep-ph/0609017, arXiv:1405.1067)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO, cast

from mlgen.event_format import EventFormat, EventReader, EventWriter, ReadOptions
from mlgen.run_info import RunInfo


class LesHouches(EventFormat):
    """Les Houches event files.

    Kept in full: ``<init>``, header blocks, declared and undeclared named weights in and out of groups, attributes of
    the tags, and everything that follows the particles of an event. Weights given as a bare list (``<weights>``) are
    written with their names (``<rwgt>``); beside ``<rwgt>`` such a list stays as it is. Not kept: text before the first
    tag, between two events (``<eventgroup>`` included) and after the last event.
    """

    name = "lhe"
    summary = "Les Houches event file"
    suffixes = (".lhe", ".lhef")
    contract_version = 1
    shower_level = False

    def recognises(self, head: bytes) -> bool:
        """Tell by the root tag."""
        return b"<LesHouchesEvents" in head

    def reader(self, stream: BinaryIO | Path, options: ReadOptions) -> EventReader:
        """Open for reading."""
        from mlgen.formats.lhe_reader import LesHouchesReader

        return LesHouchesReader(cast(io.BufferedReader, stream), options)

    def writer(self, stream: BinaryIO | Path, run_info: RunInfo) -> EventWriter:
        """Open for writing."""
        from mlgen.formats.lhe_writer import LesHouchesWriter

        return LesHouchesWriter(cast(BinaryIO, stream), run_info)
