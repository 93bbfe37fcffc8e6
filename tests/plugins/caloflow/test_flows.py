"""The parts of `caloflow`: pieces of energies, the networks, the flows as flows, symmetries."""

import numpy as np
import pytest
import torch

from mlgen.showers import Geometry, PolarLayer, RectangularLayer
from mlgen_caloflow import causal
from mlgen_caloflow.causal import CausalNetwork
from mlgen_caloflow.choices import choose, negative_log_likelihood, outputs_for, uniform_of
from mlgen_caloflow.piece_flow import PieceFlow
from mlgen_caloflow.stick_breaking import ALL, NOTHING, PART, StickBreaking
from mlgen_caloflow.student import GroupedFlow
from mlgen_caloflow.symmetry import agreeing, symmetries

STICKS = StickBreaking((4, 3), 0.01)


def some_energies(n, rng):
    """Energies of seven pieces over five orders of magnitude, a third of them zero, some segments empty."""
    energy = np.exp(rng.uniform(np.log(0.02), np.log(2e3), (n, 7)))
    energy[rng.random((n, 7)) < 0.35] = 0.0
    energy[::9, 4:] = 0.0
    return energy


def flow(seed=0, size=0.05):
    """A flow whose parameters are not their start values."""
    torch.manual_seed(seed)
    made = PieceFlow(STICKS, 2, width=8, depth=2, groups=2, bins=5).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(size * torch.randn(parameter.shape))
    return made


def given(n):
    return torch.linspace(-1, 1, 2 * n).view(n, 2)


def test_pieces_come_back():
    """Broken and taken again, one by one: energies are the same, and amounts are exact."""
    energy = some_energies(200, np.random.default_rng(1))
    pieces = STICKS.broken(energy)
    amounts = STICKS.amounts(energy)
    left = np.zeros(200)
    for piece in range(7):
        if piece in STICKS.starts:
            left = amounts[:, STICKS.segment[piece]]
        kind = pieces.kind[:, piece]
        taken = left if STICKS.last[piece] else STICKS.taken(left, kind, pieces.part[:, piece])
        np.testing.assert_allclose(taken, energy[:, piece], rtol=1e-7, atol=1e-9)
        left = left - taken
        left = np.where(left < 1e-9, 0.0, left)


