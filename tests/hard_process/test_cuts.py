import math

import numpy as np
import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process.cuts import Cut, CutMasks, PhaseSpaceLimits, common_cuts, resolve_cuts
from mlgen.hard_process.maps import madspace_context
from mlgen.hard_process.particles import resolve_labels
from mlgen.hard_process.settings import CutSettings
from mlgen.hard_process.subprocess import Subprocess

LABELS = resolve_labels({})
TWO_JETS = [Subprocess((2, -2), (-13, 13, 21, 21)), Subprocess((21, 2), (-13, 13, 21, 2))]


def settings(cuts):
    return CutSettings.model_validate(cuts)


def test_a_label_cuts_on_everything_that_it_holds():
    cuts = resolve_cuts(settings({"pt": {"j": 20.0, "mu+": (25.0, 500.0)}, "delta_r": {"j j": 0.4}}), TWO_JETS, LABELS)
    assert cuts[0] == {
        Cut("pt", (2,), 20.0),
        Cut("pt", (3,), 20.0),
        Cut("pt", (0,), 25.0, 500.0),
        Cut("delta_r", (2, 3), 0.4),
    }
    assert cuts[1] == cuts[0]


def test_a_lone_number_is_a_maximum_of_rapidities_and_a_minimum_of_the_rest():
    cuts = resolve_cuts(
        settings({"eta": {"j": 5.0}, "rapidity": {"j": (0.1, 2.0)}, "mass": {"mu+ mu-": 50.0, "mu+ mu- j": 90.0}}),
        [Subprocess((2, -2), (-13, 13, 21))],
        LABELS,
    )
    assert cuts[0] == {
        Cut("eta", (2,), 0.0, 5.0),
        Cut("rapidity", (2,), 0.1, 2.0),
        Cut("mass", (0, 1), 50.0),
        Cut("mass", (0, 1, 2), 90.0),
    }


def test_a_particle_that_only_some_subprocesses_have_is_cut_on_there():
    cuts = resolve_cuts(settings({"pt": {"g": 30.0, "j": 20.0}}), TWO_JETS, LABELS)
    assert cuts[0] == {Cut("pt", (2,), 30.0), Cut("pt", (3,), 30.0)}
    assert cuts[1] == {Cut("pt", (2,), 30.0), Cut("pt", (3,), 20.0)}
    # The maps may use what holds in all of them.
    assert common_cuts(cuts) == {Cut("pt", (2,), 30.0), Cut("pt", (3,), 20.0)}


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ({"pt": {"b": 20.0}}, "pt of 'b': no subprocess has an outgoing 'b'.*mu\\+ mu- g g goes out"),
        ({"delta_r": {"mu+ mu+": 0.4}}, "outgoing particles 'mu\\+ mu\\+' at a time"),
        ({"pt": {"jet": 20.0}}, "no particle or label is called 'jet'"),
        ({"pt": {"j": 30.0, "g": (0.0, 20.0)}}, "pt of 'g' and cuts: pt of 'j' leave no phase space"),
    ],
)
def test_cuts_that_make_no_sense(cuts, message):
    with pytest.raises(ProcessError, match=message):
        resolve_cuts(settings(cuts), TWO_JETS, LABELS)


def random_events(n, outgoing):
    rng = np.random.default_rng(4)
    momenta = np.zeros((n, outgoing + 2, 4))
    momenta[:, 2:, 1:] = rng.normal(0, 40, (n, outgoing, 3))
    momenta[:, 2:, 0] = np.sqrt((momenta[:, 2:, 1:] ** 2).sum(axis=-1) + rng.uniform(0, 30, (n, outgoing)) ** 2)
    momenta[:, 0, [0, 3]] = momenta[:, 1, 0:1] = 0.5 * momenta[:, 2:, 0].sum(axis=1, keepdims=True)
    momenta[:, 1, 3] = -momenta[:, 1, 0]
    return momenta


