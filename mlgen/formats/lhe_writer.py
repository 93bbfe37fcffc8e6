"""Writes batches as Les Houches events. Floats are written so that they read back the same."""

from __future__ import annotations

import functools
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

import numpy as np

from mlgen.event_format import EventWriter
from mlgen.events import FLOAT_COLUMNS, PARTICLE_COLUMNS, EventBatch
from mlgen.formats.columnar import check_finite, check_hard
from mlgen.formats.lhe_header import written_header
from mlgen.run_info import RunInfo

_PARTICLE = "%d %d %d %d %d %d %r %r %r %r %r %r %r\n"
_EVENT = "<event%s>\n%d %d %r %r %r %r\n%s%s</event>\n"


class LesHouchesWriter(EventWriter):
    """A Les Houches file that is being written."""

    def __init__(self, stream: BinaryIO, run_info: RunInfo) -> None:
        self._stream = stream
        self._written = 0
        stream.write(written_header(run_info).encode())

    def write(self, batch: EventBatch) -> None:
        """Append a batch.

        Raises:
            OutputError: It holds shower-level events, or a number that is not finite.
        """
        check_hard(batch, "a Les Houches file")
        n = len(batch)
        if not n:
            return
        check_finite(batch, self._written, FLOAT_COLUMNS)
        counts = batch.counts
        particles = _particle_texts(batch, counts)
        names = list(batch.variations)
        weights = _weight_texts(names, [batch.variations[name] for name in names]) if names else [""] * n
        if batch.comments is not None:
            weights = [text + comment for text, comment in zip(weights, map(_line, batch.comments), strict=True)]
        attributes = [""] * n if batch.tag_attributes is None else batch.tag_attributes.tolist()
        self._stream.write(
            "".join(
                map(
                    _EVENT.__mod__,
                    zip(
                        attributes,
                        counts.tolist(),
                        batch.process_id.tolist(),
                        batch.weight.tolist(),
                        batch.scale.tolist(),
                        batch.alpha_qed.tolist(),
                        batch.alpha_qcd.tolist(),
                        particles,
                        weights,
                        strict=True,
                    ),
                )
            ).encode()
        )
        self._written += n

    def close(self) -> None:
        """Write the closing tag."""
        self._stream.write(b"</LesHouchesEvents>\n")


def _line(text: str) -> str:
    return text + "\n" if text else ""


@functools.lru_cache(maxsize=1024)
def _particles_template(count: int) -> str:
    return _PARTICLE * count


def _particle_texts(batch: EventBatch, counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[str]:
    columns = batch.columns()
    table = np.empty((int(counts.sum()), len(PARTICLE_COLUMNS)), object)
    for index, name in enumerate(PARTICLE_COLUMNS):
        table[:, index] = columns[name]
    flat = table.ravel().tolist()
    stops = (np.cumsum(counts) * len(PARTICLE_COLUMNS)).tolist()
    texts, start = [], 0
    for count, stop in zip(counts.tolist(), stops, strict=True):
        texts.append(_particles_template(count) % tuple(flat[start:stop]))
        start = stop
    return texts


def _weight_texts(names: list[str], values: list[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> list[str]:
    table = np.stack(values, axis=1)
    heads = [f"<wgt id={quoteattr(name)}> " for name in names]
    template = "<rwgt>\n" + "".join(head.replace("%", "%%") + "%r </wgt>\n" for head in heads) + "</rwgt>\n"
    if not np.isnan(table).any():
        return [template % tuple(row) for row in table.tolist()]
    # NaN marks a weight that the event does not have.
    texts = []
    for row in table.tolist():
        lines = [f"{head}{value!r} </wgt>\n" for head, value in zip(heads, row, strict=True) if value == value]
        texts.append("<rwgt>\n" + "".join(lines) + "</rwgt>\n" if lines else "")
    return texts
