"""The conformance kit: it passes correct plugins of all five contracts, and names the rule that a wrong one breaks."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mlgen.events import EventBatch
from mlgen.plugins import plugin_manager
from mlgen.run_info import Beam
from mlgen.stages import (
    Amplitude,
    Candidates,
    Capability,
    Evaluated,
    Points,
    Progress,
    TrainingReport,
    Unweighted,
    no_progress,
)
from mlgen.testing import (
    AmplitudeSurrogateTests,
    EventGeneratorTests,
    PhaseSpaceSamplerTests,
    ShowerSurrogateTests,
    UnweighterTests,
    check_events,
    drell_yan_events,
)


def _load_toys() -> ModuleType:
    path = Path(__file__).parents[1] / "packages" / "toys" / "mlgen_toys.py"
    specification = importlib.util.spec_from_file_location("mlgen_toys", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["mlgen_toys"] = module
    specification.loader.exec_module(module)
    return module


toys = _load_toys()


@pytest.fixture(autouse=True)
def toys_are_installed(monkeypatch):
    """Put the toys' folder, with its dist-info, on the path: to importlib.metadata they are installed then."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "packages" / "toys"))
    plugin_manager.cache_clear()
    yield
    plugin_manager.cache_clear()


# A name is enough for a complete test class.
class TestFlatSampler(PhaseSpaceSamplerTests):
    name = "toy-flat"


class TestCosineAmplitude(AmplitudeSurrogateTests):
    name = "toy-cosine"


class TestKeepAll(UnweighterTests):
    name = "toy-keep-all"


class TestEventLibrary(EventGeneratorTests):
    name = "toy-library"


class TestShowerLibrary(ShowerSurrogateTests):
    name = "toy-showers"


CORRECT = {
    test.__name__: test
    for test in (TestFlatSampler, TestCosineAmplitude, TestKeepAll, TestEventLibrary, TestShowerLibrary)
}


#: As registered.
CLAIMED = {
    "TestCosineAmplitude": frozenset({Capability.MEMBERS}),
    "TestEventLibrary": frozenset({Capability.NEGATIVE_WEIGHTS}),
    "TestShowerLibrary": frozenset({Capability.POLAR_LAYERS, Capability.RECTANGULAR_LAYERS}),
}


def kit_with(of: str, method: str, wrong: Callable[..., Any]) -> Any:
    """Make the kit's tests for a toy with one method replaced."""
    base = CORRECT[of]
    toy = type(base().make())
    right = getattr(toy, method)
    if method == "from_state":
        replaced: Any = classmethod(lambda cls, *arguments: wrong(right, *arguments))
    else:
        replaced = lambda self, *arguments: wrong(lambda *a: right(self, *a), *arguments)  # noqa: E731
    wrong_toy = type(f"Wrong{toy.__name__}", (toy,), {method: replaced})
    settings = base().make().settings
    content = {"make": lambda self: wrong_toy(settings), "name": None, "capabilities": CLAIMED.get(of, frozenset())}
    return type(f"Wrong{of}", (base,), content)()


def _drop_sign(right, candidates, rng):
    kept = right(candidates, rng)
    return Unweighted(kept.index, np.abs(kept.weight))


def _cut_overweights(right, candidates, rng):
    kept = right(candidates, rng)
    return Unweighted(kept.index, np.clip(kept.weight, -3.0, 3.0))


def _scaled(right, candidates, rng):
    kept = right(candidates, rng)
    return Unweighted(kept.index, kept.weight * 1.001)


def _trusting_the_surrogate(right, candidates, rng):
    return right(Candidates(candidates.weight), rng)


def _with_other_settings(right, settings):
    right(settings.model_copy(update={"width": settings.width + 1}))


def _changed_points(**changes):
    def wrong(right, n, rng):
        points = right(n, rng)
        values = {name: getattr(points, name) for name in ("x", "channel", "density")}
        return Points(**(values | {name: change(values[name]) for name, change in changes.items()}))

    return wrong


