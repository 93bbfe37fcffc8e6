"""How a rule is stated: its identity, its words, and the note of a failure, under pytest and without it."""

import subprocess
import sys
import unittest

import pytest

from mlgen.stages import CAPABILITIES, Capability, Exactness, Stage
from mlgen.testing import KITS, UnweighterTests, rules_of
from mlgen.testing.statement import cases, cases_of, not_applicable, rule_of, states_rules


@states_rules
class Kit:
    def test_two_and_two(self):
        """Two and two
        are four.

        Everywhere.
        """
        raise AssertionError("5")

    def test_made_of_another(self):
        """Two and two are still four."""
        self.test_two_and_two()

    def test_elsewhere(self):
        """Nowhere."""
        not_applicable("it is elsewhere")

    @cases("number", ["one", "two"])
    def test_numbers(self, number):
        """Numbers are numbers."""


def test_identity_and_words():
    rule = rule_of(Kit.test_two_and_two)
    assert rule == ("two-and-two", "Two and two are four.")
    assert rule.documented == "reference/conformance.html#two-and-two"


def test_a_failure_ends_with_the_rule():
    with pytest.raises(AssertionError, match=r"^5\nrule 'two-and-two'") as failure:
        Kit().test_two_and_two()
    assert failure.value.__notes__ == [
        "rule 'two-and-two': Two and two are four.\n"
        "documented in mlgen's documentation, reference/conformance.html#two-and-two"
    ]


def test_a_failure_is_stated_once():
    with pytest.raises(AssertionError) as failure:
        Kit().test_made_of_another()
    assert len(failure.value.__notes__) == 1


def test_a_rule_that_does_not_apply_is_skipped_without_a_note():
    with pytest.raises(unittest.SkipTest) as reason:
        Kit().test_elsewhere()
    assert str(reason.value) == "it is elsewhere"
    assert not hasattr(reason.value, "__notes__")


def test_cases_survive():
    assert cases_of(Kit.test_numbers) == ("number", ("one", "two"))


@pytest.mark.parametrize("stage", Stage)
def test_every_rule_has_words_of_its_own(stage):
    rules = rules_of(stage)
    assert len(rules) > 20
    assert len({rule.identity for rule in rules}) == len({rule.words for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.words.endswith("."), rule
        assert rule.words[0].isupper() or rule.words[0] in "`", rule
    assert KITS[stage].stage is stage


def test_every_capability_has_a_rule():
    for stage, capabilities in CAPABILITIES.items():
        words = " ".join(rule.words for rule in rules_of(stage))
        for capability in capabilities:
            assert f"capability {capability.name}" in words or f"capabilities {capability.name}" in words


TESTS = """
from mlgen.testing import UnweighterTests
from mlgen_unweighting.hit_or_miss import HitOrMiss
from mlgen_unweighting.settings import HitOrMissSettings

class Scaled(HitOrMiss):
    def unweight(self, candidates, rng):
        kept = super().unweight(candidates, rng)
        return type(kept)(kept.index, kept.weight * -1)

class TestName(UnweighterTests):
    name = "hit-or-miss"

class TestScaled(UnweighterTests):
    def make(self):
        return Scaled(HitOrMissSettings())
"""


def test_pytest_runs_skips_and_shows_the_rules(tmp_path):
    (tmp_path / "test_mine.py").write_text(TESTS)
    chosen = "signs_are_kept or progress_is_told or (TestName and test_exact and none)"
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-k", chosen, str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False).stdout
    assert "1 failed, 3 passed, 2 skipped" in shown, shown
    assert "an accepted event must keep the sign of its weight" in shown
    assert "rule 'signs-are-kept': An accepted event has the sign of the candidate's weight." in shown
    assert "documented in mlgen's documentation, reference/conformance.html#signs-are-kept" in shown
    assert "the plugin learns nothing" in shown


def test_the_kit_needs_no_pytest():
    code = "import sys; sys.modules['pytest'] = None; import mlgen.testing.checking"
    subprocess.run([sys.executable, "-c", code], check=True)


class TestClaims:
    """A test class says what the registration says, or less."""

    @staticmethod
    def kit(**content):
        return type("Kit", (UnweighterTests,), {"name": "two-stage", **content})()

    def test_those_of_the_registration_are_taken(self):
        kit = self.kit()
        assert kit.says_exact
        assert kit.claims(Capability.CORRECTS_SURROGATES)
        kit.test_claims_are_those_of_the_registration()

    def test_settings_may_switch_something_off(self):
        kit = self.kit(capabilities=frozenset())
        assert not kit.claims(Capability.CORRECTS_SURROGATES)
        kit.test_claims_are_those_of_the_registration()

    def test_more_is_refused(self):
        kit = self.kit(name="hit-or-miss", capabilities=frozenset({Capability.CORRECTS_SURROGATES}))
        with pytest.raises(AssertionError, match="says that 'hit-or-miss' has CORRECTS_SURROGATES; its registration"):
            kit.test_claims_are_those_of_the_registration()

    def test_another_exactness_is_refused(self):
        with pytest.raises(AssertionError, match="is registered as exact"):
            self.kit(exactness=Exactness.APPROXIMATE).test_claims_are_those_of_the_registration()

    def test_the_quick_settings_are_used_but_for_changes(self):
        assert self.kit().make().settings.pilot == 500
        assert self.kit(changes={"pilot": 700}).make().settings.pilot == 700

    def test_neither_name_nor_make_is_told(self):
        with pytest.raises(AssertionError, match=r"neither the name .* nor how it is made"):
            self.kit(name=None).make()
