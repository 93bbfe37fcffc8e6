"""The event formats that come with mlgen, offered through the same hook as anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlgen.hookspecs import hookimpl

if TYPE_CHECKING:
    from mlgen.event_format import EventFormat


@hookimpl
def mlgen_event_formats() -> Iterator[EventFormat]:
    """Offer LHE, LHEH5, HepMC3, HepMC2, ROOT trees and RNTuples."""
    from mlgen.formats.hepmc import HepMC2, HepMC3
    from mlgen.formats.lhe import LesHouches
    from mlgen.formats.lheh5 import LesHouchesHDF5
    from mlgen.formats.root import RootNTuple, RootTree

    yield LesHouches()
    yield HepMC3()
    yield HepMC2()
    yield RootTree()
    yield RootNTuple()
    yield LesHouchesHDF5()
