"""The `caloflow` surrogate: conformance, exact sums, physics of known showers, repeatability and errors."""

import dataclasses

import numpy as np
import pytest

from mlgen.errors import InputError, ModelError, PluginError, TrainingError
from mlgen.showers import Geometry, PolarLayer, RectangularLayer, ShowerBatch
from mlgen.testing import ShowerSurrogateTests
from mlgen.testing.samples import showers
from mlgen_caloflow.settings import CaloFlowSettings
from mlgen_caloflow.surrogate import CaloFlow

TINY = CaloFlowSettings(
    passes=1,
    student_passes=1,
    layer_passes=1,
    fewest_steps=8,
    width=8,
    depth=1,
    groups=2,
    bins=4,
    student_steps=2,
    student_width=16,
    precision="single",
)
QUICK = TINY.model_copy(
    update={"passes": 35.0, "student_passes": 35.0, "layer_passes": 25.0, "batch_size": 250, "learning_rate": 2e-2}
)
#: The kit wants two kinds of particles told apart by their layers.
FOR_THE_KIT = TINY.model_copy(update={"layer_passes": 8.0, "learning_rate": 2e-2})
GEOMETRY = Geometry(
    "e+", (RectangularLayer(0, (-2.0, -1.0, 0.0, 1.0, 2.0), (-1.0, 1.0)), PolarLayer(1, (0.0, 5.0, 10.0), 1))
)


class TestConformance(ShowerSurrogateTests[CaloFlow]):
    name = "caloflow"
    training_showers = 300

    def make(self):
        return CaloFlow(FOR_THE_KIT)


class TestConformanceOfTheTeacher(ShowerSurrogateTests[CaloFlow]):
    name = "caloflow"
    training_showers = 300

    def make(self):
        return CaloFlow(FOR_THE_KIT.model_copy(update={"sampler": "teacher", "student_passes": 0.0}))


def known_showers(n, rng, pdg_id=-11):
    """Showers with known distributions: 90 % deposited; a quarter of them miss the last layer; an empty voxel has full
    neighbours.

    In the first layer, the voxel 0 is empty with a probability of 0.4; then voxel 3 has all of what else would be in
    it. Voxels 1 and 2 share the rest evenly within 10 %.
    """
    energy = np.exp(rng.uniform(np.log(1e3), np.log(1e5), n))
    total = energy * np.clip(rng.normal(0.9, 0.01, n), 0.0, 1.0)
    last = np.where(rng.random(n) < 0.25, 0.0, rng.uniform(0.1, 0.2, n))
    first = total * (1 - last)
    empty = rng.random(n) < 0.4
    outer = first * rng.uniform(0.2, 0.4, n)
    split = rng.uniform(0.45, 0.55, n)
    inner = first - outer
    core = rng.uniform(0.6, 0.8, n)
    left = np.where(empty, 0.0, 0.5 * outer)
    voxels = np.stack(
        [left, inner * split, inner * (1 - split), outer - left, total * last * core, total * last * (1 - core)], axis=1
    )
    return ShowerBatch(energy, np.full(n, pdg_id), np.tile([0.0, 0.0, 1.0], (n, 1)), voxels, GEOMETRY)


@pytest.fixture(scope="module")
def trained():
    surrogate = CaloFlow(QUICK)
    report = surrogate.train([known_showers(2000, np.random.default_rng(1))], np.random.default_rng(2))
    return surrogate, report


@pytest.fixture(scope="module", params=["student", "teacher"])
def generated(request, trained):
    surrogate, _ = trained
    settings = surrogate.settings.model_copy(update={"sampler": request.param})
    energy = known_showers(4000, np.random.default_rng(3)).incident_energy
    loaded = CaloFlow.from_state(settings, surrogate.state())
    return loaded.generate(np.full(4000, -11), energy, np.tile([0.0, 0.0, 1.0], (4000, 1)), np.random.default_rng(4))


