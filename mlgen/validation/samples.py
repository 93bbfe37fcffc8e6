"""Opens a sample, whatever its format, and says how its weights and its rate are to be understood."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlgen.errors import InputError
from mlgen.event_format import OnError
from mlgen.events import EventBatch
from mlgen.run_info import RunInfo, WeightNormalisation
from mlgen.seeds import Work, random_generator
from mlgen.trials import trials_of
from mlgen.validation.observable import FloatArray

if TYPE_CHECKING:
    from mlgen.formats.reading import EventStream
    from mlgen.formats.shower_files import ShowerStream
    from mlgen.showers import ShowerBatch


#: Events of each sample from which observables and bins are chosen ...
PILOT = 20_000
#: Voxels of the showers from which they are chosen take about so much memory, at most (a shower of the CaloChallenge's
#: data set 3 takes 324 kB).
PILOT_BYTES = 1 << 27
#: Showers that are kept for what needs their voxels take so much memory, at most.
KEPT_BYTES = 1 << 29
#: ... or fewer, where they have more particles than this: events after the shower have thousands.
PILOT_PARTICLES = 2_000_000
#: Incoming partons with more than so many times the beams' energy are not in GeV, or not of these beams.
BEYOND = 1.01


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """The files of one sample, and what it is called in the report.

    Args:
        name: Short name.
        files: The files.
        format_name: Their format; recognised when None.
        origin: What the report says instead of the files, where they are temporary.
    """

    name: str
    files: tuple[Path, ...]
    format_name: str | None = None
    origin: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[str, ...]:
        """What the report says that they are."""
        return self.origin or tuple(str(path) for path in self.files)


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """How files are read.

    Args:
        on_error: What to do with bad events.
        geometry: What the voxels of shower files are that do not say it.
        particle: The incident particle of that geometry.
        showers: Whether nothing but showers is expected.
    """

    on_error: OnError = "stop"
    geometry: Path | None = None
    particle: str | None = None
    showers: bool = False


class EventSample:
    """A sample of events. Iterating gives batches; the first ones may have been looked at before (`pilot`)."""

    showers = False

    def __init__(self, files: SampleFiles, options: ReadingOptions) -> None:
        from mlgen.formats.reading import open_events

        self.name, self.files, self.shown = files.name, files.files, files.shown
        self._open = functools.partial(open_events, on_error=options.on_error, format_name=files.format_name)
        self._stream: EventStream = self._open(*files.files)
        self.run_info: RunInfo = self._stream.run_info
        self._iterator: Iterator[EventBatch] | None = None
        self._pilot: list[EventBatch] = []
        self.trials = 0.0
        self._moduli = (math.inf, 0.0)
        self._largest_energy = 0.0
        #: What the last event of a HepMC file says of the cross section: the generator's best estimate.
        self._last_cross_section = ""

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
        """The first events, about `PILOT` of them; of several files, some of each.

        Raises:
            InputError: There is no event.
        """
        if len(self.files) > 1:
            return self._first_of_each()
        self._iterator = iter(self._stream)
        self._pilot = _first(self._iterator, PILOT, PILOT_PARTICLES)
        if not self._pilot:
            raise InputError(self.name, "there is no event in it; nothing can be compared")
        self._largest_energy = max(map(_largest_incoming_energy, self._pilot))
        return self._pilot

    def _first_of_each(self) -> Sequence[EventBatch]:
        batches: list[EventBatch] = []
        for path in self.files:
            with self._open(path) as stream:
                share = len(self.files)
                batches += _first(iter(stream), PILOT // share + 1, PILOT_PARTICLES // share)
        if not batches:
            raise InputError(self.name, "there is no event in its files; nothing can be compared")
        self._largest_energy = max(map(_largest_incoming_energy, batches))
        return batches

    def spread(self, events: int, seed: int) -> Sequence[EventBatch]:
        """Random events of the whole sample, about as many as `pilot` gives.

        Args:
            events: Events of the sample.
            seed: Decides which.
        """
        batches, rng = [], random_generator(seed, Work.VALIDATE, 0, *(ord(letter) for letter in self.name))
        for batch in self._stream:
            particles = max(int(batch.counts.sum()), 1)
            share = min(PILOT / events, PILOT_PARTICLES / events * len(batch) / particles, 1.0)
            chosen = np.flatnonzero(rng.random(len(batch)) < share)
            if len(chosen):
                batches.append(batch[chosen])
        return batches

    def __iter__(self) -> Iterator[EventBatch]:
        self.trials, self._moduli = 0.0, (math.inf, 0.0)
        again = iter(self._stream) if self._iterator is None else itertools.chain(self._pilot, self._iterator)
        self._iterator, self._pilot = None, []
        for batch in again:
            self.trials += float(trials_of(batch).sum())
            if len(batch):
                moduli = np.abs(batch.weight)
                self._moduli = min(self._moduli[0], float(moduli.min())), max(self._moduli[1], float(moduli.max()))
            if batch.attributes is not None and len(batch):
                self._last_cross_section = batch.attributes[-1].get("GenCrossSection", self._last_cross_section)
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

    def rate(self, weight: float, square: float) -> tuple[float, float]:
        """Cross section and its error in pb, from the run information or, where the weights average to it, from them.

        Args:
            weight: Sum of the weights of all events.
            square: Sum of their squares.
        """
        info = self.run_info
        words = self._last_cross_section.split()
        with contextlib.suppress(ValueError, IndexError):
            return float(words[0]), float(words[1])
        average = info.normalisation is WeightNormalisation.AVERAGE and self.trials > 0
        if math.isfinite(info.cross_section) and info.cross_section:
            error = info.cross_section_error
            if not error > 0 and average:
                # The file gives no error; the weights have one.
                error = math.sqrt(square) / self.trials
            return info.cross_section, error
        if average:
            return weight / self.trials, math.sqrt(square) / self.trials
        return math.nan, math.nan

    def remarks(self, weight: float, square: float) -> Iterator[str]:
        """What one should know of the sample after it was read; arguments as for `rate`."""
        info, skipped = self.run_info, self._stream.skipped
        if skipped.count:
            yield f"{skipped.count:,} events could not be read and were left out: {'; '.join(skipped.reasons)}"
        if info.normalisation is WeightNormalisation.UNKNOWN:
            known = math.isfinite(self.rate(weight, square)[0])
            rate = "the cross section that it gives" if known else "nothing, as it gives no cross section either"
            yield f"the file does not say how its weights are normalised: its rate is compared by {rate}"
        if info.normalisation is WeightNormalisation.AVERAGE and self.trials and info.cross_section:
            mean, error = weight / self.trials, math.sqrt(square) / self.trials
            total = math.hypot(error, info.cross_section_error if math.isfinite(info.cross_section_error) else 0.0)
            if abs(mean - info.cross_section) > max(5 * total, 1e-3 * abs(info.cross_section)):
                yield (
                    f"its weights average to {mean:.6g} +- {error:.2g} pb, but the file gives a cross section of "
                    f"{info.cross_section:.6g} pb, which is what is compared"
                )
        beams = [beam.energy for beam in info.beams if beam.energy > 0]
        if beams and self._largest_energy > BEYOND * max(beams):
            yield (
                f"its incoming partons have up to {self._largest_energy:.5g} GeV, but its beams {max(beams):.5g} GeV: "
                "are its momenta in MeV? They are taken as they are"
            )
        smallest, largest = self._moduli
        if info.normalisation is WeightNormalisation.UNIT and largest > smallest * (1 + 1e-6):
            yield (
                "the file says that its events have unit weights, but their weights have moduli from "
                f"{smallest:.4g} to {largest:.4g}; they are used as they are"
            )

    def close(self) -> None:
        """Close the files."""
        self._stream.close()


class ShowerSample:
    """A sample of calorimeter showers, in one file or several, all of weight one."""

    showers = True
    repeatable = True
    run_info = RunInfo()

    def __init__(self, files: SampleFiles, options: ReadingOptions) -> None:
        from mlgen.formats.shower_files import open_showers

        self.name, self.files, self.shown = files.name, files.files, files.shown
        self._stream: ShowerStream = open_showers(*files.files, geometry=options.geometry, particle=options.particle)
        self._looked_at = PILOT

    @property
    def geometry(self) -> Any:
        """The calorimeter."""
        return self._stream.geometry

    @property
    def format(self) -> str:
        """Name of the files' layout."""
        return self._stream.format

    @property
    def provenance(self) -> tuple[Mapping[str, Any], ...]:
        """Every run of mlgen that the showers went through, oldest first."""
        return self._stream.provenance

    def pilot(self) -> Sequence[ShowerBatch]:
        """The first showers, `PILOT` of them or as many as `PILOT_BYTES` hold; of several files, some of each."""
        wanted = min(PILOT, PILOT_BYTES // (8 * self.geometry.n_voxels))
        batches = list(self._stream.first_of_each(max(1, wanted // len(self.files))))
        self._looked_at = sum(map(len, batches))
        return batches

    def spread(self, events: int, seed: int) -> Sequence[ShowerBatch]:
        """Random showers of the whole file, about as many as `pilot` gives; arguments as for events."""
        share = min(self._looked_at / events, 1.0)
        rng = random_generator(seed, Work.VALIDATE, 0, *(ord(letter) for letter in self.name))
        return [batch[rng.random(len(batch)) < share] for batch in self._stream]

    def kept(self, showers: int, seed: int) -> ShowerBatch:
        """Random showers of all files in random order, in single precision: `showers`, or what `KEPT_BYTES` hold.

        Whatever takes the first of them gets a fair choice, also of files that are sorted by energy or particle.
        """
        from mlgen.showers import ShowerBatch

        total = len(self._stream)
        wanted = min(total, showers, max(1, KEPT_BYTES // (4 * self.geometry.n_voxels)))
        # The same places, in the same order, in every sample of as many showers: a surrogate that was asked for the
        # incident energies of the reference keeps its place beside it.
        places = np.full(total, -1)
        places[random_generator(seed, Work.VALIDATE, 1).permutation(total)[:wanted]] = np.arange(wanted)
        kept = ShowerBatch(
            np.empty(wanted),
            np.empty(wanted, np.int64),
            np.empty((wanted, 3)),
            np.empty((wanted, self.geometry.n_voxels), np.float32),
            self.geometry,
        )
        start = 0
        for batch in self._stream:
            place = places[start : start + len(batch)]
            start += len(batch)
            chosen = place >= 0
            for whole, part in (
                (kept.incident_energy, batch.incident_energy),
                (kept.pdg_id, batch.pdg_id),
                (kept.direction, batch.direction),
                (kept.voxels, batch.voxels),
            ):
                whole[place[chosen]] = part[chosen]
        return kept

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

    def rate(self, weight: float, square: float) -> tuple[float, float]:
        """Showers have no rate."""
        return math.nan, math.nan

    def remarks(self, weight: float, square: float) -> Iterator[str]:
        """Nothing so far."""
        return iter(())

    def close(self) -> None:
        """Close the files."""
        self._stream.close()


def _largest_incoming_energy(batch: EventBatch) -> float:
    """Largest energy of an incoming particle of hard events, GeV; 0 if there is none."""
    return float(batch.column("energy")[batch.column("status") == -1].max(initial=0.0))


def _first(stream: Iterator[EventBatch], events: int, particles: int) -> list[EventBatch]:
    """The first batches of a stream, until there are enough events or particles."""
    batches, read, held = [], 0, 0
    for batch in stream:
        if not len(batch):
            continue
        batches.append(batch)
        read += len(batch)
        held += int(batch.counts.sum())
        if read >= events or held >= particles:
            break
    return batches


Sample: TypeAlias = EventSample | ShowerSample


def _check_showers(path: Path) -> None:
    """Say what is wrong with something that is no HDF5; what is wrong in an HDF5 file is said when it is opened."""
    try:
        with path.open("rb") as file:
            is_hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}") from error
    if not is_hdf5:
        raise InputError(
            str(path),
            "no calorimeter showers, which are asked for by --showers: an HDF5 file is expected, with data sets "
            "'incident_energies' and 'showers' (CaloChallenge) or 'energy' and 'layer_0', 'layer_1', ... (CaloGAN)",
            advice="Events are compared without --showers.",
        )


def open_sample(files: SampleFiles, options: ReadingOptions) -> Sample:
    """Open a sample; whether it holds events or showers is found from its first file.

    Raises:
        InputError: A file is missing or cannot be read, or is no file of showers where only such are expected.
    """
    from mlgen.formats.shower_files import is_shower_file

    if options.showers:
        for path in files.files:
            _check_showers(path)
        return ShowerSample(files, options)
    # A pipe is never looked at: what is read from it is gone. HDF5 could not be read from one anyway.
    if not files.files[0].is_file():
        return EventSample(files, options)
    return ShowerSample(files, options) if is_shower_file(files.files[0]) else EventSample(files, options)