def _squeezed_points(right, n, rng):
    points = right(n, rng)
    return Points(points.x**1.1, points.channel, points.density)


def _in_order_of_the_channels(right, n, rng):
    points = right(n, rng)
    order = np.argsort(points.channel, kind="stable")
    return Points(points.x[order], points.channel[order], points.density[order])


def _never_the_first_channel(right, n, rng):
    points = right(n, rng)
    return Points(points.x, np.maximum(points.channel, 1), points.density)


def _weights_too_large_at_the_edges(right, features, prior):
    return right(features, prior) * (1 + 0.1 * features[:, :1] ** 2)


def _skipping_nan(right, integrand, budget, rng, progress=no_progress):
    def clean(x, channel):
        evaluated = integrand(x, channel)
        return Evaluated(np.nan_to_num(evaluated.value, nan=1.0), evaluated.prior, evaluated.features)

    clean.dimensions, clean.channels, clean.features = integrand.dimensions, integrand.channels, integrand.features
    return right(clean, budget, rng, progress)


def _global_randomness(right, *arguments):
    np.random.random()  # noqa: NPY002 - the mistake that the kit should find
    return right(*arguments)


def _changed_events(**changes):
    def wrong(right, n, rng):
        events = right(n, rng)
        columns = events.columns()
        for name, change in changes.items():
            columns[name] = change(columns[name].copy(), events)
        return EventBatch.from_columns(events.counts, columns, weight=events.weight)

    return wrong


def _set_first(index: int, value: float) -> Callable[..., Any]:
    """Change the particle `index` of the first event."""

    def change(column, events):
        if len(column):
            column[index] = value
        return column

    return change


def _train_writes(right, process, momenta, values, *others):
    report = right(process, momenta, values, *others)
    values /= values.max()
    return report


def _accepting_zero(right, process, momenta, values, *others):
    return right(process, momenta, np.where(values == 0, 1.0, values), *others)


def _accepting_few_points(right, process, momenta, values, *others):
    if len(momenta) == len(values) == 3:
        momenta, values = np.tile(momenta, (10, 1, 1)), np.tile(values, 10)
    return right(process, momenta, values, *others)


def _without_progress(right, integrand, budget, rng, progress=no_progress):
    return right(integrand, budget, rng, no_progress)


def _progress_too_far(right, integrand, budget, rng, progress=no_progress):
    progress(Progress(3, 2))
    return right(integrand, budget, rng, progress)


def _without_report(right, *arguments):
    right(*arguments)


def _report_with_nan(right, *arguments):
    right(*arguments)
    return TrainingReport(curves={"loss": [1.0, float("nan")]})


def _too_much_budget(right, integrand, budget, rng, progress=no_progress):
    return right(integrand, budget + 1, rng, progress)


def _batch_dependent(right, momenta):
    prediction = right(momenta)
    value = prediction.value - prediction.value.mean() if len(momenta) else prediction.value
    return Amplitude(value, prediction.systematic, prediction.statistical)


def _negative_deviation(right, momenta):
    prediction = right(momenta)
    return Amplitude(prediction.value, -prediction.systematic, prediction.statistical)


def _single_precision(right, momenta):
    prediction = right(momenta)
    return Amplitude(prediction.value.astype(np.float32), prediction.systematic, prediction.statistical)


def _order_dependent(right, momenta):
    prediction = right(momenta)
    value = prediction.value + 1e-3 * momenta[:, 2, 2]
    return Amplitude(value, prediction.systematic, prediction.statistical)


def _nothing_learned(right, momenta):
    prediction = right(momenta)
    return Amplitude(np.ones(len(momenta)), prediction.systematic, prediction.statistical)


def _one_member_missing(right, momenta):
    return right(momenta)[:, 1:]


def _members_alike(right, momenta):
    return np.repeat(right(momenta)[:, :1], 2, axis=1)