@pytest.mark.physics
def test_known_showers_are_learned(generated):
    """Frequencies of empty voxels and layers, the correlation that empties one and fills another, shares and response;
    tolerances are five standard errors of the 2,000 training showers, or half a width: the training is short."""
    first, last = generated.voxels[:, :4], generated.voxels[:, 4:]
    total = generated.voxels.sum(axis=1)
    assert np.mean(last.sum(axis=1) == 0) == pytest.approx(0.25, abs=0.04)
    # The mirror image in x is believed only where the sample has it; this one has not.
    empty = first[:, 0] == 0
    assert empty.mean() == pytest.approx(0.4, abs=0.045)
    assert np.mean(first[:, 3] == 0) < 0.01
    reached = first.sum(axis=1) > 0
    assert reached.mean() > 0.995
    first, empty, last = first[reached], empty[reached], last[reached]
    outer = (first[:, 0] + first[:, 3]) / first.sum(axis=1)
    assert outer.mean() == pytest.approx(0.3, abs=0.02)
    ratio = first[~empty, 0] / np.maximum(first[~empty, 3], TINY.threshold)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)
    split = first[:, 1] / np.maximum(first[:, 1] + first[:, 2], TINY.threshold)
    assert split.mean() == pytest.approx(0.5, abs=0.015)
    assert np.subtract(*np.quantile(split, [0.84, 0.16])) == pytest.approx(0.068, rel=0.3)
    response = total / generated.incident_energy
    assert response.mean() == pytest.approx(0.9, abs=0.003)
    assert np.subtract(*np.quantile(response, [0.84, 0.16])) == pytest.approx(0.02, rel=0.3)


def test_no_shower_has_more_than_the_particle_brings(generated):
    """A positron brings its kinetic energy and the rest energies that its annihilation sets free."""
    assert np.all(generated.voxels.sum(axis=1) <= generated.incident_energy + 2 * 0.511)


def test_no_voxel_is_below_the_threshold(generated):
    """What is there is at least the threshold, up to rounding."""
    there = generated.voxels[generated.voxels > 0]
    assert there.min() >= TINY.threshold * (1 - 1e-9)


def test_mirrored_showers_are_used_where_the_sample_has_them(trained):
    """The known showers are symmetric in y, but not in x: what x mirrors is refused, with a remark."""
    _, report = trained
    assert report.figures["images"] == 1
    assert any("symmetries" in remark for remark in report.remarks)
    surrogate = CaloFlow(TINY)
    symmetric = known_showers(600, np.random.default_rng(1))
    turned = symmetric.voxels[:, [3, 2, 1, 0, 4, 5]]
    half = np.random.default_rng(0).random(600) < 0.5
    voxels = np.where(half[:, None], turned, symmetric.voxels)
    report = surrogate.train([dataclasses.replace(symmetric, voxels=voxels)], np.random.default_rng(2))
    assert report.figures["images"] == 2
    assert not report.remarks


def test_kinds_of_particles_are_told_apart():
    """Electrons that lose half of their energy, and photons that do not, are each learned."""
    batch = known_showers(1500, np.random.default_rng(1))
    electrons = np.arange(1500) % 2 == 0
    voxels = np.where(electrons[:, None], 0.5 * batch.voxels, batch.voxels)
    sample = dataclasses.replace(batch, voxels=voxels, pdg_id=np.where(electrons, 11, 22))
    surrogate = CaloFlow(TINY.model_copy(update={"layer_passes": 20.0, "batch_size": 200, "learning_rate": 2e-2}))
    surrogate.train([sample[:700], sample[700:]], np.random.default_rng(2))
    assert set(surrogate.energy_ranges) == {11, 22}
    for pdg_id, response in ((11, 0.45), (22, 0.9)):
        made = surrogate.generate(
            np.full(500, pdg_id), sample.incident_energy[:500], sample.direction[:500], np.random.default_rng(3)
        )
        assert np.mean(made.voxels.sum(axis=1) / made.incident_energy) == pytest.approx(response, abs=0.05)


def test_calibrated_showers_may_have_more_than_the_incident_energy():
    """The CaloChallenge's deposits are calibrated; what the training exceeds is the limit then."""
    batch = known_showers(300, np.random.default_rng(1))
    surrogate = CaloFlow(TINY)
    surrogate.train([dataclasses.replace(batch, voxels=1.2 * batch.voxels)], np.random.default_rng(2))
    made = surrogate.generate(batch.pdg_id, batch.incident_energy, batch.direction, np.random.default_rng(3))
    highest = (1.2 * batch.voxels.sum(axis=1) / batch.incident_energy).max()
    assert np.all(made.voxels.sum(axis=1) <= 1.0011 * highest * made.incident_energy)


