"""Runs the kit's tests of a registered plugin without any test runner, for ``mlgen check-plugin``."""

from __future__ import annotations

import contextlib
import enum
import sys
import time
import traceback
import types
import unittest
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlgen.errors import UserError, nearest
from mlgen.hookspecs import Plugin
from mlgen.plugin_sources import is_interruption
from mlgen.plugins import PluginManager, Registered
from mlgen.stages import Capability, Stage
from mlgen.testing.base import ContractTests
from mlgen.testing.kits import KITS, rules_of, tests_of
from mlgen.testing.statement import Rule, cases_of, rule_of
from mlgen.threads import one_thread

#: The rule without which no other can be checked.
_FIRST = "implements-its-contract"


class Verdict(enum.Enum):
    """What came of checking a rule."""

    PASSED = "passed"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of checking one rule.

    Args:
        rule: The rule.
        case: What it was checked for, where it is checked for several things; empty otherwise.
        verdict: What came of it.
        message: What is wrong, or why the rule does not apply.
        cause: The exception that it comes from, where one was raised; empty where a rule says what is wrong.
        place: ``file:line`` in the plugin's own code where that exception came from; empty where there is none.
        traceback: Of the failure.
        seconds: How long it took.
    """

    rule: Rule
    case: str
    verdict: Verdict
    message: str = ""
    cause: str = ""
    place: str = ""
    traceback: str = field(default="", repr=False)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The rule, with the case."""
        return f"{self.rule.identity}[{self.case}]" if self.case else self.rule.identity


def check(
    registered: Registered[Plugin],
    *,
    changes: Mapping[str, Any] | None = None,
    without: Collection[Capability] = (),
    rules: Collection[str] = (),
) -> Iterator[Outcome]:
    """Check the rules of a plugin one by one, with its quick settings.

    Args:
        registered: The plugin, as `PluginManager.find` gives it.
        changes: Settings in place of the quick ones; checked already.
        without: Capabilities that these settings switch off.
        rules: Identities of the rules to check; all when empty.

    Yields:
        What came of each, as it is done. Where the class cannot even be made, that is all.

    Raises:
        UserError: There is no such rule, at this stage.
    """
    check_rules(registered.offer.stage, rules)
    yield from check_kit(kit_of(registered, changes or {}, without), files_of(registered), rules=rules)


def check_kit(
    kit: type[ContractTests[Any]], plugin_files: Path | None = None, *, rules: Collection[str] = ()
) -> Iterator[Outcome]:
    """Check the rules of a test class one by one, as `check` does.

    Args:
        kit: The test class, of `kit_of` for instance.
        plugin_files: Where the plugin's own code is, as `files_of` gives it; None where that is not known.
        rules: Identities of the rules to check; all when empty.
    """
    for test in tests_of(kit).values():
        rule = rule_of(test)
        if rules and rule.identity not in rules and rule.identity != _FIRST:
            continue
        for case, bound in _bound(kit, test):
            outcome = _outcome(rule, case, bound, plugin_files)
            if not rules or rule.identity in rules or outcome.verdict is Verdict.BROKEN:
                yield outcome
            if rule.identity == _FIRST and outcome.verdict is Verdict.BROKEN:
                return


def figures_of(kit: type[ContractTests[Any]]) -> dict[str, str]:
    """Return what a test class tells of its plugin beside the rules; nothing where the plugin does not work."""
    try:
        with contextlib.redirect_stdout(sys.stderr), one_thread():
            return dict(kit().figures())
    except (Exception, SystemExit) as error:
        if is_interruption(error):
            raise
        return {}


def check_rules(stage: Stage, rules: Collection[str]) -> None:
    """Refuse rules that there are not.

    Raises:
        UserError: A rule is not one of the stage's.
    """
    known = [rule.identity for rule in rules_of(stage)]
    for identity in rules:
        if identity not in known:
            raise UserError(
                f"no rule of {stage.value} plugins is called '{identity}'{nearest(identity, known)}\n"
                f"There is: {', '.join(known)}"
            )


def kit_of(
    registered: Registered[Plugin], changes: Mapping[str, Any], without: Collection[Capability] = ()
) -> type[ContractTests[Any]]:
    """Make the test class of a registered plugin, as its author would write it."""
    offer = registered.offer
    content = {
        "name": offer.name,
        "changes": dict(changes),
        "capabilities": offer.capabilities - frozenset(without),
        # The registration that is meant, which need not be that of this process's plugin manager.
        "registered": lambda self: registered,
    }
    return types.new_class(f"Test{offer.name}", (KITS[offer.stage],), exec_body=lambda body: body.update(content))


def files_of(registered: Registered[Plugin]) -> Path | None:
    """Return the folder of the package, or the file of the module, that holds a plugin's code; None if unknown."""
    module = sys.modules.get(registered.offer.factory.__module__)
    try:
        implementation = PluginManager.plugin_class(registered)
    except Exception:  # noqa: BLE001 - it is what the first rule is about, and is told there
        implementation = None
    if implementation is not None:
        module = sys.modules.get(implementation.__module__, module)
    if module is None:
        return None
    module = sys.modules.get(module.__name__.partition(".")[0], module)
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    return Path(file).parent if hasattr(module, "__path__") else Path(file)


def _bound(kit: type[ContractTests[Any]], test: Callable[..., None]) -> Iterator[tuple[str, Callable[[], None]]]:
    found = cases_of(test)
    if found is None:
        yield "", partial(test, kit())
        return
    argument, values = found
    for value in values:
        yield value, partial(test, kit(), **{argument: value})


def _outcome(rule: Rule, case: str, test: Callable[[], None], plugin_files: Path | None) -> Outcome:
    start = time.perf_counter()
    try:
        # Standard output is for results. Trainings this small are many times slower with more threads than free cores.
        with contextlib.redirect_stdout(sys.stderr), one_thread():
            test()
    except unittest.SkipTest as reason:
        return Outcome(rule, case, Verdict.NOT_APPLICABLE, str(reason), seconds=time.perf_counter() - start)
    except (Exception, SystemExit) as error:
        if is_interruption(error):
            raise
        message = str(error) if isinstance(error, AssertionError) and str(error) else _named(error)
        root = _root(error)
        cause = "" if isinstance(root, AssertionError) and root is error else _named(root)
        place = _place(error, plugin_files)
        shown = "".join(traceback.format_exception(error))
        return Outcome(rule, case, Verdict.BROKEN, message, cause, place, shown, time.perf_counter() - start)
    return Outcome(rule, case, Verdict.PASSED, seconds=time.perf_counter() - start)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _root(error: BaseException) -> BaseException:
    """What an error was raised from, and that from, and so on."""
    seen: set[int] = set()
    while error.__cause__ is not None and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__
    return error


def _place(error: BaseException, plugin_files: Path | None) -> str:
    """The last line of the plugin's own code in the traceback of an error, or of what it came from."""
    if plugin_files is None:
        return ""
    found = ""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        for frame in traceback.extract_tb(current.__traceback__):
            path = Path(frame.filename)
            if path == plugin_files or plugin_files in path.parents:
                found = f"{frame.filename}:{frame.lineno}"
        current = current.__cause__
    return found
