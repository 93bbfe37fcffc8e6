"""The tables of an LHEH5 file, and the texts that stand for those of its columns that `EventBatch` has no field for."""

from __future__ import annotations

import math
import re
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlgen.events import PARTICLE_COLUMNS

FloatArray = npt.NDArray[np.float64]

INIT = (
    "beamA",
    "beamB",
    "energyA",
    "energyB",
    "PDFgroupA",
    "PDFgroupB",
    "PDFsetA",
    "PDFsetB",
    "weightingStrategy",
    "numProcesses",
)
PROCESSES = ("procId", "npLO", "npNLO", "xSection", "error", "unitWeight")
EVENTS = ("pid", "nparticles", "start", "trials", "scale", "fscale", "rscale", "aqed", "aqcd", "NOMINAL")
#: Names of the nominal weight, the first one wins.
NOMINAL = ("weight", "NOMINAL")
PARTICLES = ("id", "status", "mother1", "mother2", "color1", "color2", "px", "py", "pz", "e", "m", "lifetime", "spin")
#: LHEH5's name of each particle column.
PARTICLE_NAMES = dict(zip(PARTICLE_COLUMNS, PARTICLES, strict=True))
GENERATORS = ("name", "version", "description", "extraAttributes")
#: Columns of version 1 that say nothing about an event that is not in procInfo too.
IGNORED = ("npLO", "npNLO")

_TRIALS = re.compile(r"""\btrials\s*=\s*["']([^"']*)["']""")
_SCALES = re.compile(r"<scales\b([^>]*)>")
_FACTORISATION = re.compile(r"""\b(?:fscale|muf)\s*=\s*["']([^"']*)["']""")
_RENORMALISATION = re.compile(r"""\b(?:rscale|mur)\s*=\s*["']([^"']*)["']""")


class Table(Protocol):
    """Rows with named columns of numbers."""

    names: list[str]

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> FloatArray:
        """Rows `start` to `stop`, shape ``(stop - start, len(names))``."""


class DatasetTable:
    """A table as of version 2: one dataset, its columns named by an attribute."""

    def __init__(self, dataset: Any, default: tuple[str, ...]) -> None:
        self._dataset = dataset
        own = dataset.name.rsplit("/", 1)[-1]
        named = next((dataset.attrs[key] for key in ("properties", own) if key in dataset.attrs), default)
        self.names = [name.decode() if isinstance(name, bytes) else str(name) for name in named]
        width = dataset.shape[-1] if dataset.shape else 0
        if width != len(self.names):
            raise ValueError(f"'{own}' has {width} columns, but names {len(self.names)} ({', '.join(self.names[:20])})")

    def __len__(self) -> int:
        return 1 if self._dataset.ndim == 1 else len(self._dataset)

    def read(self, start: int, stop: int) -> FloatArray:
        """Rows `start` to `stop`, shape ``(stop - start, len(names))``."""
        values = self._dataset[start:stop] if self._dataset.ndim == 2 else self._dataset[()][None]
        return np.asarray(values, np.float64)


class GroupTable:
    """A table as of version 1: a group with one dataset a column; weights may be one dataset of several columns."""

    def __init__(self, group: Any) -> None:
        self._columns = {name: item for name, item in group.items() if name != "version" and hasattr(item, "shape")}
        if "start" not in self._columns and "index" in group.parent and group.name.endswith("/event"):
            self._columns["start"] = group.parent["index/start"]
        self.names = []
        for name, column in self._columns.items():
            if column.ndim == 2:
                labels = next(iter(column.attrs.values()))
                self.names += [label.decode() if isinstance(label, bytes) else str(label) for label in labels]
            else:
                self.names.append(name)
        self._rows = {name: column.shape[0] if column.shape else 1 for name, column in self._columns.items()}
        if len(set(self._rows.values())) != 1:
            raise ValueError(f"the columns of '{group.name}' differ in length: {self._rows}")

    def __len__(self) -> int:
        return next(iter(self._rows.values()))

    def read(self, start: int, stop: int) -> FloatArray:
        """Rows `start` to `stop`, shape ``(stop - start, len(names))``."""
        parts = [np.asarray(column[start:stop] if column.shape else [column[()]]) for column in self._columns.values()]
        return np.column_stack(parts).astype(np.float64)


def _number(match: re.Match[str] | None) -> float:
    try:
        return float(match.group(1)) if match else math.nan
    except ValueError:
        return math.nan


def trials_of(attributes: str) -> float:
    """Number of trials from the attributes of an event's tag; NaN where there is none."""
    return _number(_TRIALS.search(attributes))


def scales_of(comment: str) -> tuple[float, float]:
    """Factorisation and renormalisation scale in GeV from an event's ``<scales>``; NaN where there is none."""
    scales = _SCALES.search(comment) if "<scales" in comment else None
    if scales is None:
        return math.nan, math.nan
    return _number(_FACTORISATION.search(scales.group(1))), _number(_RENORMALISATION.search(scales.group(1)))


def trials_text(trials: float) -> str:
    """Attribute of the event's tag, with the blank before it; empty for NaN."""
    return "" if math.isnan(trials) else f' trials="{trials!r}"'


def scales_text(factorisation: float, renormalisation: float) -> str:
    """The event's ``<scales>``; empty where both are NaN."""
    attributes = "".join(
        f' {name}="{value!r}"'
        for name, value in (("fscale", factorisation), ("rscale", renormalisation))
        if not math.isnan(value)
    )
    return f"<scales{attributes}/>" if attributes else ""