def _members_of_the_batch(right, momenta):
    columns = right(momenta)
    return columns * np.array([1.0, 1 + 1e-3 * len(columns)])


def _accepting_nan(right, momenta):
    return right(np.nan_to_num(momenta, nan=1.0))


def _obscure_error(right, momenta):
    if not np.all(np.isfinite(momenta)):
        raise KeyError("px")
    return right(momenta)


def _forgetful(right, settings, state):
    made = right(settings, state)
    made.arrays["line"] = made.arrays["line"] + 1e-12
    return made


def _accepting_any_state(right, settings, state):
    made = toys.CosineAmplitude(settings)
    made.arrays = dict(state)
    return made


def _negative_voxels(right, *arguments):
    batch = right(*arguments)
    return type(batch)(batch.incident_energy, batch.pdg_id, batch.direction, batch.voxels - 1, batch.geometry)


def _voxels_in_other_units(right, *arguments):
    batch = right(*arguments)
    return type(batch)(batch.incident_energy, batch.pdg_id, batch.direction, batch.voxels * 1000, batch.geometry)


def _taking_all_for_photons(right, pdg_id, energy, direction, rng):
    batch = right(np.full_like(pdg_id, 22), energy, direction, rng)
    return type(batch)(batch.incident_energy, pdg_id, batch.direction, batch.voxels, batch.geometry)


def _ignoring_the_generator(right, pdg_id, energy, direction, rng):
    return right(pdg_id, energy, direction, np.random.default_rng(1))


def _one_too_many(right, n, rng):
    return right(n + 1, rng)


