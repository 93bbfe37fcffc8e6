"""What formats share: checks of whole batches and, for those that keep events as columns (ROOT, LHEH5), tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.cells import CellBatch
from mlgen.errors import InputError, OutputError, nearest
from mlgen.event_format import ReadOptions, Skipped
from mlgen.events import EventBatch

FloatArray = npt.NDArray[np.float64]
MOMENTUM = ("px", "py", "pz", "energy")
SKIP_ADVICE = "Mend the file, or leave such events out with --on-error skip."
DAMAGE_ADVICE = "Copy the file again, or keep what can be read with --on-error skip."
#: Events that are written, and read, in one piece, and the particles after which a piece is full before that.
PIECE_EVENTS = 10_000
PIECE_PARTICLES = 1_000_000


@contextlib.contextmanager
def explained(source: str, doing: str, *, advice: str = "") -> Iterator[None]:
    """Turn whatever a file library raises on a damaged file into an `InputError` that says what was being done.

    Only calls of the library belong inside: on damaged bytes uproot and h5py raise anything from ``OSError`` to
    ``AssertionError``, so there is no list of exceptions that would be complete.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
        problem = f"{doing}; the file is cut or damaged ({reason})"
        raise InputError(source, problem, advice=advice) from error


def without_broken_events(
    batch: EventBatch, numbers: npt.NDArray[np.int64], options: ReadOptions, skipped: Skipped
) -> EventBatch:
    """Return the events whose weight and momenta are finite.

    Args:
        batch: As it was read.
        numbers: Number of each event in the file, counted from 1, shape ``(n,)``.
        options: What to do with a broken event.
        skipped: Where events that are left out are counted.

    Raises:
        InputError: An event has a NaN or an infinity, and such events are not to be left out. Names it.
    """
    broken = dict(_not_finite(batch, MOMENTUM))
    if not broken:
        return batch
    for index, problem in broken.items():
        error = InputError(options.source, problem, event=int(numbers[index]), advice=SKIP_ADVICE)
        if options.on_error == "stop":
            raise error
        skipped.add(str(error).split("\n", 1)[0])
    return batch[~np.isin(np.arange(len(batch)), list(broken))]


def _not_finite(batch: EventBatch, columns: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the index of each event whose weight or particles are not finite, and what is wrong with it."""
    particles = batch.columns(columns)
    broken = ~np.isfinite(batch.weight)
    owner = np.repeat(np.arange(len(batch)), batch.counts)
    for values in particles.values():
        broken[owner[~np.isfinite(values)]] = True
    if not broken.any():
        return
    offsets = batch.offsets
    for index in np.flatnonzero(broken).tolist():
        if np.isfinite(batch.weight[index]):
            here = slice(offsets[index], offsets[index + 1])
            name = next(name for name in columns if not np.isfinite(particles[name][here]).all())
            values = particles[name][here]
            position = int(np.flatnonzero(~np.isfinite(values))[0])
            yield index, f"{name} of particle {position + 1} is {values[position]}; a finite number is expected"
        else:
            yield index, f"its weight is {batch.weight[index]}; a finite number is expected"


def check_finite(batch: EventBatch, written: int, columns: Sequence[str] = MOMENTUM) -> None:
    """Check, before writing, that readers will take the events.

    Args:
        batch: The events. A variation may be NaN, which says that the event does not have it.
        written: Number of events that are in the file already.
        columns: Particle columns that must be finite.

    Raises:
        OutputError: A weight, a variation or one of the columns is not. Names the event, counted in the file.
    """
    for index, problem in _not_finite(batch, columns):
        raise OutputError(f"event {written + index + 1:,}: {problem}")
    for name, values in batch.variations.items():
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            index = int(infinite[0])
            raise OutputError(f"event {written + index + 1:,}: its weight '{name}' is {values[index]}")


def check_hard(batch: EventBatch, what: str) -> None:
    """Check that the events are hard events.

    Args:
        batch: The events.
        what: The file that is being written, for the message.

    Raises:
        OutputError: They are shower-level.
    """
    if batch.has_graph:
        raise OutputError(
            f"shower-level events do not fit into {what}, which holds hard events only; "
            "write HepMC (.hepmc3) or ROOT (.root)"
        )


def check_variations(batch: EventBatch, declared: Sequence[str]) -> None:
    """Check that the file has a column for every variation of the batch.

    Raises:
        OutputError: It has none for one of them; names it.
    """
    known = set(declared)
    for name in batch.variations:
        if name not in known:
            raise OutputError(
                f"the events have a weight '{name}' that the run information does not declare"
                f"{nearest(name, declared)}; "
                "this format fixes its columns when the file is made: "
                "declare the weight with RunInfo.with_variations before writing"
            )


def variation_table(batch: EventBatch | CellBatch, declared: Sequence[str]) -> FloatArray:
    """Named weights as a table of shape ``(n, len(declared))``; NaN where the batch lacks one."""
    table = np.full((len(batch), len(declared)), np.nan)
    for index, name in enumerate(declared):
        if name in batch.variations:
            table[:, index] = batch.variations[name]
    return table


def variation_columns(table: FloatArray, declared: Sequence[str]) -> dict[str, FloatArray]:
    """Inverse of `variation_table`."""
    return dict(zip(declared, np.ascontiguousarray(table.T), strict=True))


def whole_numbers(values: npt.NDArray[Any], dtype: type[np.integer[Any]], name: str) -> npt.NDArray[Any]:
    """Convert an integer column of a batch for writing.

    Raises:
        OutputError: A value does not fit.
    """
    converted = values.astype(dtype, copy=False)
    if converted is not values and not np.array_equal(converted, values):
        wrong = values[converted != values][0]
        raise OutputError(f"{name} {wrong} does not fit into {np.dtype(dtype).itemsize * 8} bits; it cannot be written")
    return converted


def pieces(batch: EventBatch) -> Iterator[EventBatch]:
    """Cut a batch into parts of at most `PIECE_EVENTS` events and about `PIECE_PARTICLES` particles."""
    offsets = batch.offsets
    start = 0
    while start < len(batch):
        full = int(np.searchsorted(offsets, offsets[start] + PIECE_PARTICLES, side="right")) - 1
        stop = min(start + PIECE_EVENTS, max(full, start + 1), len(batch))
        yield batch if (start, stop) == (0, len(batch)) else batch[start:stop]
        start = stop


def to_bytes(texts: npt.NDArray[np.object_] | None, n: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Texts of n events as one array of UTF-8 bytes and the length of each, shape ``(n,)``."""
    if texts is None:
        return np.empty(0, np.uint8), np.zeros(n, np.int64)
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.fromiter(map(len, encoded), np.int64, n)


def from_bytes(raw: npt.NDArray[np.uint8], lengths: npt.NDArray[Any]) -> npt.NDArray[np.object_] | None:
    """Inverse of `to_bytes`; None where all texts are empty."""
    if not len(raw):
        return None
    data = raw.tobytes()
    stops = np.cumsum(lengths).tolist()
    texts = np.empty(len(lengths), object)
    start = 0
    for index, stop in enumerate(stops):
        texts[index] = data[start:stop].decode("utf-8", "surrogateescape")
        start = stop
    return texts
