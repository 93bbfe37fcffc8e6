"""Which chart a coordinate gets, by what the sample shows."""

from dataclasses import replace

import numpy as np
import pytest

from mlgen.representation import DecayTree, Kinematics
from mlgen.representation.chart_choice import blocks_of, choose_charts
from mlgen.representation.charts import Bounded, BreitWigner, OneSided, Ordered, Periodic, Separated
from mlgen.representation.cuts import SampleCuts
from mlgen.representation.resonances import resonance

N = 20_000
TABLE = {23: (91.2, 2.5), 24: (80.4, 2.1), 25: None, 6: (172.5, 1.4)}


def rows_of(*kinds, status=1):
    return np.array([[21, -1, 0, 0, 0, 0]] * 2 + [[kind, status, 1, 2, 0, 0] for kind in kinds])


def chosen(rows, columns, *, jets=(), recoiler=0, radius=0.0, both_ways=False):
    """Charts by the names of their columns; the coordinates that are not given are normal."""
    kinematics = Kinematics(DecayTree.from_rows(rows), False, np.zeros(len(rows), bool), recoiler)
    names = list(kinematics.names)
    rng = np.random.default_rng(0)
    values = np.column_stack([columns.get(name, rng.normal(0, 1, N)) for name in names])
    cut = [radius] if radius else []
    pairs = np.array([jets[:2]] if radius else np.zeros((0, 2)), int)
    cuts = SampleCuts(np.full(len(cut), 2), pairs, np.array(cut), np.full(len(cut), np.inf))
    charts = choose_charts(kinematics, jets, rows[:, 0], cuts, names, values, TABLE.get, both_ways=both_ways)
    return names, charts


def of(names, charts, name):
    found = [chart for chart in charts if chart.columns[0] == names.index(name)]
    return found[0] if found else None


def test_jets_are_ordered_above_the_softest_ones_cut():
    rng = np.random.default_rng(1)
    pt = np.sort(20 + rng.exponential(40, (N, 3)), axis=1)[:, ::-1]
    rows = rows_of(23, 21, 21, 21)
    columns = {f"pt {row + 1}": pt[:, k] for k, row in enumerate((3, 4, 5))}
    names, charts = chosen(rows, columns, jets=(3, 4, 5))
    place = [names.index(f"pt {row}") for row in (4, 5, 6)]
    # The softest first, while the harder is not mapped yet.
    assert [c for c in charts if c.columns[0] in place] == [
        Ordered(place[2], 20.0, place[1]),
        Ordered(place[1], 20.0, place[0]),
        OneSided(place[0], 20.0),
    ]


def test_hardest_jet_has_its_own_cut():
    rng = np.random.default_rng(2)
    hard, soft = 100 + rng.exponential(40, N), 20 + rng.exponential(20, N)
    names, charts = chosen(rows_of(23, 21, 21), {"pt 4": hard, "pt 5": soft}, jets=(3, 4))
    assert of(names, charts, "pt 4") == OneSided(names.index("pt 4"), 100.0)
    assert of(names, charts, "pt 5") == Ordered(names.index("pt 5"), 20.0, names.index("pt 4"))


@pytest.mark.parametrize("radius", [0.0, 0.4])
def test_jets_that_are_apart(radius):
    names, charts = chosen(rows_of(23, 21, 21), {}, jets=(3, 4), radius=radius)
    separated = [chart for chart in charts if isinstance(chart, Separated)]
    azimuth = names.index("azimuth 5")
    if radius:
        rapidities = names.index("rapidity 5"), names.index("rapidity 4")
        assert [replace(chart, enhancement=0.0) for chart in separated] == [Separated(*rapidities, azimuth, -1, 0.4)]
        # The angle of the pair is mapped after it.
        assert charts.index(separated[0]) < charts.index(Periodic(azimuth, -np.pi))
    else:
        assert separated == []
        assert Periodic(azimuth, 0.0) in charts


