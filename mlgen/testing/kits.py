"""The test class of each stage, and the rules that it checks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mlgen.stages import Stage
from mlgen.testing.amplitude import AmplitudeSurrogateTests
from mlgen.testing.base import ContractTests
from mlgen.testing.calorimeter import ShowerSurrogateTests
from mlgen.testing.generator import EventGeneratorTests
from mlgen.testing.phase_space import PhaseSpaceSamplerTests
from mlgen.testing.statement import Rule, is_early, is_rule, rule_of
from mlgen.testing.unweighting import UnweighterTests

KITS: Mapping[Stage, type[ContractTests[Any]]] = {
    kit.stage: kit
    for kit in (
        PhaseSpaceSamplerTests,
        AmplitudeSurrogateTests,
        UnweighterTests,
        EventGeneratorTests,
        ShowerSurrogateTests,
    )
}


def tests_of(kit: type[ContractTests[Any]]) -> dict[str, Callable[..., None]]:
    """Return the tests of a test class by name, in the order in which they are checked.

    First those of what others rest on (`checked_early`), then those that all stages share, then the stage's own, as
    they stand in the source.
    """
    names = dict.fromkeys(name for one in reversed(kit.__mro__) for name in vars(one) if is_rule(name))
    tests = {name: test for name in names if inspect.isfunction(test := getattr(kit, name))}
    return dict(sorted(tests.items(), key=lambda item: not is_early(item[1])))


def rules_of(stage: Stage) -> list[Rule]:
    """Return the rules that a plugin of a stage has to keep, in the order in which they are checked."""
    return [rule_of(test) for test in tests_of(KITS[stage]).values()]