def test_rounding_does_not_raise_the_limit():
    """A shower that deposits all of it, and more by the rounding of single precision, is no calibrated one."""
    batch = known_showers(300, np.random.default_rng(1))
    voxels = batch.voxels.copy()
    voxels[0] *= (batch.incident_energy[0] + 2 * 0.51099895) * (1 + 3e-7) / voxels[0].sum()
    surrogate = CaloFlow(TINY)
    surrogate.train([dataclasses.replace(batch, voxels=voxels)], np.random.default_rng(2))
    made = surrogate.generate(batch.pdg_id, batch.incident_energy, batch.direction, np.random.default_rng(3))
    assert np.all(made.voxels.sum(axis=1) <= batch.incident_energy + 2 * 0.511)


def test_larger_samples_are_drawn_from():
    """Of more showers than are allowed, each has the same chance; the remark says so."""
    batch = known_showers(900, np.random.default_rng(1))
    surrogate = CaloFlow(TINY.model_copy(update={"training_showers": 100}))
    report = surrogate.train([batch[:450], batch[450:]], np.random.default_rng(2))
    assert report.figures["training_showers"] + report.figures["held_out_showers"] == 100
    assert report.remarks[-1] == "100 of 900 showers were learned from"


def test_calorimeters_are_not_mixed():
    batch = known_showers(100, np.random.default_rng(1))
    other = showers(100, np.random.default_rng(2))
    with pytest.raises(TrainingError, match=r"different calorimeters: of 6 voxels in 2 layers, and of 12 in 2"):
        CaloFlow(TINY).train([batch, other], np.random.default_rng(2))


def test_too_few_showers():
    with pytest.raises(TrainingError, match="there are 20 training showers; at least 50 are needed"):
        CaloFlow(TINY).train([known_showers(20, np.random.default_rng(1))], np.random.default_rng(2))


def test_untrained():
    with pytest.raises(PluginError, match="not trained yet"):
        CaloFlow(TINY).state()


def test_unknown_particles_are_named(trained):
    surrogate, _ = trained
    with pytest.raises(InputError, match=r"PDG id 211 was not learned; learned were: -11"):
        surrogate.generate(np.array([211]), np.array([1e4]), np.array([[0.0, 0.0, 1.0]]), np.random.default_rng(1))


def test_a_model_without_student_cannot_be_used_with_one():
    surrogate = CaloFlow(TINY.model_copy(update={"sampler": "teacher", "student_passes": 0.0}))
    surrogate.train([known_showers(100, np.random.default_rng(1))], np.random.default_rng(2))
    with pytest.raises(ModelError, match="no student"):
        CaloFlow.from_state(TINY, surrogate.state())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 30, "groups": 4}, "width 30 is no multiple of groups 4"),
        ({"student_passes": 0}, "there is no student"),
    ],
)
def test_settings_that_do_not_go_together(settings, said):
    with pytest.raises(ValueError, match=said):
        CaloFlowSettings(**settings)


def test_half_precision_halves_the_model_and_changes_nothing_else(trained):
    """A model in half precision is rounded when it is trained: loaded, it makes the same showers; and it is about half
    as large."""
    surrogate, _ = trained
    batch = known_showers(300, np.random.default_rng(1))
    half = CaloFlow(TINY.model_copy(update={"stored": "half"}))
    half.train([batch], np.random.default_rng(2))
    again = CaloFlow.from_state(half.settings, half.state())
    made = [
        one.generate(batch.pdg_id, batch.incident_energy, batch.direction, np.random.default_rng(3)).voxels
        for one in (half, again)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    sizes = [sum(array.nbytes for array in one.state().values()) for one in (half, surrogate)]
    assert sizes[0] < 0.6 * sizes[1]


def test_weights_that_are_never_used_are_not_kept(trained):
    """Of the mixing of six voxels by two groups, a triangle is stored."""
    surrogate, _ = trained
    state = surrogate.state()
    assert state["network.teacher.network.first.weight"].shape == (2, 1, 15)
    assert state["network.teacher.network.blocks.0.mixing.weight"].shape == (2, 1, 21)


def test_arrays_that_do_not_fit_are_named(trained):
    surrogate, _ = trained
    state = dict(surrogate.state())
    with pytest.raises(ModelError, match=r"'teacher\.network\.bias' of the model is missing"):
        CaloFlow.from_state(QUICK, {k: v for k, v in state.items() if k != "network.teacher.network.bias"})
    state["network.teacher.network.bias"] = state["network.teacher.network.bias"][:, :, :3]
    with pytest.raises(ModelError, match=r"has the shape \(6, 1, 3\); \(6, 1, 16\) is expected"):
        CaloFlow.from_state(QUICK, state)