@pytest.mark.physics
def test_masks_are_what_the_observables_say():
    # The observables by `vector`, which knows nothing of madspace.
    import vector

    momenta = random_events(5000, 3)
    cuts = [
        frozenset([Cut("pt", (0,), 20.0, 80.0), Cut("eta", (1,), 0.0, 2.0)]),
        frozenset([Cut("rapidity", (2,), 0.5, 1.5), Cut("delta_r", (0, 2), 1.0)]),
        frozenset([Cut("mass", (0, 1), 50.0, 150.0), Cut("mass", (0, 1, 2), 100.0)]),
        frozenset(),
    ]
    masks = CutMasks([*cuts, cuts[0]], 3, madspace_context(1))
    kept = masks(momenta)
    assert masks.of_subprocess == (0, 1, 2, 3, 0)
    p = [
        vector.array({"E": momenta[:, i, 0], "px": momenta[:, i, 1], "py": momenta[:, i, 2], "pz": momenta[:, i, 3]})
        for i in (2, 3, 4)
    ]
    expected = [
        (p[0].pt > 20) & (p[0].pt < 80) & (np.abs(p[1].eta) < 2),
        (np.abs(p[2].rapidity) > 0.5) & (np.abs(p[2].rapidity) < 1.5) & (p[0].deltaR(p[2]) > 1),
        ((p[0] + p[1]).mass > 50) & ((p[0] + p[1]).mass < 150) & ((p[0] + p[1] + p[2]).mass > 100),
        np.ones(5000, bool),
    ]
    for column, mask in enumerate(expected):
        assert 0.02 < mask.mean() <= 1
        np.testing.assert_array_equal(kept[:, column], mask)


@pytest.mark.physics
def test_limits_hold_for_all_events_inside_the_cuts():
    cuts = frozenset(
        [Cut("pt", (0,), 30.0), Cut("pt", (1,), 40.0), Cut("delta_r", (0, 1), 0.8), Cut("mass", (1, 2), 70.0)]
    )
    rng = np.random.default_rng(6)
    n = 200_000
    momenta = np.zeros((n, 5, 4))
    pt, eta, phi = 20 + rng.exponential(20, (2, n)), rng.uniform(-1, 1, (3, n)), rng.uniform(-1, 1, (2, n))
    momenta[:, 2:4, 1:3] = np.stack([pt * np.cos(phi), pt * np.sin(phi)]).transpose(2, 1, 0)
    # Transverse momenta balance, as those of partons along the beam do.
    momenta[:, 4, 1:3] = -momenta[:, 2:4, 1:3].sum(axis=1)
    momenta[:, 2:, 3] = np.hypot(momenta[:, 2:, 1], momenta[:, 2:, 2]) * np.sinh(eta.T)
    momenta[:, 2:, 0] = np.sqrt((momenta[:, 2:, 1:] ** 2).sum(axis=-1))
    kept = momenta[CutMasks([cuts], 3, madspace_context(1))(momenta)[:, 0]]
    assert len(kept) > 10_000

    def mass(slots):
        total = sum(kept[:, slot + 2] for slot in slots)
        return np.sqrt(np.maximum(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1), 0))

    limits = PhaseSpaceLimits(cuts, (0.0, 0.0, 0.0))
    for slots in ({0, 1}, {1, 2}, {0, 2}, {0, 1, 2}):
        assert mass(slots).min() >= limits.minimum_mass(frozenset(slots)) - 1e-9
    # Two massless jets at delta R apart have the least mass at the same pseudorapidity.
    assert limits.minimum_mass(frozenset({0, 1})) == pytest.approx(math.sqrt(2 * 30 * 40 * (1 - math.cos(0.8))))
    assert limits.minimum_mass(frozenset({0, 2})) == 0
    assert mass({0, 1, 2}).min() >= limits.minimum_energy() - 1e-9
    assert limits.minimum_energy() == pytest.approx(70 + 30)


def test_limits_of_massive_particles():
    cuts = frozenset([Cut("pt", (2,), 20.0), Cut("delta_r", (0, 2), 0.4), Cut("mass", (0, 1), 400.0, 500.0)])
    limits = PhaseSpaceLimits(cuts, (173.0, 173.0, 0.0))
    assert limits.minimum_mass(frozenset({0, 1})) == 400
    assert limits.minimum_mass(frozenset({0, 2})) == 173
    assert limits.minimum_energy() == 420
    assert limits.maximum_mass(frozenset({0, 1})) == 500
    assert limits.maximum_mass(frozenset({0, 1, 2})) == math.inf
