"""Showers of events: energies, places, flags and counts, with a surrogate whose showers are known."""

import numpy as np
import pytest

from mlgen.detector import simulation
from mlgen.detector.census import Fate
from mlgen.detector.settings import DetectorSettings
from mlgen.detector.simulation import PLACEMENT_COLUMNS, Detector
from mlgen.errors import CardError, UserError

#: Response of the known showers.
RESPONSE = 0.5
PHOTON, POSITRON = 22, -11


def settings(**others):
    return DetectorSettings.model_validate(others)


def simulated(surrogate, batch, first_event=0, seed=1, **others):
    """Cells, showers and census."""
    detector, placed = Detector(surrogate, settings(**others)), []
    cells = detector.simulate(batch, first_event, np.random.default_rng(seed), placed.append)
    return cells, placed, detector.census


def by_particle(cells, values):
    """Sum over the cells of each particle of one event."""
    return np.bincount(cells.cells["particle"], weights=values, minlength=int(cells.particle_counts.sum()))


def test_energies_are_those_of_the_surrogate(surrogate, events):
    batch = events(2, [(0, PHOTON, 1, 10, 0.3, 1), (0, POSITRON, 1, 20, -1, 2), (1, PHOTON, 1, 5, 0, -3)])
    cells, placed, _ = simulated(surrogate, batch, first_event=7)
    voxels = np.concatenate([part.showers.voxels for part in placed])
    incident = np.concatenate([part.showers.incident_energy for part in placed])
    # Kinetic energies in MeV.
    p = np.array([10 * np.cosh(0.3), 20 * np.cosh(1.0), 5])
    np.testing.assert_allclose(incident, 1000 * (np.hypot(p, [0, 0.000511, 0]) - [0, 0.000511, 0]))
    assert np.all(np.abs(voxels.sum(axis=1) / incident / RESPONSE - 1) <= 0.1)
    assert cells.event.tolist() == [7, 8]
    assert cells.weight.tolist() == [1, 2]
    assert cells.variations["up"].tolist() == [2, 4]
    assert cells.particle_counts.tolist() == [2, 1]
    first = cells.cell_counts[0]
    assert first == np.count_nonzero(voxels[:2])
    assert cells.cells["energy"].sum() == pytest.approx(voxels.sum(), rel=1e-12)
    # Each cell is the voxel of the shower of its particle, which is counted within its event.
    shower = cells.cells["particle"] + np.where(np.arange(cells.cell_counts.sum()) < first, 0, 2)
    assert np.array_equal(cells.cells["energy"], voxels[shower, cells.cells["voxel"]])
    for part in placed:
        assert set(part.columns) == set(PLACEMENT_COLUMNS)
        assert part.showers.direction.tolist() == [[0, 0, 1]] * len(part.showers)
    assert placed[0].columns["event"].tolist() == [7, 7, 8]
    assert placed[0].columns["particle"].tolist() == [0, 1, 0]
    assert placed[0].columns["weight"].tolist() == [1, 1, 2]


@pytest.mark.parametrize("vertex", [(0, 0, 0), (120.0, -80.0, 400.0)])
def test_the_barycentre_of_each_layer_is_on_the_line_of_the_particle(surrogate, events, vertex):
    batch = events(1, [(0, PHOTON, 1, 10, 0.8, 2.5, vertex), (0, PHOTON, 1, 10, -1.2, -1.0, vertex)])
    cells, _, _ = simulated(surrogate, batch, radius=1200)
    momenta = batch.momenta()[:, :3]
    flight = momenta / np.linalg.norm(momenta, axis=1, keepdims=True)
    for layer, depth in enumerate((45.0, 263.5, 458.5)):
        here = cells.cells["layer"] == layer
        energy = np.where(here, cells.cells["energy"], 0.0)
        total = by_particle(cells, energy)
        centre = np.stack([by_particle(cells, energy * cells.cells[axis]) for axis in "xyz"], axis=1) / total[:, None]
        face = np.stack([cells.particles[axis] for axis in "xyz"], axis=1)
        np.testing.assert_allclose(np.hypot(face[:, 0], face[:, 1]), 1200)
        np.testing.assert_allclose(centre, face + depth * flight, atol=1e-6)
        way = centre - vertex
        np.testing.assert_allclose(np.cross(way, flight), 0, atol=1e-6)


def test_cells_of_a_particle_from_the_origin_are_where_it_flies(surrogate, events):
    eta, phi = np.array([0.0, 0.9, -1.4]), np.array([3.1, -2.0, 0.4])
    batch = events(1, [(0, PHOTON, 1, 10, *where) for where in zip(eta, phi, strict=True)])
    cells, _, _ = simulated(surrogate, batch)
    energy = cells.cells["energy"]
    x, y, z = (by_particle(cells, energy * cells.cells[axis]) for axis in "xyz")
    np.testing.assert_allclose(np.arcsinh(z / np.hypot(x, y)), eta, atol=1e-9)
    np.testing.assert_allclose(np.arctan2(y, x), phi, atol=1e-9)
    np.testing.assert_allclose(cells.particles["eta"], eta, atol=1e-9)
    # The columns say the same as the positions.
    np.testing.assert_allclose(
        np.sinh(cells.cells["eta"]), cells.cells["z"] / np.hypot(cells.cells["x"], cells.cells["y"]), atol=1e-9
    )
    np.testing.assert_allclose(np.tan(cells.cells["phi"]), cells.cells["y"] / cells.cells["x"], rtol=1e-9)