@pytest.mark.parametrize(
    ("kinds", "pole"),
    [((11, -11), 91.2), ((-13, 13), 91.2), ((11, -12), 80.4), ((-14, 13), 80.4), ((12, -12), 91.2), ((11, 13), None)],
)
def test_pair_of_leptons_has_its_bosons_width(toys, kinds, pole):
    rng = np.random.default_rng(3)
    mass = toys.breit_wigner(85.0, 5.0, 60.0, 120.0, N, rng)
    names, charts = chosen(rows_of(*kinds), {"mass 3+4": mass})
    chart = of(names, charts, "mass 3+4")
    if pole is None:
        assert not isinstance(chart, BreitWigner)
    else:
        assert isinstance(chart, BreitWigner)
        assert (chart.mass, chart.low, chart.high) == (pole, 60.0, 120.0)


def test_resonance_without_an_edge_is_open(toys):
    """Its chart goes beyond all events; and a mass far from the pole has no peak."""
    rng = np.random.default_rng(4)
    mass = 91.2 + rng.normal(0, 3, N)
    names, charts = chosen(rows_of(11, -11), {"mass 3+4": mass})
    chart = of(names, charts, "mass 3+4")
    assert isinstance(chart, BreitWigner)
    assert chart.low < mass.min() < mass.max() < chart.high
    names, charts = chosen(rows_of(11, -11), {"mass 3+4": 200 + rng.exponential(50, N)})
    assert of(names, charts, "mass 3+4") == OneSided(names.index("mass 3+4"), 200.0)


def test_edge_of_a_pure_resonance_is_seen(toys):
    """Too few events are near the edge of a narrow peak, unless the peak is drawn apart."""
    mass = toys.breit_wigner(91.2, 2.5, 66.0, 116.0, 2 * N, np.random.default_rng(5))[:N]
    names, charts = chosen(rows_of(11, -11), {"mass 3+4": mass})
    chart = of(names, charts, "mass 3+4")
    assert isinstance(chart, BreitWigner)
    assert mass.min() - 0.1 < chart.low <= mass.min()
    assert mass.max() <= chart.high < mass.max() + 0.1


def test_rapidities():
    rng = np.random.default_rng(6)
    inside, one_sided = rng.uniform(-2.5, 2.5, N), 1 + rng.exponential(1, N)
    rows = rows_of(23, 22)
    for both_ways in (False, True):
        names, charts = chosen(rows, {"rapidity 4": inside}, both_ways=both_ways)
        assert of(names, charts, "rapidity 4") == Bounded(names.index("rapidity 4"), -2.5, 2.5)
        assert of(names, charts, "rapidity 3") is None
    names, charts = chosen(rows, {"rapidity 4": one_sided})
    assert of(names, charts, "rapidity 4") == OneSided(names.index("rapidity 4"), 1.0)
    # Its mirror image would be beyond.
    names, charts = chosen(rows, {"rapidity 4": one_sided}, both_ways=True)
    assert of(names, charts, "rapidity 4") is None


def test_blocks():
    rows = np.array([*rows_of(23, 21, 21).tolist(), [11, 1, 3, 3, 0, 0], [-11, 1, 3, 3, 0, 0]])
    rows[2, 1] = 2
    kinematics = Kinematics(DecayTree.from_rows(rows), False, rows[:, 1] == 2, 0)
    blocks = dict(zip(kinematics.names, blocks_of(kinematics, (3, 4)).tolist(), strict=True))
    assert blocks == {
        "mass 3": 0,
        "pt 4": 1,
        "pt 5": 2,
        "azimuth 5": 2,
        "rapidity 3": 0,
        "rapidity 4": 1,
        "rapidity 5": 2,
        "cos_theta 3": 0,
        "phi 3": 1,
    }


def test_masses_and_widths():
    """Of the Particle Data Group's table, within what changes from one edition to the next."""
    assert resonance(23) == pytest.approx((91.19, 2.495), rel=1e-3)
    assert resonance(-24) == pytest.approx((80.37, 2.1), rel=2e-2)
    assert resonance(6) == pytest.approx((172.6, 1.4), rel=5e-2)
    # Too narrow to be a peak beside the digits of a file; stable; unknown.
    assert resonance(25) is None
    assert resonance(13) is None
    assert resonance(22) is None
    assert resonance(0) is None
    assert resonance(9_999_999) is None
