"""Opens a sample, whatever its format, and says how its weights and its rate are to be understood."""

from __future__ import annotations

import fnmatch
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError
from mlgen.event_format import OnError
from mlgen.events import EventBatch
from mlgen.run_info import RunInfo, WeightNormalisation
from mlgen.trials import trials_of

if TYPE_CHECKING:
    from mlgen.formats.reading import EventStream
    from mlgen.formats.shower_files import ShowerStream
    from mlgen.showers import ShowerBatch

FloatArray = npt.NDArray[np.float64]

#: Events of each sample from which observables and bins are chosen.
PILOT = 20_000


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """The files of one sample, and what it is called in the report."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How files are read: what to do with bad events, their format, the geometry of shower files."""

    on_error: OnError = "stop"
    format_name: str | None = None
    geometry: Path | None = None
    particle: str | None = None


class EventSample:
    """A sample of events. Iterating gives batches; the first ones may have been looked at before (`pilot`)."""

    showers = False

    def __init__(self, files: SampleFiles, options: ReadingOptions) -> None:
        from mlgen.formats.reading import open_events

        self.name, self.files = files.name, files.files
        self._stream: EventStream = open_events(
            *files.files, on_error=options.on_error, format_name=options.format_name
        )
        self.run_info: RunInfo = self._stream.run_info
        self._iterator: Iterator[EventBatch] | None = None
        self._pilot: list[EventBatch] = []
        self.trials = 0.0

    @property
    def format(self) -> str:
        """Names of the files' formats."""
        return ", ".join(dict.fromkeys(self._stream.formats))

    @property
    def repeatable(self) -> bool:
        """Whether the files can be read again."""
        return all(path.is_file() or path.is_dir() for path in self.files)

    @property
    def provenance(self) -> tuple[Mapping[str, Any], ...]:
        """Every run of mlgen that the events went through, oldest first."""
        return self.run_info.provenance

    def pilot(self) -> Sequence[EventBatch]:
        """The first batches, `PILOT` events or a little more.

        Raises:
            InputError: There is no event.
        """
        self._iterator = iter(self._stream)
        self._pilot, read = [], 0
        for batch in self._iterator:
            self._pilot.append(batch)
            read += len(batch)
            if read >= PILOT:
                break
        if not read:
            raise InputError(self.name, "there is no event in it; nothing can be compared")
        return self._pilot

    def __iter__(self) -> Iterator[EventBatch]:
        self.trials = 0.0
        again = iter(self._stream) if self._iterator is None else itertools.chain(self._pilot, self._iterator)
        self._iterator, self._pilot = None, []
        for batch in again:
            self.trials += float(trials_of(batch).sum())
            yield batch

    def weight(self, batch: EventBatch) -> FloatArray:
        """Nominal weights of a batch, ``(n,)``."""
        return batch.weight

    def variations(self, batch: EventBatch) -> Mapping[str, FloatArray]:
        """Named weights of a batch, each ``(n,)``."""
        return batch.variations

    def band(self, patterns: Sequence[str]) -> list[str]:
        """Named weights that match the patterns, or stand in a group whose name does."""
        groups = [group.get("name") or group.get("type") or "" for group in self.run_info.variation_groups]
        return [
            variation.name
            for variation in self.run_info.variations
            if any(
                fnmatch.fnmatchcase(variation.name, pattern)
                or (variation.group is not None and fnmatch.fnmatchcase(groups[variation.group], pattern))
                for pattern in patterns
            )
        ]

    def rate(self, events: int, weight: float, square: float) -> tuple[float, float]:
        """Cross section and its error in pb, from the run information or, where the weights average to it, from them.

        Args:
            events: Events read, before any selection.
            weight: Sum of their weights.
            square: Sum of the squares.
        """
        info = self.run_info
        if math.isfinite(info.cross_section) and info.cross_section:
            return info.cross_section, info.cross_section_error
        if info.normalisation is WeightNormalisation.AVERAGE and self.trials:
            return weight / self.trials, math.sqrt(square) / self.trials
        return math.nan, math.nan

    def remarks(self, events: int, weight: float, square: float) -> Iterator[str]:
        """What one should know of the sample after it was read."""
        info, skipped = self.run_info, self._stream.skipped
        if skipped.count:
            yield f"{skipped.count:,} events could not be read and were left out: {'; '.join(skipped.reasons)}"
        if info.normalisation is WeightNormalisation.UNKNOWN:
            yield "the file does not say how its weights are normalised: only shapes are compared, not rates"
        if info.normalisation is WeightNormalisation.AVERAGE and self.trials and info.cross_section:
            mean, error = weight / self.trials, math.sqrt(square) / self.trials
            total = math.hypot(error, info.cross_section_error if math.isfinite(info.cross_section_error) else 0.0)
            if abs(mean - info.cross_section) > max(5 * total, 1e-3 * abs(info.cross_section)):
                yield (
                    f"its weights average to {mean:.6g} +- {error:.2g} pb, but the file gives a cross section of "
                    f"{info.cross_section:.6g} pb"
                )

    def close(self) -> None:
        """Close the files."""
        self._stream.close()


class ShowerSample:
    """A sample of calorimeter showers, all of weight one."""

    showers = True
    repeatable = True
    run_info = RunInfo()

    def __init__(self, files: SampleFiles, options: ReadingOptions) -> None:
        from mlgen.formats.shower_files import open_showers

        if len(files.files) > 1:
            raise InputError(files.name, "several shower files cannot be read as one sample; give one file")
        self.name, self.files = files.name, files.files
        self._stream: ShowerStream = open_showers(files.files[0], geometry=options.geometry, particle=options.particle)

    @property
    def geometry(self) -> Any:
        """The calorimeter."""
        return self._stream.geometry

    @property
    def format(self) -> str:
        """Name of the file's layout."""
        return self._stream.format

    @property
    def provenance(self) -> tuple[Mapping[str, Any], ...]:
        """Every run of mlgen that the showers went through, oldest first."""
        return self._stream.provenance

    def pilot(self) -> Sequence[ShowerBatch]:
        """The first batches."""
        batches, read = [], 0
        for batch in self._stream:
            batches.append(batch)
            read += len(batch)
            if read >= PILOT:
                break
        return batches

    def __iter__(self) -> Iterator[ShowerBatch]:
        return iter(self._stream)

    def weight(self, batch: ShowerBatch) -> FloatArray:
        """One for each shower, ``(n,)``."""
        return np.ones(len(batch))

    def variations(self, batch: ShowerBatch) -> Mapping[str, FloatArray]:
        """Showers have no named weights."""
        return {}

    def band(self, patterns: Sequence[str]) -> list[str]:
        """Showers have no named weights."""
        return []

    def rate(self, events: int, weight: float, square: float) -> tuple[float, float]:
        """Showers have no rate."""
        return math.nan, math.nan

    def remarks(self, events: int, weight: float, square: float) -> Iterator[str]:
        """Nothing so far."""
        return iter(())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


Sample: TypeAlias = EventSample | ShowerSample


def open_sample(files: SampleFiles, options: ReadingOptions) -> Sample:
    """Open a sample; whether it holds events or showers is found from its first file.

    Raises:
        InputError: A file is missing or cannot be read.
    """
    from mlgen.formats.shower_files import is_shower_file

    return ShowerSample(files, options) if is_shower_file(files.files[0]) else EventSample(files, options)