# The toy, the method that is wrong in it, how, the test that has to fail, and the rule that it has to name.
WRONG = [
    ("TestKeepAll", "unweight", _drop_sign, "signs_are_kept", "keep the sign"),
    ("TestKeepAll", "unweight", _drop_sign, "unbiased", "weighted averages"),
    ("TestKeepAll", "unweight", _cut_overweights, "unbiased_with_overweights", "is the excess kept"),
    ("TestKeepAll", "unweight", _scaled, "cross_section_is_kept", "the cross section"),
    ("TestKeepAll", "unweight", _global_randomness, "global_random_state_is_untouched", "state of NumPy"),
    (
        "TestKeepAll",
        "unweight",
        lambda right, c, rng: right(Candidates(np.nan_to_num(c.weight)), rng),
        "unusable_weights_are_refused",
        "nan",
    ),
    ("TestKeepAll", "checked", lambda right, c: c.weight.ravel(), "wrong_shape_is_refused", "shape (4, 2)"),
    ("TestKeepAll", "unweight", _trusting_the_surrogate, "unbiased_with_surrogate_weights", "is exact_weight used"),
    ("TestKeepAll", "__init__", _with_other_settings, "made_with_its_settings", "the plugin has"),
    ("TestFlatSampler", "sample", _squeezed_points, "integrals_are_right", "integral of f"),
    ("TestFlatSampler", "sample", _changed_points(density=lambda d: 2 * d), "integrals_are_right", "integral of f"),
    ("TestFlatSampler", "sample", _changed_points(x=lambda x: x + 1), "points_have_the_right_shape", "hypercube"),
    ("TestFlatSampler", "sample", _changed_points(channel=lambda c: c + 1), "points_have_the_right_shape", "channel"),
    ("TestFlatSampler", "channel_weights", lambda right, f, p: right(f, p) / 2, "channel_weights_sum_to_one", "sum to"),
    (
        "TestFlatSampler",
        "channel_weights",
        _weights_too_large_at_the_edges,
        "weights_average_to_the_integral",
        "alpha f",
    ),
    ("TestFlatSampler", "sample", _in_order_of_the_channels, "any_part_of_a_sample_is_fair", "first ten"),
    ("TestFlatSampler", "sample", _never_the_first_channel, "channels_that_are_never_drawn_have_no_weight", "[0]"),
    ("TestFlatSampler", "train", _skipping_nan, "bad_input_is_refused", "training on NaN"),
    ("TestFlatSampler", "train", _without_progress, "progress_is_told", "has to be called"),
    ("TestFlatSampler", "train", _progress_too_far, "progress_is_told", "within 0 and its total"),
    ("TestFlatSampler", "train", _without_report, "training_report_can_be_kept", "TrainingReport"),
    ("TestFlatSampler", "train", _report_with_nan, "training_report_can_be_kept", "'loss' holds NaN"),
    ("TestFlatSampler", "train", _too_much_budget, "budget_is_kept", "10000 were allowed"),
    ("TestCosineAmplitude", "train", _train_writes, "inputs_are_not_changed", "must not be changed"),
    ("TestCosineAmplitude", "predict", _batch_dependent, "prediction_is_a_function_of_the_momenta", "other points"),
    ("TestCosineAmplitude", "predict", _negative_deviation, "prediction_has_the_right_shape", "not be negative"),
    ("TestCosineAmplitude", "predict", _single_precision, "prediction_has_the_right_shape", "float64"),
    ("TestCosineAmplitude", "train", _accepting_zero, "bad_training_data_are_refused", "value that is not positive"),
    ("TestCosineAmplitude", "train", _accepting_few_points, "bad_training_data_are_refused", "on three points"),
    ("TestCosineAmplitude", "predict", _order_dependent, "like_particles_in_any_order", "particles 3 and 4 are alike"),
    ("TestCosineAmplitude", "predict", _nothing_learned, "better_than_a_constant", "nothing was learned"),
    (
        "TestCosineAmplitude",
        "predict_members",
        _one_member_missing,
        "members_are_the_same_networks_in_every_call",
        "(30, 2) is expected",
    ),
    (
        "TestCosineAmplitude",
        "predict_members",
        _members_alike,
        "members_are_the_same_networks_in_every_call",
        "the members are all alike",
    ),
    (
        "TestCosineAmplitude",
        "predict_members",
        _members_of_the_batch,
        "members_are_the_same_networks_in_every_call",
        "the same network in every call",
    ),
    ("TestCosineAmplitude", "predict", _accepting_nan, "bad_momenta_are_refused", "it was accepted"),
    ("TestCosineAmplitude", "predict", _obscure_error, "bad_momenta_are_refused", "not KeyError"),
    ("TestCosineAmplitude", "from_state", _forgetful, "saved_and_loaded_gives_the_same_result", "'line' has other"),
    ("TestCosineAmplitude", "from_state", _accepting_any_state, "state_that_does_not_fit_is_refused", "ModelError"),
    ("TestShowerLibrary", "generate", _negative_voxels, "showers_have_the_right_shape", "not be negative"),
    ("TestShowerLibrary", "generate", _voxels_in_other_units, "energies_are_possible", "times are possible"),
    ("TestShowerLibrary", "generate", _taking_all_for_photons, "unknown_particles_are_refused", "it was accepted"),
    ("TestShowerLibrary", "generate", _ignoring_the_generator, "other_seed_gives_another_result", "ignored"),
    ("TestEventLibrary", "generate", _one_too_many, "exactly_n_events", "generate(0) made 1"),
    ("TestEventLibrary", "generate", _changed_events(px=_set_first(3, 1.0)), "events_are_valid", "conserved"),
    (
        "TestEventLibrary",
        "generate",
        _changed_events(generated_mass=_set_first(3, 5.0)),
        "events_are_valid",
        "E^2 - p^2",
    ),
    ("TestEventLibrary", "generate", _changed_events(px=_set_first(0, 1.0)), "events_are_valid", "along z"),
    ("TestEventLibrary", "generate", _changed_events(status=_set_first(0, 1)), "events_are_valid", "two incoming"),
    ("TestEventLibrary", "generate", _changed_events(mother1=_set_first(3, 9)), "events_are_valid", "mothers"),
    ("TestEventLibrary", "generate", _changed_events(mother1=_set_first(3, 0)), "events_are_valid", "have a mother"),
    ("TestEventLibrary", "generate", _changed_events(color1=_set_first(3, 501)), "events_are_valid", "leptons"),
    (
        "TestEventLibrary",
        "generate",
        _changed_events(color1=lambda c, e: np.where(c > 0, 505, 0)),
        "events_are_valid",
        "line",
    ),
    (
        "TestEventLibrary",
        "generate",
        _changed_events(pdg_id=_set_first(3, 15)),
        "particles_are_those_of_the_training",
        "(15, 1)",
    ),
]


