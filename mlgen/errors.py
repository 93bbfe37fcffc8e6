"""Every error that mlgen raises on purpose.

An error says what was asked, where, what was expected and what to do. The command line prints the message
and exits with `MlgenError.exit_code`: 2 for what the user can mend, 1 for what failed while running.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MlgenError(Exception):
    """Base of all errors below; a failure while running."""

    exit_code = 1


class UserError(MlgenError):
    """Something that the user asked for or gave cannot be used."""

    exit_code = 2


class CardError(UserError):
    """The run card does not say something that can be run."""


class InputError(UserError):
    """An input file cannot be read, or holds something that is not allowed.

    Args:
        source: The file, ``<stdin>`` for standard input.
        problem: What is wrong and what was expected.
        event: Number of the event, counted from 1.
        line: Number of the line, counted from 1, in the uncompressed file.
        advice: What to do about it.
    """

    def __init__(
        self, source: str, problem: str, *, event: int | None = None, line: int | None = None, advice: str = ""
    ) -> None:
        self.source, self.problem, self.event, self.line, self.advice = source, problem, event, line, advice
        place = source
        if event is not None:
            place += f": event {event}"
        if line is not None:
            place += f" (line {line})" if event is not None else f": line {line}"
        super().__init__(f"{place}: {problem}" + (f"\n{advice}" if advice else ""))


class OutputError(UserError):
    """An output file cannot be written as asked."""


class ProcessError(UserError):
    """A reaction, its cuts, scales, parton densities or matrix elements cannot be used as asked."""


class WeightError(UserError):
    """The event weights do not allow what was asked."""


class PluginError(UserError):
    """A plugin that was asked for is not there, is ambiguous, or could not be loaded."""


class ModelError(UserError):
    """A trained model on disk does not fit what it was asked for."""


class TrainingError(UserError):
    """The training data do not allow what was asked."""


class DetectorError(UserError):
    """A simulation of a detector cannot do what was asked of it."""


class SimulationFailure(MlgenError):  # noqa: N818 - it reports what became of somebody else's program
    """A program that simulates a detector stopped or failed while it ran.

    Args:
        problem: What happened.
        shower: Number of the shower in the batch, from 0, where it is known.
    """

    def __init__(self, problem: str, *, shower: int | None = None) -> None:
        self.problem, self.shower = problem, shower
        super().__init__(problem)


class PluginFailure(MlgenError):  # noqa: N818 - it reports somebody else's exception
    """A plugin raised an exception while it ran."""


class WriteFailure(MlgenError):  # noqa: N818 - it reports the operating system's exception
    """Writing failed midway: disk full, a pipe that closed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` with the known name most like `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{matches[0]}'?" if matches else ""
