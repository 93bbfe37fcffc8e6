"""Hands hard events over to Pythia, in memory: as an object that it asks for the next event, or as an LHE file.

What only Pythia's own reader of Les Houches files passes on (attributes of the events, scales of clusterings) is
needed for matching and merging. The file then lies in memory, too, where the system has such files (Linux).
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats.lhe_writer import LesHouchesWriter
from mlgen.run_info import Process, RunInfo

#: Attribute of an event's tag: its number in the batch, from 0.
NUMBER = "mlgen_number"
#: Unit weights: Pythia leaves all events in. The weights of the events stay with mlgen.
UNIT_WEIGHTS = 3

_PDF_LINE = re.compile(r"^\s*#pdf\s+(.*)$", re.MULTILINE)
_SHOWER_SCALES = re.compile(r"^\s*#scaleShowers\s+(\S+)\s+(\S+)", re.MULTILINE)
_BLOCK = re.compile(r"<(?P<tag>[A-Za-z_][\w.-]*)(?:\s[^>]*)?>(?P<text>.*?)</(?P=tag)>", re.DOTALL)


def usable_processes(run_info: RunInfo) -> tuple[Process, ...]:
    """Processes with a cross section that Pythia takes; where there is none, or none above 0, one of 1 pb."""
    if run_info.cross_section > 0:
        return run_info.processes
    return (Process(run_info.processes[0].process_id if run_info.processes else 1, 1.0, 0.0, 1.0),)


def header_blocks(run_info: RunInfo) -> dict[str, str]:
    """Blocks of the header, by tag (``slha``, ``MGRunCard``), as Pythia's reader gives them to Pythia."""
    inner = re.search(r"<header[^>]*>(.*)</header>", run_info.header, re.DOTALL)
    return {found["tag"]: found["text"].lstrip("\n") for found in _BLOCK.finditer(inner[1])} if inner else {}


def event_source(module: Any, run_info: RunInfo) -> Any:
    """Make the object that Pythia asks for events: an ``LHAup`` that gives those of `load`."""

    class HardEvents(module.LHAup):  # type: ignore[misc]  # pythia8mc ships no types
        """Events of one batch after the other."""

        def __init__(self) -> None:
            super().__init__()
            self.next_event = 0
            self.exhausted = False
            self._events: list[tuple[Any, ...]] = []
            self._rows: list[tuple[Any, ...]] = []

        def setInit(self) -> bool:  # noqa: N802 - the name is Pythia's
            for tag, text in header_blocks(run_info).items():
                self.setInfoHeader(tag, text)
            for beam, take in zip(run_info.beams, (self.setBeamA, self.setBeamB), strict=True):
                take(beam.pdg_id, beam.energy, beam.pdf_group, beam.pdf_set)
            self.setStrategy(UNIT_WEIGHTS)
            for process in usable_processes(run_info):
                self.addProcess(process.process_id, process.cross_section, process.error, process.maximum_weight)
            return True

        def load(self, batch: EventBatch) -> None:
            """Give the events of a batch from now on."""
            columns = batch.columns()
            self._rows = list(zip(*(columns[name].tolist() for name in PARTICLE_COLUMNS), strict=True))
            comments = [""] * len(batch) if batch.comments is None else batch.comments.tolist()
            starts = batch.offsets.tolist()
            self._events = list(
                zip(
                    batch.process_id.tolist(),
                    batch.scale.tolist(),
                    batch.alpha_qed.tolist(),
                    batch.alpha_qcd.tolist(),
                    starts[:-1],
                    starts[1:],
                    comments,
                    strict=True,
                )
            )
            self.next_event = 0
            self.exhausted = False

        def setEvent(self, _process: int = 0) -> bool:  # noqa: N802 - the name is Pythia's
            self.exhausted = self.next_event >= len(self._events)
            if self.exhausted:
                return False
            process, scale, alpha_qed, alpha_qcd, start, stop, comment = self._events[self.next_event]
            self.next_event += 1
            self.setProcess(process, 1.0, scale, alpha_qed, alpha_qcd)
            rows = self._rows[start:stop]
            add = self.addParticle
            for row in rows:
                add(*row)
            incoming = [row for row in rows if row[1] == -1][:2]
            if len(incoming) == 2:
                fractions = [row[9] / beam.energy for row, beam in zip(incoming, run_info.beams, strict=True)]
                self.setIdX(incoming[0][0], incoming[1][0], *fractions)
            if "#" in comment:
                self._take_comment(comment)
            return True

        def _take_comment(self, comment: str) -> None:
            if found := _PDF_LINE.search(comment):
                words = found[1].split()
                if len(words) >= 7:
                    numbers = [float(word) for word in words[2:7]]
                    self.setPdf(int(float(words[0])), int(float(words[1])), *numbers, True)
            if found := _SHOWER_SCALES.search(comment):
                self.setScaleShowers(float(found[1]), float(found[2]))

    return HardEvents()


class EventFile:
    """Hard events as an LHE file that Pythia reads; in memory, where the system has files there."""

    def __init__(self, run_info: RunInfo) -> None:
        self._run_info = run_info.replace(
            weight_strategy=UNIT_WEIGHTS,
            processes=usable_processes(run_info),
            variations=(),
            variation_groups=(),
            provenance=(),
        )
        self._file = -1
        self._path = ""
        self._first = True

    def write(self, batch: EventBatch) -> str:
        """Write the events of a batch; return the path for Pythia, good until the next call."""
        self.close()
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create("mlgen-hard-events")
            path = f"/proc/self/fd/{self._file}"
        else:
            self._file, path = tempfile.mkstemp(prefix="mlgen-hard-events-", suffix=".lhe")
            self._path = path
        n = len(batch)
        given = [""] * n if batch.tag_attributes is None else batch.tag_attributes.tolist()
        attributes = np.array([f'{text} {NUMBER}="{index}"' for index, text in enumerate(given)], object)
        plain = EventBatch(
            particles=batch.particles,
            weight=np.ones(n),
            process_id=batch.process_id,
            scale=batch.scale,
            alpha_qed=batch.alpha_qed,
            alpha_qcd=batch.alpha_qcd,
            comments=batch.comments,
            tag_attributes=attributes,
        )
        stream = io.BytesIO()
        # Pythia looks at the header when it is initialised, and at that of the first file only.
        writer = LesHouchesWriter(stream, self._run_info if self._first else self._run_info.replace(header=""))
        self._first = False
        writer.write(plain)
        writer.close()
        with os.fdopen(os.dup(self._file), "wb") as out:
            out.write(stream.getvalue())
        return path

    def close(self) -> None:
        """Release the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._path:
            os.unlink(self._path)
            self._path = ""


def number_of(attribute: Callable[[str], str]) -> int:
    """Number of the event that Pythia has read, by a function that gives its attributes; -1 when there is none."""
    text = attribute(NUMBER)
    return int(text) if text else -1