@pytest.mark.parametrize(
    ("of", "method", "wrong", "test", "rule"),
    WRONG,
    ids=[f"{w[0][4:]}-{w[2].__name__}-{w[3]}-{i}" for i, w in enumerate(WRONG)],
)
def test_a_wrong_plugin_fails_with_the_rule_it_breaks(of, method, wrong, test, rule):
    getattr(CORRECT[of](), f"test_{test}")()  # the right version passes
    kit = kit_with(of, method, wrong)
    with pytest.raises(AssertionError) as failure:
        getattr(kit, f"test_{test}")()
    assert rule in str(failure.value)


def test_wrong_signs_are_not_blamed_on_a_surrogate():
    kit = kit_with("TestKeepAll", "unweight", _drop_sign)
    with pytest.raises(
        unittest.SkipTest, match="cannot be checked: with a surrogate's weights that are numbers, signs"
    ):
        kit.test_surrogate_weights_that_are_no_numbers()


def test_a_plugin_that_is_not_registered_under_its_name_is_noticed():
    kit = kit_with("TestKeepAll", "unweight", _scaled)
    type(kit).name = "toy-keep-all"
    with pytest.raises(AssertionError, match="registered with KeepAll, not WrongKeepAll"):
        kit.test_registered_under_its_name()


def test_the_kit_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; import mlgen.testing"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_have_to_be_known():
    kit = kit_with("TestKeepAll", "unweight", _scaled)
    type(kit).make = lambda self: object()
    with pytest.raises(AssertionError, match="has to keep the settings"):
        kit.settings()


class TestDrellYanSample:
    """The sample events against closed forms."""

    def test_they_obey_the_rules(self):
        events, run_info = drell_yan_events(2000, np.random.default_rng(1))
        check_events(events, run_info)

    @pytest.mark.parametrize(("fraction", "count"), [(0.0, 5), (1.0, 6)])
    def test_gluon_fraction(self, fraction, count):
        events, _ = drell_yan_events(50, np.random.default_rng(1), fraction)
        assert set(events.counts.tolist()) == {count}

    def test_transverse_momentum_of_the_boson_is_that_of_the_gluon(self):
        events, _ = drell_yan_events(100, np.random.default_rng(1), 1.0)
        momenta = events.momenta().reshape(100, 6, 4)
        np.testing.assert_allclose(momenta[:, 2, :2], -momenta[:, 5, :2], atol=1e-9)

    def test_leptons_have_the_mass_of_the_boson(self):
        events, _ = drell_yan_events(100, np.random.default_rng(1), 0.0)
        momenta = events.momenta().reshape(100, 5, 4)
        pair = momenta[:, 3] + momenta[:, 4]
        mass = np.sqrt(pair[:, 3] ** 2 - np.sum(pair[:, :3] ** 2, axis=1))
        assert np.all((mass > 59.9) & (mass < 120.1))
        np.testing.assert_allclose(mass, events.column("generated_mass").reshape(100, 5)[:, 2], rtol=1e-6)

    def test_a_beam_too_weak_is_noticed(self):
        events, run_info = drell_yan_events(100, np.random.default_rng(1))
        weak = run_info.replace(beams=(Beam(2212, 10.0), Beam(2212, 10.0)))
        with pytest.raises(AssertionError, match="momentum fraction x"):
            check_events(events, weak)
