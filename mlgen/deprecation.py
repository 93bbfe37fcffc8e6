"""What will go, said at least one minor version before it does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import mlgen


class MlgenDeprecationWarning(FutureWarning):
    """Something that is in use will not be there in a version to come.

    A `FutureWarning`, since it is meant for the users of mlgen and its plugins, not only for their authors.
    """


@dataclass(frozen=True, slots=True)
class Deprecation:
    """What will go, when, and what to do instead.

    Args:
        what: What it is, for messages: a key of the card, an option, a version of the contracts.
        since: The version of mlgen that warned first, for instance ``"0.3"``.
        removed_in: The version that will do without it: a later minor version at least, so that one warns.
        instead: What to do about it, as a sentence without its full stop.

    Raises:
        ValueError: There is no minor version between the two.
    """

    what: str
    since: str
    removed_in: str
    instead: str

    def __post_init__(self) -> None:
        if _minor(self.removed_in) <= _minor(self.since):
            raise ValueError(
                f"{self.what}: deprecated since {self.since} and gone in {self.removed_in}; a later minor version is "
                "expected, so that a whole one warns"
            )

    @property
    def overdue(self) -> bool:
        """Whether this version of mlgen should do without it."""
        return _minor(mlgen.__version__) >= _minor(self.removed_in)

    def __str__(self) -> str:
        return (
            f"{self.what} is deprecated since mlgen {self.since} and will be gone in mlgen {self.removed_in}: "
            f"{self.instead}"
        )


#: Everything that is deprecated: keys of the card as ``"section.key"``, versions of the contracts as ``"contracts 1"``.
DEPRECATIONS: Mapping[str, Deprecation] = {}


def warn_if_deprecated(name: str, place: Callable[[], str]) -> None:
    """Warn where something that is in use will go.

    Args:
        name: Its name among the `DEPRECATIONS`; nothing happens if it is not there.
        place: Says where it is used, for the message. Asked only then: to find a line of a card takes milliseconds.
    """
    if deprecation := DEPRECATIONS.get(name):
        warn(str(deprecation), place())


def warn(message: str, place: str) -> None:
    """Warn of what will go, and where it is used; the command line shows it once, on standard error."""
    warnings.warn(f"{place}: {message}", MlgenDeprecationWarning, stacklevel=3)


def _minor(version: str) -> tuple[int, int]:
    major, minor = (int(part) for part in version.split(".")[:2])
    return major, minor
