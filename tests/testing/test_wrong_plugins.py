"""Plugins of a package that are wrong in one way each: the rules that they break, and no others, are named."""

import numpy as np
import pytest

from mlgen.plugins import plugin_manager
from mlgen.testing.checking import Verdict, check, figures_of, kit_of

#: Plugin -> the rules that it breaks, and what the first one says.
BROKEN = {
    # The wrong shape, at each stage.
    "points-without-axis": (["points-have-the-right-shape"], "x has shape (0,); (0, 3) is expected"),
    "deviation-of-rows": (["prediction-has-the-right-shape"], "systematic has shape (0, 1)"),
    "weights-of-rows": (["no-and-one-candidate", "exact", "exact-with-overweights"], "weight has shape (1, 1)"),
    "one-event-more": (["exactly-n-events"], "generate(0) made 1 events"),
    # The wrong unit.
    "momenta-in-mev": (["better-than-a-constant", "errors-have-the-size-of-the-deviations"], "momenta are in GeV"),
    "relative-errors": (["errors-have-the-size-of-the-deviations"], "Are they relative ones?"),
    "certain": (["errors-have-the-size-of-the-deviations"], "the errors are too small"),
    "showers-in-gev": (["mean-response-is-that-of-the-training"], "Are the voxels energies, in MeV?"),
    "shower-shares": (["mean-response-is-that-of-the-training"], "Are the voxels energies, in MeV?"),
    # Showers of another kind of particle.
    "first-kind-for-all": (["each-particle-has-a-shower-of-its-kind"], "0.90, 0.10 and 0.11, 0.89 in the training"),
    "showers-by-kind": (["each-particle-has-a-shower-of-its-kind"], "in the place of its particle"),
    "voxels-missing": (["showers-have-the-right-shape"], "voxels has shape (1, 11)"),
    # Not repeatable.
    "not-repeatable": (["same-seed-gives-the-same-training"], "the same seed has to give the same training"),
    "draws-by-itself": (["same-seed-gives-the-same-result"], "'statistical' has other values"),
    "shuffles-globally": (["global-random-state-is-untouched"], "the global random state of NumPy was changed"),
    # Biased, but said to be exact.
    "biased-points": (["integrals-are-right", "one-channel-and-no-budget"], "the integral of f, here of x_0"),
    "biased-weights": (
        [
            "cross-section-is-kept",
            "exact",
            "exact-with-overweights",
            "unbiased-with-surrogate-weights",
            "unusable-true-weights-are-refused",
        ],
        "weights of a surrogate",
    ),
    "drops-the-light": (["light-candidates-are-kept"], "0 +- 0 was found"),
    "lifts-the-light": (["light-candidates-are-kept"], "weights from 1e-04 to 1e-03 of the largest"),
    # Tells other figures than there are.
    "hides-overweights": (["report-tells-of-overweights"], "overweight_events is 0"),
    "no-excess": (["report-tells-of-overweights"], "overweight_share is 0"),
    "smallest-overweight": (["report-tells-of-overweights"], "largest_overweight is 1"),
    # Does not save all that it learned, or cannot be loaded.
    "forgets-its-floor": (["saved-and-loaded-gives-the-same-result"], "saved and loaded has to give"),
    "loads-nothing": (["saved-and-loaded-gives-the-same-result"], "LoadsNothing cannot be loaded"),
    # Mutates its input.
    "spoils-values": (["inputs-are-not-changed"], "'value' has other values"),
    "spoils-targets": (["inputs-are-not-changed"], "'values' has other values"),
    "hands-out-its-own": (
        ["saved-and-loaded-gives-the-same-result", "results-belong-to-the-caller"],
        "'voxels' has other values",
    ),
    # Leaks memory.
    "leaks": (["use-does-not-take-more-and-more-memory"], "bytes more after each of"),
    # Hides an exception.
    "hides-integrand": (["errors-of-others-come-through"], "RaisedByTheKit became TrainingError"),
    "hides-true-weights": (["errors-of-others-come-through"], "exact_weight that raises in prepare()"),
    "hides-interruption": (["errors-of-others-come-through"], "a progress callback that raises"),
    # Writes pickle.
    "writes-pickle": (["state-is-plain-numbers", "loading-unpickles-nothing"], "state 'model' is a pickle"),
    # Claims what it has not, and has what it does not claim.
    "claims-channel-weights": (["channel-weights-are-learned-where-it-says-so"], "they are the prior ones everywhere"),
    "has-channel-weights": (["channel-weights-are-learned-where-it-says-so"], "{Capability.CHANNEL_WEIGHTS}"),
    "claims-members": (["members-are-there-where-it-says-so"], "but members is 0"),
    "has-members": (["members-are-there-where-it-says-so"], "{Capability.MEMBERS}"),
    "claims-correction": (["surrogates-are-corrected-where-it-says-so"], "the surrogate saves nothing"),
    "has-correction": (["surrogates-are-corrected-where-it-says-so"], "{Capability.CORRECTS_SURROGATES}"),
    "claims-density": (["density-is-there-where-it-says-so"], "log_density() is missing"),
    "has-density": (["density-is-there-where-it-says-so"], "{Capability.DENSITY}"),
    "wrong-density": (["log-density-is-that-of-the-events"], "is not the density of the events"),
    "ignores-signs": (["negative-weights-where-it-says-so"], "the signs of the weights were not learned"),
    "takes-signs": (["negative-weights-where-it-says-so"], "TrainingError is expected, but it was accepted"),
    "claims-rectangles": (["rectangular-layers-where-it-says-so"], "but refused them"),
    "has-rectangles": (["rectangular-layers-where-it-says-so"], "TrainingError is expected, but it was accepted"),
    # Does not do what every plugin does.
    "crashes": (
        ["prediction-has-the-right-shape", "prediction-is-a-function-of-the-momenta"],
        "IndexError: index 7 is out of bounds",
    ),
    "incomplete": (["implements-its-contract"], "does not implement from_state, predict, train"),
}

