"""Wall time by piece of work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timer:
    """Wall time in seconds by piece of work; one that comes several times is summed up.

    Work within other work is not counted there: the times add up to the whole.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list, init=False)
    _since: float = field(default=0.0, init=False)

    @contextlib.contextmanager
    def __call__(self, work: str) -> Iterator[None]:
        """Time what is done in this context."""
        self._count()
        # Listed in the order in which work begins.
        self.seconds.setdefault(work, 0.0)
        self._running.append(work)
        try:
            yield
        finally:
            self._count()
            self._running.pop()

    def _count(self) -> None:
        """Count the time since the last change for the work that was going on."""
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now
