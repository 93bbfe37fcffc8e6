"""What a rule of the kit is: one test, with an identity, its words, and the place where it is documented."""

from __future__ import annotations

import functools
import inspect
import unittest
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn, TypeVar

#: The page of the documentation that has all rules, each under its identity.
DOCUMENTATION = "reference/conformance.html"

_PREFIX = "test_"
_NOTE = "rule '"

Class = TypeVar("Class", bound=type)
Test = TypeVar("Test", bound=Callable[..., Any])


class Rule(NamedTuple):
    """One rule: its identity, as ``same-seed-gives-the-same-result``, and its words."""

    identity: str
    words: str

    @property
    def documented(self) -> str:
        """Where it is documented: the page, as it is built, with the rule's place in it."""
        return f"{DOCUMENTATION}#{self.identity}"

    @property
    def place(self) -> str:
        """Where it is documented, in words."""
        return f"documented in mlgen's documentation, {self.documented}"

    @property
    def note(self) -> str:
        """What is added to the error of a plugin that breaks it."""
        return f"{_NOTE}{self.identity}': {self.words}\n{self.place}"


def rule_of(test: Callable[..., Any]) -> Rule:
    """Return the rule that a test method of the kit checks: its name, and the first paragraph of its docstring."""
    words = " ".join((inspect.getdoc(test) or "").split("\n\n")[0].split())
    return Rule(test.__name__.removeprefix(_PREFIX).replace("_", "-"), words)


def is_rule(name: str) -> bool:
    """Whether a method of this name checks a rule."""
    return name.startswith(_PREFIX)


def states_rules(cls: Class) -> Class:
    """Decorate a class of the kit: an error that one of its tests raises ends with the rule that was broken."""
    for name, test in list(vars(cls).items()):
        if is_rule(name) and inspect.isfunction(test):
            setattr(cls, name, _stated(test))
    return cls


def _stated(test: Callable[..., None]) -> Callable[..., None]:
    note = rule_of(test).note

    @functools.wraps(test)
    def stated(*arguments: Any, **named: Any) -> None:
        __tracebackhide__ = True
        try:
            test(*arguments, **named)
        except unittest.SkipTest:
            raise
        except Exception as error:
            # A test that is made of another one states its own words, once.
            if not any(line.startswith(_NOTE) for line in getattr(error, "__notes__", ())):
                error.add_note(note)
            raise

    return stated


def cases(name: str, values: Iterable[str]) -> Callable[[Test], Test]:
    """Mark a test as one that is run for several values of its argument.

    pytest learns of it by `ContractTests.pytest_generate_tests`, ``mlgen check-plugin`` by `cases_of`.

    Args:
        name: The argument.
        values: Its values.
    """

    def mark(test: Test) -> Test:
        test.__dict__["cases"] = (name, tuple(values))
        return test

    return mark


def cases_of(test: Callable[..., Any]) -> tuple[str, tuple[str, ...]] | None:
    """Return the argument and the values of a test that `cases` has marked; None for one without."""
    found: tuple[str, tuple[str, ...]] | None = getattr(test, "cases", None)
    return found


def checked_early(test: Test) -> Test:
    """Mark a test of what all others rest on, such as the shape of a result.

    ``mlgen check-plugin`` checks these rules right after the first one: a plugin that breaks one of them often breaks
    others, for the same reason.
    """
    test.__dict__["early"] = True
    return test


def is_early(test: Callable[..., Any]) -> bool:
    """Whether a test is marked by `checked_early`."""
    return bool(getattr(test, "early", False))


def not_applicable(reason: str) -> NoReturn:
    """Leave a test: the rule says nothing about this plugin. Test runners show it as skipped."""
    raise unittest.SkipTest(reason)


def cannot_be_checked(reason: str) -> NoReturn:
    """Leave a test: another mistake, which another rule tells of, hides whether this one is kept."""
    raise unittest.SkipTest(f"cannot be checked: {reason}")