def test_a_field_moves_charged_particles_only(surrogate, events):
    batch = events(1, [(0, PHOTON, 1, 3, 0, 0), (0, POSITRON, 1, 3, 0, 0)])
    cells, placed, _ = simulated(surrogate, batch, magnetic_field=2.0)
    # Half the angle turned is asin(R / 2 rho); a positive charge turns clockwise.
    rho = 3 / (0.299792458e-3 * 2)
    turned = np.arcsin(1500 / (2 * rho))
    angle = np.arctan2(cells.particles["y"], cells.particles["x"])
    np.testing.assert_allclose(angle, [0, -turned], atol=1e-12)
    flight = placed[0].columns["flight_direction"]
    np.testing.assert_allclose(np.arctan2(flight[:, 1], flight[:, 0]), [0, -2 * turned], atol=1e-12)


def test_every_particle_has_one_fate_and_is_counted(surrogate, events):
    rows = [
        (0, PHOTON, 1, 10, 0, 0),
        (0, PHOTON, 2, 10, 0, 0),  # decayed: not a final particle
        (0, 12, 1, 10, 0, 0),
        (0, PHOTON, 1, 10, 2.0, 0),
        (0, PHOTON, 1, 0.9, 0, 0),
        (0, 211, 1, 10, 0, 0),
        (0, 13, 1, 10, 0, 0),
        (0, 211, 1, 0.5, 0, 0),  # below the minimum energy, whatever it is
        (0, PHOTON, 1, 10, 0, 0, (1600, 0, 0)),
        (1, PHOTON, 1, 10, 1.4, 0),
        (1, POSITRON, 1, 1.01, 0, 0),
        (1, PHOTON, 1, 200, 0, 0),
    ]
    cells, _, census = simulated(surrogate, events(3, rows), half_length=2500, magnetic_field=3.8)
    expected = {
        (22, Fate.SHOWER): 1,
        (12, Fate.INVISIBLE): 1,
        (22, Fate.OUTSIDE_ACCEPTANCE): 1,
        (22, Fate.BELOW_MINIMUM_ENERGY): 1,
        (211, Fate.NOT_KNOWN): 1,
        (13, Fate.NOT_KNOWN): 1,
        (211, Fate.BELOW_MINIMUM_ENERGY): 1,
        (22, Fate.STARTS_BEHIND): 1,
        (22, Fate.MISSES): 1,
        (-11, Fate.SHOWER_OUTSIDE_RANGE): 1,
        (22, Fate.SHOWER_OUTSIDE_RANGE): 1,
    }
    assert {(row.pdg_id, row.fate): row.count for row in census.rows()} == expected
    assert census.count() == len(rows) - 1
    assert cells.particle_counts.tolist() == [1, 2, 0]
    assert cells.cell_counts[2] == 0
    assert cells.particles["index"].tolist() == [0, 1, 2]
    assert cells.particles["outside_range"].tolist() == [False, True, True]
    unknown = next(remark for remark in census.remarks() if "not known" in remark)
    assert "pi+ 1 (10 GeV)" in unknown
    assert "mu- 1 (10 GeV)" in unknown
    assert "nu(e)" not in unknown
    invisible = next(remark for remark in census.remarks() if "invisible" in remark)
    assert "nu(e) 1" in invisible
    assert census.figures()["showers"] == 3


def test_curling_particles_are_counted(surrogate, events):
    # 1.1 GeV of transverse momentum is a radius of 0.92 m in 4 T, 0.69 m for 0.82 GeV: that turns back before 1.5 m.
    batch = events(1, [(0, POSITRON, 1, 1.1, 1.4, 0), (0, POSITRON, 1, 0.82, 1.4, 0)])
    cells, _, census = simulated(surrogate, batch, magnetic_field=4.0)
    assert {row.fate for row in census.rows()} == {Fate.SHOWER, Fate.CURLS_UP}
    assert cells.particles["index"].tolist() == [0]


OUTSIDE = [(0, PHOTON, 1, 150, 0, 0), (0, PHOTON, 1, 50, 0, 1), (0, POSITRON, 1, 1.25, 0, 2)]


