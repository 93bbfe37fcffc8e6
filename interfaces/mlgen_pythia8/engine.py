"""One Pythia that showers batches of hard events, in the process that it lives in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch
from mlgen.parton_shower import RefusalKind, ShowerFailure
from mlgen.run_info import RunInfo
from mlgen_pythia8.configuration import Configuration
from mlgen_pythia8.event_columns import ShoweredColumns, showered_columns
from mlgen_pythia8.hard_events import EventFile, event_source, number_of
from mlgen_pythia8.input_checks import what_is_wrong
from mlgen_pythia8.library import pythia8
from mlgen_pythia8.printed import Printed, reason_of

#: Prefix of the weights that Pythia adds.
PREFIX = "pythia8."


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """A hard event that was not showered: its number in the batch from 0, what that means, and why."""

    index: int
    kind: RefusalKind
    reason: str


@dataclass(frozen=True, slots=True)
class ShoweredPart:
    """What became of a batch of hard events.

    Args:
        index: Number in the batch of the hard event that each showered event comes from, ``(n,)``.
        events: The showered events; None without any.
        refused: The others.
    """

    index: npt.NDArray[np.int64]
    events: ShoweredColumns | None
    refused: list[RefusedEvent]


@dataclass(slots=True)
class _Outcomes:
    """How each call of Pythia ended: number of the hard event, status, what was printed."""

    ended: list[tuple[int, str, str]] = field(default_factory=list)
    begun: bool = False


class Engine:
    """Pythia, initialised.

    Args:
        configuration: Checked settings.
        run_info: What is true of the hard events.

    Raises:
        ShowerFailure: Pythia cannot be initialised; says what it printed.
    """

    def __init__(self, configuration: Configuration, run_info: RunInfo) -> None:
        self._module = pythia8()
        self._configuration = configuration
        self._printed = Printed()
        self._outcomes = _Outcomes()
        with self._printed.captured():
            self._pythia = self._module.Pythia("", False)
            for line in configuration.lines:
                self._pythia.readString(line, False)
            self._file = EventFile(run_info) if configuration.reader else None
            self._source: Any = None
            # Python objects that Pythia holds have to be held here, too.
            self._hooks = list(self._make_hooks())
            if self._file is None:
                self._source = event_source(self._module, run_info)
                self._pythia.readString("Beams:frameType = 5")
                self._pythia.setLHAupPtr(self._source)
            else:
                self._pythia.readString("Beams:frameType = 4")
                self._read(self._file.write(_no_events()))
            for hook in self._hooks:
                self._pythia.addUserHooksPtr(hook)
            ready = self._pythia.init()
            said = self._printed.new_text()
        if not ready:
            raise ShowerFailure(f"Pythia cannot be initialised: {reason_of(said) or said.strip() or 'no reason given'}")
        if self._file is not None:
            self._pythia.readString("Beams:newLHEFsameInit = on")
        names = list(self._pythia.infoPython().weightNameVector())
        #: Names of the weights that Pythia adds.
        self.added_weights = tuple(f"{PREFIX}{name}" for name in _unique(names[1:]))

    def shower(self, batch: EventBatch, seed: int) -> ShoweredPart:
        """Shower the events of a batch.

        Args:
            batch: Hard events.
            seed: From 1 to 900,000,000; decides all random numbers.
        """
        import awkward as ak

        outcomes = self._outcomes
        outcomes.ended.clear()
        outcomes.begun = False
        with self._printed.captured():
            if self._file is not None:
                self._read(self._file.write(batch))
                if not self._pythia.init():
                    raise ShowerFailure(f"Pythia cannot read the hard events: {reason_of(self._printed.new_text())}")
            else:
                self._source.load(batch)
            self._printed.new_text()
            self._pythia.rndm.init(seed)
            made = self._pythia.nextBatch(len(batch), "none")
        whole = ~np.asarray(ak.to_numpy(ak.is_none(made)))
        if len(outcomes.ended) != len(batch) or len(whole) != len(batch):
            raise ShowerFailure(f"Pythia ended {len(outcomes.ended)} of {len(batch)} events")
        numbers = np.array([number for number, _, _ in outcomes.ended], np.int64)
        index = numbers[whole]
        if np.any(index < 0) or len(np.unique(index)) != len(index):
            raise ShowerFailure("Pythia made events that are none of those it was given")
        refused = []
        for call in np.flatnonzero(~whole).tolist():
            number, status, said = outcomes.ended[call]
            refused.append(RefusedEvent(number, *self._explained(batch, number, status, said)))
        for number in sorted(set(range(len(batch))) - set(numbers.tolist())):
            # Pythia went on to the next event by itself.
            said = next((said for other, _, said in outcomes.ended if other > number), "")
            refused.append(RefusedEvent(number, *self._explained(batch, number, "PROCESSLEVEL_FAILED", said)))
        # Those with a negative number are calls after the last event, because of such.
        refused = sorted((event for event in refused if event.index >= 0), key=lambda event: event.index)
        return ShoweredPart(index, showered_columns(made[whole]) if whole.any() else None, refused)

    def _explained(self, batch: EventBatch, number: int, status: str, said: str) -> tuple[RefusalKind, str]:
        reason = reason_of(said)
        if "VETO" in status or (self._configuration.matching and not reason):
            return "vetoed", "rejected by the matching or merging"
        reason = reason or status.lower().replace("_", " ")
        wrong = what_is_wrong(batch[number : number + 1]) if number >= 0 else ""
        if wrong or status == "PROCESSLEVEL_FAILED":
            return "input", f"{reason} ({wrong})" if wrong else reason
        return "failed", reason

    def _read(self, path: str) -> None:
        self._pythia.readString(f"Beams:LHEF = {path}")

    def _make_hooks(self) -> Iterator[Any]:
        module, pythia = self._module, self._pythia
        if pythia.flag("JetMatching:merge"):
            made = module.JetMatchingMadgraph if pythia.mode("JetMatching:scheme") == 1 else module.JetMatchingAlpgen
            yield made()
        yield _watcher(module, self)

    def _begin(self) -> None:
        if not self._outcomes.begun:
            self._outcomes.begun = True

    def _end(self, status: int) -> None:
        # With several hooks, Pythia says so several times.
        if not self._outcomes.begun:
            return
        self._outcomes.begun = False
        if self._file is None:
            number = -1 if self._source.exhausted else self._source.next_event - 1
        else:
            number = number_of(self._pythia.infoPython().getEventAttribute)
        said = self._printed.new_text()
        names = {int(value): name for name, value in self._module.PhysicsBase.Status.__members__.items()}
        self._outcomes.ended.append((number, names.get(status, "unknown"), said))

    def close(self) -> None:
        """Release what is held."""
        with contextlib.suppress(OSError):
            self._printed.close()
        if self._file is not None:
            self._file.close()


def _watcher(module: Any, engine: Engine) -> Any:
    class Watcher(module.UserHooks):  # type: ignore[misc]  # pythia8mc ships no types
        """Told of each event how it ended."""

        def onBeginEvent(self) -> None:  # noqa: N802 - the name is Pythia's
            engine._begin()

        def onEndEvent(self, status: Any) -> None:  # noqa: N802 - the name is Pythia's
            # Now: Pythia's object does not outlive the call.
            engine._end(int(status))

    return Watcher()


def _no_events() -> EventBatch:
    nothing = np.zeros(0)
    return EventBatch.from_columns(
        np.zeros(0, int), {"px": nothing, "py": nothing, "pz": nothing, "energy": nothing}, weight=nothing
    )


def _unique(names: list[str]) -> list[str]:
    """Names, each once."""
    found: list[str] = []
    for name in names:
        unique, number = name, 1
        while unique in found:
            number += 1
            unique = f"{name} ({number})"
        found.append(unique)
    return found
