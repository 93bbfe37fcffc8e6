"""Things that are handed to a plugin and raise when they are used: does the error come through?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from mlgen.stages import Evaluated, FloatArray, IntArray, Integrand, Progress
from mlgen.testing.rules import require

T = TypeVar("T")


class RaisedByTheKit(Exception):  # noqa: N818 - it stands for anybody's exception
    """An error inside something that was handed to a plugin."""


class InterruptedByTheKit(BaseException):
    """What stops a program, such as Ctrl-C: no `Exception`, so that ``except Exception`` does not catch it."""


class Trap:
    """Raises an error, and remembers that it did.

    Args:
        error: The error.
        after: Calls that go well before it.
    """

    def __init__(self, error: BaseException, after: int = 0) -> None:
        self.error = error
        self.sprung = False
        self._left = after

    def rearm(self, after: int) -> None:
        """Set the trap again, for the next thing that it is in."""
        self.sprung, self._left = False, after

    def spring(self) -> None:
        """Raise, unless this is one of the first calls."""
        if self._left:
            self._left -= 1
            return
        self.sprung = True
        raise self.error

    def stream(self, first: Iterable[T]) -> Iterator[T]:
        """A stream that gives something first, and then raises."""
        yield from first
        self.rearm(0)
        self.spring()

    def progress(self, progress: Progress) -> None:
        """A progress callback that raises."""
        self.spring()

    def before(self, function: Callable[..., T]) -> Callable[..., T]:
        """A function that raises instead of being called."""

        def trapped(*arguments: Any) -> T:
            self.spring()
            return function(*arguments)

        return trapped

    def integrand(self, integrand: Integrand) -> Integrand:
        """An integrand that raises."""
        return _Trapped(integrand, self)

    def require_through(self, action: Callable[[], object], what: str) -> None:
        """Fail unless the error, where it is raised, comes out of the action as it is."""
        name = type(self.error).__name__
        rule = f"{what}: the error has to come through as it was raised"
        try:
            action()
        except BaseException as error:
            if error is self.error:
                return
            if not self.sprung or not isinstance(error, Exception):
                raise
            raise AssertionError(f"{rule}, but {name} became {error!r}") from error
        require(not self.sprung, f"{rule}, but {name} was hidden")


class _Trapped(Integrand):
    def __init__(self, integrand: Integrand, trap: Trap) -> None:
        self.dimensions, self.channels = integrand.dimensions, integrand.channels
        self.groups, self.features = integrand.groups, integrand.features
        self._integrand, self._trap = integrand, trap

    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        self._trap.spring()
        return self._integrand(x, channel)
