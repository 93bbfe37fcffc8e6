"""What is true of a whole event file: beams, processes, weights, header, provenance."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mlgen.errors import MlgenError


class RunInfoError(MlgenError):
    """Run information that contradicts itself: a defect of the code that made it."""


class WeightNormalisation(enum.Enum):
    """How the nominal weights of a file relate to its cross section."""

    AVERAGE = "the weights average to the cross section"
    UNIT = "unit weights: each event stands for an equal share of the cross section"
    SUM = "the weights sum to the cross section"
    UNKNOWN = "the file does not say how its weights are normalised"


def _as_plain_numbers(record: Beam | Process) -> None:
    """Turn NumPy's numbers into Python's, which all formats know how to write."""
    for name in record.__slots__:
        value = getattr(record, name)
        if isinstance(value, np.generic):
            object.__setattr__(record, name, value.item())


@dataclass(frozen=True, slots=True)
class Beam:
    """One beam: PDG id, energy in GeV, and the PDF's group and set as in the Les Houches record."""

    pdg_id: int
    energy: float
    pdf_group: int = 0
    pdf_set: int = 0

    def __post_init__(self) -> None:
        _as_plain_numbers(self)


@dataclass(frozen=True, slots=True)
class Process:
    """One subprocess: cross section and its error in pb, and the largest weight (XMAXUP)."""

    process_id: int
    cross_section: float
    error: float
    maximum_weight: float

    def __post_init__(self) -> None:
        _as_plain_numbers(self)


@dataclass(frozen=True, slots=True)
class Variation:
    """A named weight: its id in the file, its description, its attributes and the group it stands in."""

    name: str
    description: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    group: int | None = None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is true of a whole event file.

    Args:
        beams: The two beams; empty when the file does not say.
        weight_strategy: IDWTUP of the Les Houches Accord (hep-ph/0109068): 1 and 2, the reader unweights;
            3, unit weights; 4, the weights average to the cross section; negative, weights may be negative.
            0 when the file does not say.
        processes: Every subprocess of ``<init>``.
        variations: Every named weight, in the file's order; no two of one name, because an event has one value a name.
        variation_groups: The attributes of each ``<weightgroup>``; `Variation.group` counts into it.
        header: Text before ``<init>`` (header blocks, comments), without ``<initrwgt>``, as it stands in the file.
        init_text: What follows the numbers in ``<init>``: ``<generator>`` and other blocks, comments.
        generator: Name and version of the program that made the events, as far as the file says.
        lhe_version: Version of the Les Houches file, as it stands in its first tag.
        lhe_attributes: Further attributes of that tag.
        provenance: One entry for each run of mlgen that the events went through, oldest first.
        foreign: What a format keeps that has no place above, by format name.
    """

    beams: tuple[Beam, ...] = ()
    weight_strategy: int = 0
    processes: tuple[Process, ...] = ()
    variations: tuple[Variation, ...] = ()
    variation_groups: tuple[Mapping[str, str], ...] = ()
    header: str = ""
    init_text: str = ""
    generator: str = ""
    lhe_version: str = "3.0"
    lhe_attributes: Mapping[str, str] = field(default_factory=dict)
    provenance: tuple[Mapping[str, Any], ...] = ()
    foreign: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name, times = next(iter(Counter(self.variation_names).most_common(1)), ("", 0))
        if times > 1:
            raise RunInfoError(f"the run information declares the weight '{name}' {times} times; a name stands for one")

    @property
    def cross_section(self) -> float:
        """Total cross section in pb; NaN when the file gives none."""
        return math.fsum(p.cross_section for p in self.processes) if self.processes else math.nan

    @property
    def cross_section_error(self) -> float:
        """Error of the total cross section in pb, the subprocesses' errors added in quadrature."""
        return math.hypot(*(p.error for p in self.processes)) if self.processes else math.nan

    @property
    def normalisation(self) -> WeightNormalisation:
        """How the nominal weights relate to the cross section, from `weight_strategy`."""
        if abs(self.weight_strategy) == 3:
            return WeightNormalisation.UNIT
        if abs(self.weight_strategy) in (1, 2, 4):
            return WeightNormalisation.AVERAGE
        return WeightNormalisation.UNKNOWN

    @property
    def variation_names(self) -> tuple[str, ...]:
        """Names of the variations, in order."""
        return tuple(v.name for v in self.variations)

    @property
    def init_numbers(self) -> list[int | float]:
        """The ten numbers that begin ``<init>``, in its order; unknown beams are 0 with energy 0."""
        beams = self.beams or (Beam(0, 0.0), Beam(0, 0.0))
        columns = [getattr(beam, name) for name in ("pdg_id", "energy", "pdf_group", "pdf_set") for beam in beams]
        return [*columns, self.weight_strategy, len(self.processes)]

    def grouped_variations(self) -> Iterator[tuple[Mapping[str, str] | None, tuple[Variation, ...]]]:
        """Yield the variations as ``<initrwgt>`` lists them: those of one group that follow each other.

        Yields:
            Attributes of the ``<weightgroup>``, None for variations outside any, and its variations.
        """
        for group, variations in itertools.groupby(self.variations, lambda variation: variation.group):
            yield None if group is None else self.variation_groups[group], tuple(variations)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with the given fields changed."""
        return dataclasses.replace(self, **changes)

    def with_variations(self, names: tuple[str, ...]) -> Self:
        """Return a copy that also declares the given variations, where it did not yet."""
        known = set(self.variation_names)
        new = tuple(Variation(name) for name in dict.fromkeys(names) if name not in known)
        return self.replace(variations=self.variations + new) if new else self

    def to_json(self) -> str:
        """Return everything as JSON, for formats that keep it as a string."""
        return json.dumps(dataclasses.asdict(self), allow_nan=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of `to_json`; fields that this version does not know are left out."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {key: value for key, value in json.loads(text).items() if key in known}
        for name, record in (("beams", Beam), ("processes", Process), ("variations", Variation)):
            values[name] = tuple(record(**entry) for entry in values.get(name, ()))
        for name in ("variation_groups", "provenance"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)