#: Those of the package with which nothing is wrong.
CORRECT = {"polar-alone", "hit-or-miss-alone", "imports-late"}


def found(name):
    plugins = plugin_manager().stage_plugins
    return next(registered for some in plugins.values() for registered in some if registered.offer.name == name)


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(("name", "rules", "words"), [(name, *what) for name, what in BROKEN.items()], ids=BROKEN)
def test_a_wrong_plugin_breaks_just_its_rules(name, rules, words):
    outcomes = [outcome for outcome in check(found(name)) if outcome.verdict is Verdict.BROKEN]
    assert list(dict.fromkeys(outcome.rule.identity for outcome in outcomes)) == rules
    assert words in outcomes[0].message


@pytest.mark.usefixtures("wrong")
def test_every_wrong_plugin_is_here():
    offered = {
        registered.offer.name
        for some in plugin_manager().stage_plugins.values()
        for registered in some
        if registered.source.distribution == "mlgen-wrong"
    }
    assert offered - set(BROKEN) == CORRECT | {"crashes-everywhere", "of-the-future"}


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(
    "name",
    [
        *sorted(CORRECT),
        "toy-flat",
        "toy-cosine",
        "toy-keep-all",
        "toy-library",
        "toy-showers",
        "flat",
        "vegas",
    ],
)
def test_a_correct_plugin_breaks_none(name):
    outcomes = list(check(found(name)))
    assert not [outcome for outcome in outcomes if outcome.verdict is Verdict.BROKEN]
    # Nothing is left out but what its claims leave out.
    assert sum(outcome.verdict is Verdict.PASSED for outcome in outcomes) > 25


@pytest.mark.usefixtures("wrong")
def test_the_place_of_a_crash_is_that_in_the_plugins_own_code():
    outcomes = [outcome for outcome in check(found("crashes")) if outcome.verdict is Verdict.BROKEN]
    file, _, line = outcomes[0].place.rpartition(":")
    assert file.endswith("mlgen_wrong.py")
    with open(file) as source:
        assert source.readlines()[int(line) - 1].strip() == "momenta[:, 7]"
    assert "momenta[:, 7]" in outcomes[0].traceback


@pytest.mark.usefixtures("wrong")
def test_the_shape_of_results_is_checked_before_all_that_rests_on_it():
    outcomes = list(check(found("crashes-everywhere")))
    assert [outcome.name for outcome in outcomes[:2]] == ["implements-its-contract", "prediction-has-the-right-shape"]
    broken = [outcome for outcome in outcomes if outcome.verdict is Verdict.BROKEN]
    assert broken[0] is outcomes[1]
    # All have one cause, in one line of the plugin, whatever else they say.
    assert {(outcome.cause, outcome.place) for outcome in broken} == {("KeyError: 'meen'", broken[0].place)}
    assert len(broken) > 10


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        ("loads-nothing", "loading-unpickles-nothing", "from_state() raised ModelError"),
        ("draws-by-itself", "results-belong-to-the-caller", "does not give the same result"),
        ("draws-by-itself", "saved-and-loaded-gives-the-same-result", "does not give the same result"),
    ],
)
def test_what_another_mistake_hides_is_not_called_broken(name, rule, words):
    (outcome,) = check(found(name), rules=[rule])
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert outcome.message.startswith("cannot be checked: ")
    assert words in outcome.message


@pytest.mark.usefixtures("wrong")
def test_the_scatter_of_the_weights_is_told_beside_that_of_flat_points():
    kit = kit_of(found("toy-flat"), {})
    (told,) = figures_of(kit).values()
    own, flat = (float(part.split()[0]) for part in told.split(", "))
    # Both draw uniform points and channels; the spread of the spread is about 1 % for 20,000 of them.
    assert own == pytest.approx(flat, rel=0.05)
    assert flat == pytest.approx(expected_scatter(kit()), rel=0.05)


def expected_scatter(kit):
    """By a sum over a grid of the midpoints of cells, in each channel."""
    integrand = kit.integrand()
    middles = (np.arange(40) + 0.5) / 40
    x = np.stack(np.meshgrid(*[middles] * integrand.dimensions), axis=-1).reshape(-1, integrand.dimensions)
    channels = len(integrand.channels)
    weights = []
    for number in range(channels):
        evaluated = integrand(x, np.full(len(x), number))
        weights.append(channels * evaluated.prior[:, number] * evaluated.value)
    return np.std(weights) / np.mean(weights)


@pytest.mark.usefixtures("wrong")
def test_what_does_not_work_has_no_figures():
    assert figures_of(kit_of(found("incomplete"), {})) == {}


@pytest.mark.usefixtures("wrong")
def test_a_class_that_cannot_be_made_is_told_once():
    outcomes = list(check(found("incomplete")))
    assert [outcome.name for outcome in outcomes] == ["implements-its-contract"]


@pytest.mark.usefixtures("wrong")
def test_capabilities_that_settings_switch_off_are_not_asked_for():
    (claimed,) = found("claims-members").offer.capabilities
    rules = ["members-are-there-where-it-says-so"]
    (outcome,) = check(found("claims-members"), without=[claimed], rules=rules)
    assert outcome.verdict is Verdict.PASSED
