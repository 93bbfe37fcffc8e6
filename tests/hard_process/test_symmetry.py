import itertools

import numpy as np
import pytest

from mlgen.hard_process.cuts import Cut
from mlgen.hard_process.hard_process import HardProcess
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement, MatrixElements
from mlgen.hard_process.settings import ProcessSettings
from mlgen.hard_process.subprocess import Subprocess
from mlgen.hard_process.symmetry import Symmetry, process_symmetries
from mlgen.stages import Settings

NO_CUTS = [frozenset()]


class SymmetricMatrixElement(MatrixElement):
    """A function of all invariants alike, whatever the particles are."""

    color_flows = (ColorFlow((0,) * 6, (0,) * 6),)

    def evaluate(self, momenta, alpha_s):
        total = np.zeros(len(momenta))
        for i, j in itertools.combinations(range(momenta.shape[1]), 2):
            both = momenta[:, i] + momenta[:, j] * (1 if (i < 2) == (j < 2) else -1)
            total += 1 / (100 + np.abs(both[:, 3] ** 2 - (both[:, :3] ** 2).sum(axis=1)))
        return total


class SymmetricMatrixElements(MatrixElements):
    def prepare(self, subprocesses, parameters):
        return [SymmetricMatrixElement()] * len(subprocesses)

    def fingerprint(self):
        return {"program": "test"}


def process(reaction, **settings):
    pytest.importorskip("pythia8mc")
    known = {"reaction": reaction, "energy": 13_000, "pdf": "NNPDF23_lo_as_0130_qed", "scale": "ht/2"} | settings
    return HardProcess(ProcessSettings(**known), [SymmetricMatrixElements(Settings())])


TWO_JETS = {"pt": {"j": 20}, "mass": {"mu+ mu-": 50}, "delta_r": {"j j": 0.4}}


@pytest.mark.parametrize(
    ("reaction", "settings", "channels", "groups"),
    [
        ("g g > t t~ g", {"cuts": {"pt": {"g": 20}, "eta": {"g": 5}}}, 15, 6),
        ("g g > t t~ g g", {"cuts": {"pt": {"g": 20}, "delta_r": {"g g": 0.4}}}, 105, 23),
        ("g g > g g g", {"cuts": {"pt": {"g": 20}, "delta_r": {"g g": 0.4}}}, 15, 3),
        ("p p > t t~", {}, 3, 2),
        ("p p > mu+ mu- j", {"cuts": {"pt": {"j": 20}, "mass": {"mu+ mu-": 50}}}, 6, 4),
        # Beams of another kind: only with CP they change places, and a cut on one muon alone undoes that.
        ("p p > mu+ mu- j", {"beams": ["p", "p~"], "cuts": {"pt": {"j": 20}, "mass": {"mu+ mu-": 50}}}, 6, 4),
        ("p p > mu+ mu- j", {"beams": ["p", "p~"], "cuts": {"pt": {"j": 20, "mu+": 5}}}, 6, 6),
        ("g g > t t~ g", {"cuts": {"pt": {"g": 20, "t": 10}}}, 15, 9),
        (
            "e- e+ > mu- mu+ a",
            {"beams": ["e-", "e+"], "energy": 500, "pdf": None, "cuts": {"pt": {"a": 10}, "mass": {"mu+ mu-": 10}}},
            8,
            4,
        ),
    ],
)
def test_members_of_a_group_are_the_same_function_of_the_hypercube(reaction, settings, channels, groups):
    integrand = process(reaction, **settings).integrand
    assert len(integrand.channels) == len(integrand.groups) == channels
    assert sorted(set(integrand.groups)) == list(range(groups))
    x = np.random.default_rng(1).random((300, integrand.dimensions))
    for group in range(groups):
        members = [number for number, own in enumerate(integrand.groups) if own == group]
        first, *others = (integrand.points(x, np.full(len(x), member)) for member in members)
        assert np.count_nonzero(first.value) > 100
        for member, other in zip(members[1:], others, strict=True):
            np.testing.assert_allclose(other.value, first.value, rtol=1e-10)
            # The weight of a channel in its own mirror image is that of the first in its own.
            np.testing.assert_allclose(other.prior[:, member], first.prior[:, members[0]], rtol=1e-8)
            assert not np.array_equal(other.momenta, first.momenta)


def test_symmetries_of_gluons_into_top_quarks():
    symmetries = process_symmetries([Subprocess((21, 21), (6, -6, 21))], ("p", "p"), NO_CUTS, (173.0, 173.0, 0.0))
    assert symmetries[0].is_identity
    assert set(symmetries) == {
        Symmetry((0, 1, 2)),
        Symmetry((0, 1, 2), swaps_beams=True),
        Symmetry((1, 0, 2), conjugates=True),
        Symmetry((1, 0, 2), swaps_beams=True, conjugates=True),
    }


def test_cuts_that_tell_particles_apart_break_a_symmetry():
    gluons = [Subprocess((21, 21), (21, 21))]
    both = [frozenset({Cut("pt", (0,), 20.0), Cut("pt", (1,), 20.0)})]
    one = [frozenset({Cut("pt", (0,), 20.0), Cut("pt", (1,), 30.0)})]
    assert Symmetry((1, 0)) in process_symmetries(gluons, ("p", "p"), both, (0.0, 0.0))
    assert Symmetry((1, 0)) not in process_symmetries(gluons, ("p", "p"), one, (0.0, 0.0))


def test_beams_change_places_only_where_both_orders_are_summed():
    one = [Subprocess((1, -1), (13, -13))]
    both = [*one, Subprocess((-1, 1), (13, -13))]
    swap = Symmetry((0, 1), swaps_beams=True)
    assert swap not in process_symmetries(one, ("p", "p"), NO_CUTS, (0.0, 0.0))
    assert swap in process_symmetries(both, ("p", "p"), NO_CUTS * 2, (0.0, 0.0))
    assert swap not in process_symmetries(both, ("p", "p~"), NO_CUTS * 2, (0.0, 0.0))
    # A quark in a proton is as an antiquark in an antiproton.
    assert Symmetry((1, 0), swaps_beams=True, conjugates=True) in process_symmetries(
        one, ("p", "p~"), NO_CUTS, (0.0, 0.0)
    )
    # C or CP alone would need as many antiquarks as quarks in a proton.
    assert not any(one.conjugates for one in process_symmetries(both, ("p", "p"), NO_CUTS * 2, (0.0, 0.0)))
