"""The rules of the conformance kit, as Markdown."""

from __future__ import annotations

from collections import Counter

from mlgen.stages import Stage
from mlgen.testing import KITS, ContractTests
from mlgen.testing.kits import tests_of
from mlgen.testing.statement import cases_of, is_rule, rule_of
from mlgen_reference.markdown import code, paragraphs, section


def rules() -> str:
    """Every rule with its words: those of several stages, then those of each."""
    tests = {stage: tests_of(KITS[stage]).values() for stage in Stage}
    times = Counter(rule_of(test).identity for found in tests.values() for test in found)
    shared = {rule_of(test).identity: test for found in tests.values() for test in found}
    out = [section(2, "Rules of several stages", "rules-several-stages")]
    out += [_rule(test) for identity, test in shared.items() if times[identity] > 1]
    for stage, found in tests.items():
        out.append(section(2, f"Rules of `{stage.value}`", f"rules-{stage.value}"))
        out.append(f"Tested by `mlgen.testing.{KITS[stage].__name__}`, beside the rules of several stages.\n")
        out += [_rule(test) for test in found if times[rule_of(test).identity] == 1]
    return "\n".join(out)


def classes() -> str:
    """The test classes, with what a plugin's author can set and override."""
    out = []
    for kit in (ContractTests, *KITS.values()):
        tests = ", ".join(name for name in dir(kit) if is_rule(name) or name.startswith("pytest_"))
        options = f"   :members:\n   :inherited-members: ContractTests\n   :exclude-members: {tests}"
        out += [
            section(3, kit.__name__),
            f"```{{eval-rst}}\n.. autoclass:: mlgen.testing.{kit.__name__}\n{options}\n```\n",
        ]
    return "\n".join(out)


def _rule(test: object) -> str:
    rule, cases = rule_of(test), cases_of(test)
    said = list(paragraphs(test.__doc__))
    if cases:
        said.append("Checked for: " + ", ".join(code(case) for case in cases[1]) + ".")
    return section(3, code(rule.identity), rule.identity) + "\n" + "\n\n".join(said) + "\n"