def test_kinds_of_pieces():
    pieces = StickBreaking((4,), 0.01).broken(np.array([[0.0, 2.0, 0.0, 0.0], [1.0, 0.0, 1.0, 1.0], [0.0] * 4]))
    np.testing.assert_array_equal(pieces.kind[0, :3], [NOTHING, ALL, NOTHING])
    np.testing.assert_array_equal(pieces.kind[1, :3], [PART, NOTHING, PART])
    # The last piece has no choice, nor has what follows one that took all, nor has anything of nothing.
    np.testing.assert_array_equal(pieces.open, [[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("coordinate", [-1e9, -30.0, 0.0, 30.0, 1e9])
def test_any_coordinate_gives_a_possible_piece(coordinate):
    left = np.array([0.005, 0.02, 0.0201, 1.0, 1e5])
    taken = STICKS.taken(left, np.full(5, PART), np.full(5, coordinate))
    rest = left - taken
    assert np.all((taken >= 0.01 * (1 - 1e-12)) | (taken == left))
    assert np.all((rest >= 0.01 * (1 - 1e-12)) | (rest == 0))


@pytest.mark.parametrize("block", [512, 3])
def test_outputs_depend_on_earlier_pieces_only(monkeypatch, block):
    """Derivatives of each piece's outputs by the features of itself and of later pieces vanish, and by those of some
    earlier piece do not; with blocks, also where pieces look back over their edge."""
    monkeypatch.setattr(causal, "_BLOCK", block)
    torch.manual_seed(1)
    network = CausalNetwork(7, 3, 2, 2, 4, width=8, depth=2, groups=2)
    features = torch.randn(7, 5, 3, requires_grad=True)
    outputs = network(features, torch.randn(7, 5, 2), torch.randn(5, 2))
    for piece in range(7):
        (gradient,) = torch.autograd.grad(outputs[piece].sum(), features, retain_graph=True)
        assert torch.all(gradient[piece:] == 0)
        assert piece == 0 or torch.all(gradient[piece - 1] != 0)


@pytest.mark.parametrize("block", [512, 3])
def test_stepping_gives_what_one_pass_gives(monkeypatch, block):
    monkeypatch.setattr(causal, "_BLOCK", block)
    torch.manual_seed(1)
    network = CausalNetwork(7, 3, 2, 2, 4, width=8, depth=2, groups=2).eval()
    features, situation, numbers = torch.randn(7, 5, 3), torch.randn(7, 5, 2), torch.randn(5, 2)
    with torch.no_grad():
        expected = network(features, situation, numbers)
        steps = network.stepping(numbers)
        for piece in range(7):
            torch.testing.assert_close(steps.outputs(situation[piece]), expected[piece], rtol=1e-4, atol=1e-5)
            steps.take(features[piece])


def test_the_density_of_a_piece_is_normalised():
    """Probabilities of nothing and of all, and the integral of the density of a part, sum to one."""
    torch.manual_seed(3)
    outputs = torch.randn(1, 1, outputs_for(6)).double()
    grid = torch.linspace(-60, 60, 200_001).double()
    parts = torch.exp(-negative_log_likelihood_of(outputs.expand(1, len(grid), -1), PART, grid))
    total = float(torch.trapezoid(parts, grid))
    for kind in (NOTHING, ALL):
        total += float(torch.exp(-negative_log_likelihood_of(outputs, kind, torch.zeros(1).double())))
    assert total == pytest.approx(1.0, abs=1e-4)


def negative_log_likelihood_of(outputs, kind, part):
    """Of each piece alone."""
    kinds = torch.full((1, 1), kind)
    every = [
        negative_log_likelihood(outputs[:, i : i + 1], kinds, part[i].view(1, 1), torch.ones(1, 1, dtype=torch.bool))
        for i in (range(0, len(part), 1) if len(part) < 2 else [])
    ]
    if every:
        return torch.stack(every)
    # All at once: the sum is taken of what `choose` would need one by one, so the terms are made here.
    from mlgen_caloflow.choices import _to_normal

    normal, logarithm = _to_normal(outputs, part.view(1, -1))
    kind_term = -torch.log_softmax(outputs[..., :3], -1)[..., kind]
    return (kind_term + 0.5 * normal**2 + 0.5 * np.log(2 * np.pi) - logarithm)[0]


def test_uniform_numbers_choose_pieces_and_come_back():
    """`uniform_of` is the inverse of `choose`; kinds ascend with the number: nothing, part, all."""
    torch.manual_seed(3)
    outputs = torch.randn(1, outputs_for(6)).expand(2000, -1)
    uniform = (torch.arange(2000) + 0.5) / 2000
    kind, part = choose(outputs, uniform)
    probability = torch.softmax(outputs[0, :3], -1)
    for number in (NOTHING, PART, ALL):
        assert float((kind == number).float().mean()) == pytest.approx(float(probability[number]), abs=1e-3)
    ranks = torch.tensor([0, 1, 2])[kind]
    assert torch.all(torch.diff(ranks) >= 0)
    inside = kind == PART
    assert torch.all(torch.diff(part[inside]) > 0)
    back = uniform_of(outputs, kind, part, torch.full((2000,), 0.5))
    torch.testing.assert_close(back[inside], uniform[inside], rtol=0, atol=1e-4)
    assert torch.all(back[kind == NOTHING] < probability[NOTHING])
    assert torch.all(back[kind == ALL] > 1 - probability[ALL])


def test_the_teacher_is_a_flow():
    """Uniform numbers of pieces give these pieces again: the pass to numbers and the steps back are inverse."""
    made = flow()
    energy = some_energies(60, np.random.default_rng(2))
    pieces = STICKS.broken(energy)
    made.standardise(pieces)
    uniform = made.uniforms(pieces, given(60), np.random.default_rng(3).random((60, 7)))
    assert np.all((uniform >= 0) & (uniform <= 1))
    again = made.sample(STICKS.amounts(energy), given(60), uniform)
    # Numbers of single precision near 0 and 1 stand for a range of energies.
    close = np.isclose(again, energy, rtol=2e-2, atol=1e-6).all(axis=1)
    assert close.mean() > 0.9
    np.testing.assert_allclose(STICKS.amounts(again), STICKS.amounts(energy), rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 3, 7])
def test_the_student_sums_exactly(steps):
    torch.manual_seed(0)
    student = GroupedFlow(STICKS, 2, steps=steps, width=8, bins=5).eval()
    assert sum(group.size for group in student.groups) == 7
    amounts = np.exp(np.random.default_rng(1).uniform(-4, 8, (50, 2)))
    amounts[::5, 1] = 0.0
    made = student.sample(amounts, given(50), np.random.default_rng(2).random((50, 7)))
    assert np.all(made >= 0)
    np.testing.assert_allclose(STICKS.amounts(made), amounts, rtol=1e-9)
    assert np.all(made[::5, 4:] == 0)


def test_the_student_sees_numbers_of_its_own_group_before_a_piece_only():
    """The loss of a piece does not depend on its own uniform number, which says what it is."""
    torch.manual_seed(0)
    student = GroupedFlow(STICKS, 2, steps=1, width=8, bins=5).eval()
    group = student.groups[0]
    uniform = torch.rand(group.size, 5, requires_grad=True)
    outputs = group(torch.zeros(5, 2 * group.first), torch.zeros(5, 2), given(5), uniform)
    for piece in range(group.size):
        (gradient,) = torch.autograd.grad(outputs[piece].sum(), uniform, retain_graph=True)
        assert torch.all(gradient[piece:] == 0)


def test_symmetries_of_rectangular_layers():
    """A 2 x 4 layer has two mirrors; squares have the turns as well; an uneven layer has one mirror less."""
    oblong = RectangularLayer(0, (-1.0, 0.0, 1.0), (-2.0, -1.0, 0.0, 1.0, 2.0))
    square = RectangularLayer(1, (-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0))
    uneven = RectangularLayer(2, (-1.0, 0.0, 3.0), (-1.0, 0.0, 1.0))
    assert len(symmetries(Geometry("", (oblong,)))) == 4
    assert len(symmetries(Geometry("", (square,)))) == 8
    assert len(symmetries(Geometry("", (oblong, square)))) == 4
    assert len(symmetries(Geometry("", (uneven,)))) == 2
    for layers in ((oblong, square), (square,)):
        geometry = Geometry("", layers)
        centres = geometry.centres
        layer = np.repeat(np.arange(len(layers)), [layer.n_voxels for layer in layers])
        for order in symmetries(geometry):
            # A symmetry keeps distances from the axis and layers.
            np.testing.assert_allclose(np.hypot(*centres[order].T), np.hypot(*centres.T))
            np.testing.assert_array_equal(layer[order], layer)


def test_symmetries_of_polar_layers():
    """Four slices can be turned four ways and mirrored; layers with more slices turn by as much."""
    geometry = Geometry("", (PolarLayer(0, (0.0, 1.0, 2.0), 4), PolarLayer(1, (0.0, 1.0), 8), PolarLayer(2, (0, 1), 1)))
    orders = symmetries(geometry)
    assert len(orders) == 8
    centres = geometry.centres
    distance = np.hypot(*centres.T)
    for order in orders:
        np.testing.assert_allclose(distance[order], distance)
        # Angles between any two voxels stay, up to their sign.
        cosines = centres @ centres.T
        np.testing.assert_allclose(cosines[np.ix_(order, order)], cosines, atol=1e-12)


def test_symmetries_that_a_sample_has_not():
    """More energy on one side: that mirror is refused and the other kept; without, all are kept."""
    geometry = Geometry("", (RectangularLayer(0, (-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0)),))
    orders = symmetries(geometry)
    rng = np.random.default_rng(1)
    voxels = rng.gamma(2.0, size=(4000, 4))
    kept, remarks = agreeing(orders, voxels, np.zeros(4, int))
    assert (len(kept), remarks) == (8, [])
    kept, remarks = agreeing(orders, voxels * [1.2, 1.2, 1.0, 1.0], np.zeros(4, int))
    assert len(kept) == 2
    assert remarks == ["mirror images: the training showers lack 6 of 7 symmetries of the voxels"]