@pytest.mark.parametrize(("choice", "made"), [("flag", [0, 1, 2]), ("clip", [0, 1, 2]), ("skip", [1])])
def test_energies_outside_the_range_of_the_training(surrogate, events, choice, made):
    asked = []
    generate = surrogate.generate

    def generated(pdg_id, energy, direction, rng):
        asked.extend(energy.tolist())
        return generate(pdg_id, energy, direction, rng)

    surrogate.generate = generated
    cells, placed, census = simulated(surrogate, events(1, OUTSIDE), outside=choice)
    assert cells.particles["index"].tolist() == made
    true = {0: 150e3, 1: 50e3, 2: 1000 * (np.hypot(1.25, 0.000511) - 0.000511)}
    clipped = {0: 1e5, 1: 50e3, 2: 2e3}
    np.testing.assert_allclose(asked, [(clipped if choice == "clip" else true)[i] for i in made])
    np.testing.assert_allclose(placed[0].showers.incident_energy, [true[i] for i in made])
    response = by_particle(cells, cells.cells["energy"]) / [true[i] for i in made]
    assert np.all(np.abs(response / RESPONSE - 1) <= 0.1)
    assert cells.particles["outside_range"].tolist() == [i != 1 for i in made]
    assert placed[0].columns["outside_range"].tolist() == [i != 1 for i in made]
    fate = Fate.OUTSIDE_RANGE_SKIPPED if choice == "skip" else Fate.SHOWER_OUTSIDE_RANGE
    assert census.count(fate) == 2


def test_stopping_names_the_particle(surrogate, events):
    with pytest.raises(UserError, match=r"event 5: particle 1, a gamma, has an energy of 150 GeV.* 1 to 100 GeV"):
        simulated(surrogate, events(1, OUTSIDE), first_event=4, outside="stop")
    batch = events(2, [(0, 14, 1, 10, 0, 0), (1, 211, 1, 3, 2.5, 0), (1, -13, 1, 20, 0, 0)])
    with pytest.raises(UserError, match=r"event 2: particle 2 is a mu\+ of 20 GeV.* knows e\+, gamma only"):
        simulated(surrogate, batch, unknown="stop")
    # An invisible one never stops a run, nor does one outside the acceptance.
    cells, _, _ = simulated(surrogate, batch[:1], unknown="stop")
    assert cells.cell_counts.tolist() == [0]


def test_a_particle_with_a_stand_in_gets_its_shower(surrogate, events):
    batch = events(1, [(0, 11, 1, 10, 0, 0), (0, 130, 1, 60, 0, 1)])
    cells, placed, census = simulated(surrogate, batch, stand_ins={"e-": "e+", "K(L)0": "22"}, magnetic_field=2)
    # It stays what it is, and bends as it is charged.
    assert cells.particles["pdg_id"].tolist() == placed[0].showers.pdg_id.tolist() == [11, 130]
    assert cells.particles["y"][0] > 0
    assert cells.particles["outside_range"].tolist() == [False, False]
    assert census.count(Fate.SHOWER) == 2
    for wrong, problem in (
        ({"e-": "pi+"}, "'pi.' is not known"),
        ({"e+": "22"}, "itself"),
        ({"x": "e+"}, "no particle"),
    ):
        with pytest.raises(CardError, match=problem):
            simulated(surrogate, batch, stand_ins=wrong)


def test_acceptance_in_azimuth(surrogate, events):
    batch = events(1, [(0, PHOTON, 1, 10, 0, phi) for phi in (-3, -1, 0, 1, 3)])
    for interval, inside in (([-1.5, 0.5], [1, 2]), ([2.5, 4], [0, 4]), ([-4, -2.5], [0, 4]), ([0, 4], [0, 2, 3, 4])):
        cells, _, _ = simulated(surrogate, batch, acceptance={"eta": [-1, 1], "phi": interval})
        assert cells.particles["index"].tolist() == inside, interval


def test_events_without_any_particle(surrogate, events):
    cells, placed, census = simulated(surrogate, events(3, []))
    assert len(cells) == 3
    assert cells.cell_counts.tolist() == [0, 0, 0]
    assert not placed
    assert "no particle got a shower: there are no cells" in list(census.remarks())


def test_showers_made_in_parts_belong_to_the_right_particles(surrogate, events, monkeypatch):
    batch = events(4, [(event, PHOTON, 1, 5 + 5 * event, 0.1 * i, i) for event in (0, 1, 3) for i in range(5)])
    whole, placed, _ = simulated(surrogate, batch)
    assert len(placed) == 1
    monkeypatch.setattr(simulation, "SHOWER_BYTES", 8 * 504 * 4)
    parts, placed, _ = simulated(surrogate, batch)
    assert [len(part.showers) for part in placed] == [4, 4, 4, 3]
    for name in whole.cells:
        assert np.array_equal(whole.cells[name], parts.cells[name]), name
    assert np.array_equal(whole.cell_counts, parts.cell_counts)


def test_overlapping_showers_in_a_grid(surrogate, events):
    batch = events(2, [(1, PHOTON, 1, 10, 0.05, 0.05), (1, PHOTON, 1, 40, 0.06, 0.05)])
    voxels, _, _ = simulated(surrogate, batch)
    cells, placed, _ = simulated(surrogate, batch, cell_size=[0.1, 0.1])
    assert cells.cell_counts[0] == 0
    assert cells.cell_counts[1] < voxels.cell_counts[1] / 5
    assert cells.cells["energy"].sum() == pytest.approx(voxels.cells["energy"].sum(), rel=1e-12)
    assert len(placed[0].showers) == 2
    largest = cells.cells["particle"][np.argmax(cells.cells["energy"])]
    assert cells.particles["index"][largest] == 1
