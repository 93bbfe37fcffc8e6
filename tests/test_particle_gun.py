"""The particle gun: energies, directions and seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from mlgen.particle_gun import ParticleGun, ParticleGunSettings


def gun(**settings) -> ParticleGun:
    made = ParticleGunSettings(particle=settings.pop("particle", "e+"), **settings)
    return ParticleGun(made, made.energies)


def test_a_particle_depends_on_its_number_and_the_seed_alone():
    whole, part = gun().particles(0, 50, seed=3), gun().particles(20, 30, seed=3)
    assert np.array_equal(whole.incident_energy[20:30], part.incident_energy)
    assert np.array_equal(whole.seeds[20:30], part.seeds)
    assert len(set(whole.seeds.tolist()) | set(gun().particles(0, 50, seed=4).seeds.tolist())) == 100


@pytest.mark.parametrize(
    ("spacing", "variable"), [("uniform", lambda energy: energy), ("log", np.log)], ids=["uniform", "log"]
)
def test_energies_are_spread_as_asked(spacing, variable):
    shot = gun(energy=(2.0, 50.0), spacing=spacing).particles(0, 2000, seed=1)
    low, high = variable(np.array([2000.0, 50000.0]))
    place = (variable(shot.incident_energy) - low) / (high - low)
    assert 0 <= place.min() < place.max() <= 1
    # Mean and variance of a uniform distribution, within four standard errors.
    assert abs(place.mean() - 0.5) < 4 / math.sqrt(12 * 2000)
    assert abs(place.var() - 1 / 12) < 4 / math.sqrt(180 * 2000)


def test_energies_of_a_list_come_again_and_again():
    assert gun(energies=(10, 50)).particles(1, 5, seed=1).incident_energy.tolist() == [50e3, 10e3, 50e3, 10e3]


def test_directions_are_unit_vectors():
    shot = gun(direction=(0.0, 3.0, 4.0), particle="22").particles(0, 2, seed=1)
    assert shot.direction == pytest.approx(np.array([[0, 0.6, 0.8]] * 2))
    assert shot.pdg_id.tolist() == [22, 22]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"particle": "positro"}, "no particle is called 'positro'; did you mean 'positron'"),
        ({"energy": (5, 1)}, "the lower first; not 5, 1"),
        ({"energy": (0, 1)}, "above zero"),
        ({"energies": (1, -2)}, "one is -2"),
        ({"energies": (1,), "energy": (1, 2)}, "there are energy and energies"),
        ({"energies": (1,), "spacing": "log"}, "spacing is for a range"),
        ({"direction": (0, 0, -1)}, "above zero: into the calorimeter"),
        ({"beam": 1}, "Extra inputs"),
    ],
)
def test_what_cannot_be_shot(settings, message):
    with pytest.raises(ValidationError, match=message):
        gun(**settings)
