"""Momenta and amplitudes of a training: what is allowed, and what an error says of what is not."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen import open_events
from mlgen.amplitudes.checks import FEWEST_POINTS, KinematicsError, check_momenta, check_training
from mlgen.errors import TrainingError, UserError
from mlgen.stages import AmplitudeProcess, FloatArray

POINTS = 5000
PROCESS = AmplitudeProcess((2, 5, 24, 6), (0.0, 4.7, 80.4, 173.0))


def scattered(n: int = POINTS) -> FloatArray:
    """Points of `PROCESS`, boosted along z: ``(n, 4, 4)``."""
    rng = np.random.default_rng(70)
    first, second, third, fourth = PROCESS.masses
    s = rng.uniform(300.0, 3000.0, n) ** 2
    momenta = np.zeros((n, 4, 4))
    cosine, azimuth = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    out = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)
    for slot, one, other, direction in (
        (0, first, second, np.array([0.0, 0.0, 1.0])),
        (1, second, first, np.array([0.0, 0.0, -1.0])),
        (2, third, fourth, out),
        (3, fourth, third, -out),
    ):
        energy = (s + one**2 - other**2) / (2 * np.sqrt(s))
        momenta[:, slot, :3] = np.sqrt(energy**2 - one**2)[:, None] * direction
        momenta[:, slot, 3] = energy
    rapidity = rng.normal(size=n)[:, None]
    pz, energy = momenta[:, :, 2].copy(), momenta[:, :, 3].copy()
    momenta[:, :, 2] = np.cosh(rapidity) * pz + np.sinh(rapidity) * energy
    momenta[:, :, 3] = np.cosh(rapidity) * energy + np.sinh(rapidity) * pz
    return momenta


@pytest.fixture
def momenta() -> FloatArray:
    return scattered()


def refused(momenta: object, process: AmplitudeProcess = PROCESS) -> str:
    with pytest.raises(KinematicsError) as caught:
        check_momenta(momenta, process)
    return str(caught.value)


# What is allowed


def test_good_momenta_come_back_as_they_are(momenta):
    assert check_momenta(momenta, PROCESS) is momenta
    assert issubclass(KinematicsError, UserError)


@pytest.mark.parametrize("change", [np.asfortranarray, lambda m: np.repeat(m, 2, axis=0)[::2], np.ndarray.tolist])
def test_other_arrays_become_doubles_in_c_order(momenta, change):
    checked = check_momenta(change(momenta), PROCESS)
    assert checked.dtype == np.float64
    assert checked.flags.c_contiguous
    assert np.array_equal(checked, momenta)


def test_single_precision_is_enough(momenta):
    assert check_momenta(momenta.astype(np.float32), PROCESS).dtype == np.float64


def test_no_points_are_no_mistake(momenta):
    assert check_momenta(momenta[:0], PROCESS).shape == (0, 4, 4)


def test_momenta_are_not_changed(momenta):
    momenta.flags.writeable = False
    check_momenta(momenta, PROCESS)


def test_rounding_of_event_files_is_allowed(shared_data):
    """Eleven digits, as MadGraph writes them."""
    with open_events(shared_data / "lhe" / "madgraph-3.7.1-gg_ttg.lhe.gz") as events:
        batch = next(iter(events))
    momenta = batch.momenta().reshape(-1, 5, 4)
    check_momenta(momenta, AmplitudeProcess((21, 21, 6, -6, 21), (0.0, 0.0, 173.0, 173.0, 0.0)))


@pytest.mark.parametrize("reference", ["gg_ttg", "gg_ttgg"])
def test_reference_points_are_allowed(shared_data, reference):
    with np.load(shared_data / "matrix_elements" / f"{reference}_me_reference.npz") as arrays:
        ids, momenta = tuple(arrays["pdg"].tolist()), np.roll(arrays["p"], -1, axis=2)
    check_momenta(momenta, AmplitudeProcess(ids, tuple(173.0 if abs(i) == 6 else 0.0 for i in ids)))


# Shapes


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda m: m[:, 2:], "the two incoming particles count among the 4"),
        (lambda m: m[:, :3], "there are 3 particles instead of 4"),
        (lambda m: m[:, :, :3], "three-momenta are not enough"),
        (lambda m: m[0], "a single point needs an axis"),
        (lambda m: m.reshape(-1, 16), "(points, 4, 4)"),
    ],
)
def test_wrong_shapes(momenta, wrong, hint):
    message = refused(wrong(momenta))
    assert hint in message
    assert str(wrong(momenta).shape) in message
    assert "2 5 24 6" in message


@pytest.mark.parametrize("wrong", ["momenta", [[1.0], [2.0, 3.0]], np.zeros((3, 4, 4), dtype=complex), None])
def test_what_is_no_array_of_numbers(wrong):
    assert "real numbers" in refused(wrong)


# What is not allowed: points 18, 3,001 and 5,000 are broken, in the first and in later batches


BROKEN = [17, 3000, POINTS - 1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("component", range(4))
@pytest.mark.parametrize("slot", range(4))
def test_not_finite(momenta, value, component, slot):
    momenta[BROKEN, slot, component] = value
    message = refused(momenta)
    for part in ("point 18:", f"particle {slot + 1}", "not finite", "3 of 5,000"):
        assert part in message


@pytest.mark.parametrize("slot", range(4))
def test_energy_not_positive(momenta, slot):
    momenta[BROKEN, slot] *= -1
    message = refused(momenta)
    for part in ("point 18:", f"particle {slot + 1} (PDG id {PROCESS.pdg_ids[slot]})", "positive", "3 of 5,000"):
        assert part in message


@pytest.mark.parametrize("component", range(4))
def test_momentum_not_conserved(momenta, component):
    total = momenta[:, :2, 3].sum(axis=1)
    # A millionth is allowed; particle 4 stays on its shell within what is allowed there.
    momenta[BROKEN, 3, component] += 3e-6 * total[BROKEN]
    message = refused(momenta)
    for part in ("point 18:", "four-momentum is not conserved", "3 of 5,000"):
        assert part in message


def test_imbalance_below_the_tolerance_is_allowed(momenta):
    momenta[:, 0, 0] += 0.5e-6 * momenta[:, :2, 3].sum(axis=1)
    check_momenta(momenta, PROCESS)


def test_off_shell(momenta):
    """The top quark 1 GeV heavier than expected, in three points."""
    other = AmplitudeProcess(PROCESS.pdg_ids, (0.0, 4.7, 80.4, 172.0))
    assert "4 (PDG id 6)" in refused(momenta, other)
    rest = momenta[BROKEN, 2] + momenta[BROKEN, 3]
    mass = np.sqrt(rest[:, 3] ** 2 - np.sum(rest[:, :3] ** 2, axis=1))
    # A W and a top quark that both move with their pair have other masses, but the same sum of momenta.
    momenta[BROKEN, 2], momenta[BROKEN, 3] = 0.3 * rest, 0.7 * rest
    message = refused(momenta)
    for part in ("point 18:", "3 of 5,000", "is expected"):
        assert part in message
    assert any(f"the mass {share * mass[0]:.6g} GeV" in message for share in (0.3, 0.7))


def test_tolerance_of_the_mass_shell(momenta):
    """The squared mass may be off by a millionth of the squared energy: fast particles pass where slow ones do not."""
    squared_energy = momenta[:, 3, 3] ** 2
    shift = 1e-6 * float(np.quantile(squared_energy, 0.3))
    slow = squared_energy < 1e6 * shift
    wrong = AmplitudeProcess(PROCESS.pdg_ids, (0.0, 4.7, 80.4, float(np.sqrt(173.0**2 + shift))))
    message = refused(momenta, wrong)
    assert f"point {int(np.argmax(slow)) + 1}:" in message
    assert f"{np.count_nonzero(slow):,} of 5,000" in message
    check_momenta(momenta[~slow], wrong)


# Orders


def test_components_in_another_order(momenta):
    assert "(energy, px, py, pz)" in refused(np.roll(momenta, 1, axis=2))


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (1, 0, 2, 3), (1, 0, 3, 2)])
def test_particles_in_another_order(momenta, order):
    message = refused(momenta[:, order])
    assert "fit in another order" in message
    assert "2 5 24 6" in message


def test_incoming_particles_at_the_end(momenta):
    message = refused(momenta[:, [2, 3, 0, 1]])
    # The sum over two and the sum over the other two are the same but for their sign.
    assert "conserved" not in message
    assert "fit in another order" in message


def test_incoming_particles_elsewhere():
    """q g > q' W* with the W's decay: which two come in is seen from the balance."""
    momenta = scattered(200)
    # The W becomes two massless particles along its rest frame's x axis.
    boson = momenta[:, 2]
    mass = PROCESS.masses[2]
    decay = np.zeros((200, 2, 4))
    decay[:, 0], decay[:, 1] = _split(boson, mass, +1), _split(boson, mass, -1)
    five = np.concatenate([momenta[:, :2], decay, momenta[:, 3:]], axis=1)
    process = AmplitudeProcess((2, 5, 12, -11, 6), (0.0, 4.7, 0.0, 0.0, 173.0))
    check_momenta(five, process)
    message = refused(five[:, [2, 3, 4, 0, 1]], process)
    assert "with particles 4 and 5 incoming" in message
    assert "2 5 12 -11 6" in message


def _split(boson: FloatArray, mass: float, sign: int) -> FloatArray:
    """Half of the boson and, across it, a spacelike vector of half its mass: lightlike together."""
    across = np.cross(boson[:, :3], [0.0, 0.0, 1.0])
    half = 0.5 * boson.copy()
    half[:, :3] += sign * 0.5 * mass * across / np.linalg.norm(across, axis=1)[:, None]
    return half


def test_one_broken_point_is_no_other_order(momenta):
    momenta[5] = momenta[5, [0, 1, 3, 2]]
    message = refused(momenta)
    assert "point 6:" in message
    assert "1 of 5,000" in message
    # That point alone is in another order, and in that order the others would be wrong.
    assert "fit in another order" not in message


# Trainings


def test_good_training_points(momenta):
    check_training(momenta[:FEWEST_POINTS], np.ones(FEWEST_POINTS), PROCESS)


def test_too_few_points(momenta):
    with pytest.raises(TrainingError, match="99 training points; 100 at least"):
        check_training(momenta[:99], np.ones(99), PROCESS)


def test_bad_momenta_of_a_training(momenta):
    momenta[2, 1, 1] = np.nan
    with pytest.raises(KinematicsError, match="training momenta: point 3:"):
        check_training(momenta, np.ones(len(momenta)), PROCESS)


@pytest.mark.parametrize(
    ("value", "wanted"), [(np.nan, "finite"), (np.inf, "finite"), (0.0, "positive"), (-2.0, "positive")]
)
def test_bad_values(momenta, value, wanted):
    values = np.ones(len(momenta))
    values[BROKEN] = value
    with pytest.raises(TrainingError, match=rf"point 18 is .*{wanted} \(so in 3 of 5,000"):
        check_training(momenta, values, PROCESS)


@pytest.mark.parametrize("shape", [(POINTS - 1,), (POINTS, 1), ()])
def test_one_value_for_each_point(momenta, shape):
    with pytest.raises(TrainingError, match=r"\(5000,\) is expected"):
        check_training(momenta, np.ones(shape), PROCESS)


def test_values_are_real(momenta):
    with pytest.raises(TrainingError, match="complex128"):
        check_training(momenta, np.ones(POINTS, dtype=complex), PROCESS)
