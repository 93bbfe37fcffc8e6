"""What an observable is: a number for each event or shower, with how it is written and drawn."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
Batch = TypeVar("Batch", contravariant=True)


#: Group of the observables that the user asked for.
USER = "user"


class Kind(enum.Enum):
    """What values an observable takes."""

    CONTINUOUS = "continuous"
    #: Whole numbers: multiplicities.
    INTEGER = "integer"
    #: Codes 0, 1, ... that stand for the observable's `categories`.
    CATEGORY = "category"


@dataclass(frozen=True, slots=True)
class Observable:
    r"""One number for each event.

    Args:
        name: What it is called in tables, in JSON and on the command line: ``pT(mu-)``, ``m(mu-, mu+)``.
        label: The same as Matplotlib mathtext, for axes: ``$p_T(\mu^-)$``.
        unit: ``GeV``, ``MeV``, ``rad`` or empty.
        kind: What values it takes.
        group: Part of the report that it stands in: ``event``, ``leading objects``, ``pairs``, ``jets``, ``user``, ...
        categories: Names of the codes, for `Kind.CATEGORY`.
        periodic: Whether it is an angle from -pi to pi whose ends are one point.
        bins: Bins that the user asked for; None, chosen from the values.
        limits: Range that the user asked for; None, chosen from the values.
        log: Whether the user asked for a logarithmic axis; None, chosen from the values.
        feature: Whether the classifier and the distances between samples see it.
    """

    name: str
    label: str
    unit: str = ""
    kind: Kind = Kind.CONTINUOUS
    group: str = "event"
    categories: tuple[str, ...] = ()
    periodic: bool = False
    bins: int | None = None
    limits: tuple[float, float] | None = None
    log: bool | None = None
    feature: bool = True


@dataclass(frozen=True, slots=True)
class Values:
    """Observables of one batch.

    Args:
        values: Shape ``(observables, selected)``; NaN where an event lacks the observable.
        index: The events that passed the selection, ``(selected,)``, ascending.
    """

    values: FloatArray
    index: IntArray


class ObservableSet(Protocol[Batch]):
    """Observables that are computed together, from one batch of events or showers."""

    @property
    def definitions(self) -> tuple[Observable, ...]:
        """The observables, in the order of the rows that a call gives."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What one should know of the choice."""
        ...

    def __call__(self, batch: Batch) -> Values:
        """Compute all of them."""
        ...


@dataclass(frozen=True, slots=True)
class Features:
    """Events as the classifier and the distances see them.

    Args:
        values: Shape ``(n, features)``; NaN where an event lacks the observable.
        weight: Shape ``(n,)``; may be negative.
        observables: What the columns are.
    """

    values: FloatArray
    weight: FloatArray
    observables: tuple[Observable, ...]

    def __len__(self) -> int:
        return len(self.weight)
