"""What a parton shower gives: shower-level events from hard ones."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mlgen.errors import MlgenError, UserError
from mlgen.events import EventBatch
from mlgen.run_info import RunInfo

#: Why an event is not showered: the hard event cannot be ("input"), the program gave up ("failed"), or a matching or
#: merging rejected it, as it has to ("vetoed").
RefusalKind = Literal["input", "failed", "vetoed"]


class ShowerError(UserError):
    """A hard event, or what is asked of a parton shower, cannot be used."""


class ShowerFailure(MlgenError):  # noqa: N818 - it reports somebody else's failure
    """The program failed while it ran."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Events that were not showered for one reason.

    Args:
        kind: What it means; see `RefusalKind`.
        reason: In the program's own words.
        count: How many events.
        first_event: Number of the first of them, counted from 1 over all hard events.
    """

    kind: RefusalKind
    reason: str
    count: int
    first_event: int

    def __str__(self) -> str:
        events = "event" if self.count == 1 else "events"
        return f"{self.count:,} {events}, the first one {self.first_event:,}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ShoweredBatch:
    """Showered events.

    Args:
        events: Shower-level events (`EventBatch.has_graph`).
        hard_event: Number of the hard event that each comes from, counted from 1 over all hard events, ``(n,)``.
    """

    events: EventBatch
    hard_event: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShowerReport:
    """What a parton shower did.

    Args:
        hard_events: Events that came in.
        showered: Events that went out.
        refusals: Why others did not, one entry for each reason.
        run_info: What is true of the showered events, with the cross section as it is known after the last one.
        remarks: What the user should know.
    """

    hard_events: int
    showered: int
    refusals: tuple[Refusal, ...]
    run_info: RunInfo
    remarks: tuple[str, ...] = ()

    def count(self, kind: RefusalKind) -> int:
        """Events that were refused for reasons of one kind."""
        return sum(refusal.count for refusal in self.refusals if refusal.kind == kind)


class PartonShower(abc.ABC):
    """A program that showers and hadronises hard events. Offer it from the hook ``mlgen_parton_showers``.

    One object is one run: it is made with the checked settings of the card's ``[shower]``, then `check`, `prepare`,
    `shower`, `report` and `close` are called in this order, `prepare` and all after it once.

    Weights: a showered event has the weight of its hard event, times the weight that the shower itself gives, which is
    1 unless it was asked to reweight; named weights of the hard event keep their names and get the same factor. What
    the shower adds are further named weights with a prefix of its own, as absolute weights.

    Args:
        settings: The checked settings of the card's section.
    """

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    @abc.abstractmethod
    def check(self, directory: Path) -> None:
        """Check, before any work of the run, that the program is there and takes the settings.

        Args:
            directory: That of the card: paths in the settings are relative to it.

        Raises:
            mlgen.errors.PluginError: It is not installed; says how that is done.
            ShowerError: It does not take a setting. Begins with ``[shower]`` and the key.
        """

    @abc.abstractmethod
    def prepare(self, run_info: RunInfo, *, seed: int, on_error: Literal["stop", "skip"] = "stop") -> RunInfo:
        """Get ready for hard events.

        Args:
            run_info: What is true of the hard events.
            seed: The seed of the run. The same seed gives the same events, whatever the number of processes.
            on_error: Whether a hard event that cannot be showered stops the run.

        Returns:
            What is true of the showered events: with the names of added weights, and without processes where their
            cross sections are known after the last event only.

        Raises:
            ShowerError: Such events cannot be showered: no beams, a cross section that the program cannot use.
        """

    @abc.abstractmethod
    def shower(self, batches: Iterable[EventBatch]) -> Iterator[ShoweredBatch]:
        """Shower hard events, in order.

        Args:
            batches: Hard events, in batches of any size: what comes out does not depend on it.

        Yields:
            Batches of few events, of which each has thousands of particles.

        Raises:
            ShowerError: The hard event cannot be showered, and ``on_error`` is "stop". Names it, with the reason.
            ShowerFailure: The program failed.
        """

    @abc.abstractmethod
    def report(self) -> ShowerReport:
        """Say what was done, once all events are showered."""

    @property
    @abc.abstractmethod
    def version(self) -> str:
        """Version of the program."""

    @property
    @abc.abstractmethod
    def description(self) -> Mapping[str, Any]:
        """All that decides what the showered events look like, for the provenance of the outputs; plain types."""

    def close(self) -> None:  # noqa: B027 - a shower that holds nothing has nothing to let go
        """Release what is held: processes, files. Called also after an error."""
