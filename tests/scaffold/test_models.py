"""The models of the new packages, by physics: the kit tests the contracts, in `test_integration`."""

import dataclasses
import importlib
import sys

import numpy as np
import pytest
import torch

from mlgen.errors import ModelError, PluginError
from mlgen.sampling import point_weights
from mlgen.scaffold import new_plugin
from mlgen.showers import Geometry, PolarLayer, RectangularLayer, ShowerBatch
from mlgen.stages import Candidates, Evaluated, Integrand, Progress, Stage, TrainingReport
from mlgen.testing import scattering_amplitudes

MODULES = {
    Stage.PHASE_SPACE: "sampler",
    Stage.AMPLITUDE: "surrogate",
    Stage.UNWEIGHTING: "unweighter",
    Stage.GENERATOR: "generator",
    Stage.CALORIMETER: "surrogate",
}


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """For each stage: the modules of a new package (hooks, model, contract), imported without being installed."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for stage in Stage:
            folder = tmp_path_factory.mktemp(stage.value) / "package"
            package = new_plugin(f"try-{stage.value.replace('_', '-')}", stage, folder).names.package
            patch.syspath_prepend(str(folder / "src"))
            names = (package, f"{package}.model", f"{package}.{MODULES[stage]}")
            found[stage] = [importlib.import_module(name) for name in names]
        yield found
        for name in [name for name in sys.modules if name.startswith("try_")]:
            del sys.modules[name]


@pytest.mark.physics
def test_density_of_the_generator_is_normalised_and_is_what_is_drawn(modules):
    """On a grid in two dimensions: the density integrates to one, and to the share of points in each quadrant."""
    hooks, model, _ = modules[Stage.GENERATOR]
    rng = np.random.default_rng(1)
    density = model.Model(2, 1, hooks.PluginSettings(components=5, width=8)).double()
    density.initialise(rng)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += torch.from_numpy(rng.normal(0.0, 0.5, tuple(parameter.shape)))
    edges = torch.linspace(-15.0, 15.0, 601, dtype=torch.float64)
    x, y = torch.meshgrid(edges, edges, indexing="ij")
    grid = torch.stack([x.ravel(), y.ravel()], dim=1)
    n = 200_000
    with torch.no_grad():
        given = torch.full((1, 1), 0.7, dtype=torch.float64)
        p = density.log_density(grid, given.expand(len(grid), 1)).exp() * (edges[1] - edges[0]) ** 2
        points = density.sample(torch.from_numpy(rng.standard_normal((n, 2))), given.expand(n, 1))
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-4)
    center = torch.tensor([0.325, -0.175], dtype=torch.float64)  # between points of the grid
    for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        direction = torch.tensor(signs)
        expected = float(p[((grid - center) * direction > 0).all(dim=1)].sum())
        found = float(((points - center) * direction > 0).all(dim=1).double().mean())
        # Five standard deviations, and half a cell of the grid.
        assert found == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / n) + 5e-3)


class Peaked(Integrand):
    """The product of 3 x^2, in one channel; its integral is 1, and that of its square 1.8^d."""

    dimensions, channels, groups, features = 2, ("only",), (0,), 2

    def __call__(self, x, channel):
        return Evaluated(np.prod(3 * x**2, axis=1), np.ones((len(x), 1)), x)


@pytest.mark.physics
def test_sampler_adapts(modules):
    """A product is what the map can learn: the weights become almost equal, up to the width of the bins."""
    hooks, _, sampler = modules[Stage.PHASE_SPACE]
    made = sampler.Sampler(hooks.PluginSettings(bins=50))
    integrand = Peaked()
    made.train(integrand, 100_000, np.random.default_rng(2))
    weights = point_weights(made, integrand, made.sample(50_000, np.random.default_rng(3)))
    assert weights.mean() == pytest.approx(1.0, abs=5 * weights.std() / np.sqrt(len(weights)))
    flat = np.sqrt(1.8**2 - 1)
    assert weights.std() < 0.15 * flat


@pytest.mark.physics
def test_surrogate_learns_a_matrix_element(modules):
    """q q~ > g g, in closed form: to a percent in the median, and with errors that are about right."""
    hooks, _, surrogate = modules[Stage.AMPLITUDE]
    process, momenta, values = scattering_amplitudes(3_000, np.random.default_rng(4))
    made = surrogate.Surrogate(hooks.PluginSettings())
    made.train(process, momenta[:2_000], values[:2_000], np.random.default_rng(5))
    predicted = made.predict(momenta[2_000:])
    deviation = np.abs(predicted.value / values[2_000:] - 1)
    assert np.median(deviation) < 0.01
    inside = np.abs(predicted.value - values[2_000:]) < 2 * np.hypot(predicted.systematic, predicted.statistical)
    assert inside.mean() > 0.9
    # Like particles, and the frame, do not matter.
    np.testing.assert_allclose(made.predict(momenta[:50, [0, 1, 3, 2]]).value, made.predict(momenta[:50]).value)
    np.testing.assert_allclose(made.predict(boosted(momenta[:50])).value, made.predict(momenta[:50]).value, rtol=1e-6)


def boosted(momenta):
    """Boost along z with a velocity of 0.6."""
    result = momenta.copy()
    result[..., 3] = 1.25 * (momenta[..., 3] + 0.6 * momenta[..., 2])
    result[..., 2] = 1.25 * (momenta[..., 2] + 0.6 * momenta[..., 3])
    return result


def test_surrogate_of_a_single_network_has_no_members(modules):
    hooks, _, surrogate = modules[Stage.AMPLITUDE]
    process, momenta, values = scattering_amplitudes(500, np.random.default_rng(6))
    made = surrogate.Surrogate(hooks.PluginSettings(members=1, features=20))
    made.train(process, momenta, values, np.random.default_rng(7))
    assert made.members == 0
    assert made.predict_members(momenta).shape == (500, 0)
    assert not made.predict(momenta).statistical.any()


def test_errors_of_the_surrogate_add_up_to_the_deviations(modules, monkeypatch):
    """In quadrature, and in the logarithm: what the members' spread accounts for is no systematic error too."""
    hooks, model, surrogate = modules[Stage.AMPLITUDE]
    process, momenta, values = scattering_amplitudes(500, np.random.default_rng(6))
    apart, deviation, width, single = 0.0, 0.0, 1.0, model.Model.predict

    def two(self, inputs):
        # The standard deviation of two members is their distance over the square root of two.
        return single(self, inputs) + apart * np.array([-1.0, 1.0]) / np.sqrt(2)

    monkeypatch.setattr(model.Model, "predict", two)
    totals = []
    for share in (0.0, 0.6, 3.0):
        made = surrogate.Surrogate(hooks.PluginSettings(members=1, features=20))
        apart = share * deviation / width  # the model's unit is the spread of the logarithms
        deviation = made.train(process, momenta, values, np.random.default_rng(7)).figures["relative_error"]
        width = made.state()["target"][1]
        predicted = made.predict(momenta[:1])
        systematic = np.sqrt(np.log1p((predicted.systematic / predicted.value)[0] ** 2))
        statistical = np.log(made.predict_members(momenta[:1]))[0].std(ddof=1)
        totals.append(np.hypot(systematic, statistical) / deviation)
    assert totals[:2] == pytest.approx([1.0, 1.0], rel=1e-6)
    assert totals[2] == pytest.approx(np.hypot(3.0, surrogate.LEAST_SHARE), rel=1e-6)


class Networks:
    """A network for each member, whose layers are made in ``__init__``: what an author may put in `model.py`."""

    def __init__(self, inputs, settings):
        self.networks = [
            torch.nn.Linear(inputs, 1, device="meta", dtype=torch.float64).to_empty(device="cpu") for _ in range(3)
        ]

    def fit(self, inputs, targets, rng, progress):
        for number, network in enumerate(self.networks):
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.copy_(torch.from_numpy(rng.normal(0.0, 0.1, tuple(parameter.shape))))
            progress(Progress(number + 1, 3))
        return TrainingReport({"networks": 3}, {"loss": [1.0, 0.5]})

    def predict(self, inputs):
        with torch.no_grad():
            columns = [network(torch.from_numpy(inputs)).mean(dim=1) for network in self.networks]
        return torch.cat(columns, dim=1).numpy()

    def state(self):
        return {f"{i}.{k}": v.numpy() for i, one in enumerate(self.networks) for k, v in one.state_dict().items()}

    def load(self, state):
        for i, one in enumerate(self.networks):
            one.load_state_dict({k: torch.from_numpy(state[f"{i}.{k}"]) for k in one.state_dict()})


def test_a_model_says_itself_what_it_keeps(modules, monkeypatch):
    """Members, arrays and their shapes are the model's affair; what does not fit is refused without its help."""
    hooks, _, surrogate = modules[Stage.AMPLITUDE]
    monkeypatch.setattr(surrogate, "Model", Networks)
    process, momenta, values = scattering_amplitudes(200, np.random.default_rng(6))
    settings = hooks.PluginSettings()
    made = surrogate.Surrogate(settings)
    report = made.train(process, momenta, values, np.random.default_rng(7))
    assert report.figures["networks"] == 3
    assert report.curves == {"loss": [1.0, 0.5]}
    assert made.members == 3
    state = made.state()
    again = surrogate.Surrogate.from_state(settings, state)
    np.testing.assert_array_equal(again.predict_members(momenta), made.predict_members(momenta))
    weight = state["model.1.weight"]
    for wrong in (weight[0], np.hstack([weight, weight]), weight * np.nan):
        with pytest.raises(ModelError, match=r"model"):
            surrogate.Surrogate.from_state(settings, {**state, "model.1.weight": wrong})
    with pytest.raises(ModelError, match=r"lacks arrays of its model"):
        surrogate.Surrogate.from_state(settings, {k: v for k, v in state.items() if k != "model.2.bias"})


def use_sampler(hooks, contract):
    contract.Sampler(hooks.PluginSettings()).train(Peaked(), 1_000, np.random.default_rng(2))


def use_surrogate(hooks, contract):
    process, momenta, values = scattering_amplitudes(200, np.random.default_rng(6))
    contract.Surrogate(hooks.PluginSettings(features=10)).train(process, momenta, values, np.random.default_rng(7))


def use_unweighting(hooks, contract):
    contract.Unweighting(hooks.PluginSettings()).prepare([Candidates(np.linspace(-1.0, 2.0, 301))])


def use_calorimeter(hooks, contract):
    n, along = 20, np.tile([0.0, 0.0, 1.0], (20, 1))
    batch = ShowerBatch(np.linspace(1e3, 1e4, n), np.full(n, 22), along, np.ones((n, 8)), polar(4))
    made = contract.Surrogate(hooks.PluginSettings())
    made.train([batch], np.random.default_rng(8))
    made.generate(batch.pdg_id, batch.incident_energy, along, np.random.default_rng(9))


USES = {
    Stage.PHASE_SPACE: ("place", use_sampler),
    Stage.AMPLITUDE: ("predict", use_surrogate),
    Stage.UNWEIGHTING: ("probability", use_unweighting),
    Stage.CALORIMETER: ("voxels", use_calorimeter),
}
#: What a method may give in place of an array, and how the message says so.
WRONG = {
    "a column too many": (lambda array: array[..., None], r"float64 of shape \(.*, 1\)"),
    "transposed": (lambda array: array.T if array.ndim > 1 else array[:, None].T, r"float64 of shape \("),
    "a number": (lambda array: float(array.flat[0]), "a float"),
    "single precision": (lambda array: array.astype(np.float32), "an array of float32"),
    "a tensor": (torch.from_numpy, r"a torch\.Tensor"),
    "a list": (lambda array: array.tolist(), "a list"),
    "nothing": (lambda array: None, "None"),
    "no number": (lambda array: array * np.nan, "numbers that are not finite"),
}


@pytest.mark.parametrize("stage", USES)
@pytest.mark.parametrize("mistake", WRONG)
def test_what_a_method_gives_is_checked_in_its_own_words(modules, monkeypatch, stage, mistake):
    hooks, model, contract = modules[stage]
    method, use = USES[stage]
    change, words = WRONG[mistake]
    right = getattr(model.Model, method)

    def changed(self, *arguments):
        given = right(self, *arguments)
        return (given[0], change(given[1])) if isinstance(given, tuple) else change(given)

    monkeypatch.setattr(model.Model, method, changed)
    with pytest.raises(PluginError, match=rf"Model\.{method} \(model\.py\) gave .*{words}.*; .* expected") as caught:
        use(hooks, contract)
    assert "float64 of shape" in str(caught.value).split(";")[1]
    monkeypatch.setattr(model.Model, method, right)
    use(hooks, contract)


@pytest.mark.parametrize(
    ("stage", "method", "given", "words"),
    [
        (Stage.PHASE_SPACE, "place", lambda self, y: y, "a ndarray; a tuple of two arrays"),
        (Stage.PHASE_SPACE, "place", lambda self, y: (y + 1, y[:, 0] + 1), "outside the unit hypercube"),
        (Stage.PHASE_SPACE, "place", lambda self, y: (y, 0 * y[:, 0]), "the Jacobian 0"),
        (Stage.AMPLITUDE, "fit", lambda self, *arguments: None, "None; a mlgen.stages.TrainingReport"),
        (Stage.CALORIMETER, "learn", lambda self, *arguments: {}, "a dict; a mlgen.stages.TrainingReport"),
        (Stage.CALORIMETER, "voxels", lambda self, kind, energy, rng: np.full((len(kind), 8), -1.0), "negative"),
        (Stage.UNWEIGHTING, "choose", lambda self, size: None, "the maximum nan"),
        (Stage.UNWEIGHTING, "probability", lambda self, size: size, "not from 0 to 1"),
        (Stage.UNWEIGHTING, "probability", lambda self, size: (size > 1) * 1.0, "probability 0 for a weight"),
        (Stage.UNWEIGHTING, "probability", lambda self, size: np.ones(len(size)), "for the weight zero"),
    ],
)
def test_values_that_make_no_sense_are_told(modules, monkeypatch, stage, method, given, words):
    hooks, model, contract = modules[stage]
    monkeypatch.setattr(model.Model, method, given)
    with pytest.raises(PluginError, match=rf"Model\.{method} \(model\.py\) gave .*{words}"):
        USES[stage][1](hooks, contract)


@pytest.mark.parametrize("state", [None, {"tensor": torch.zeros(2)}, {"text": np.array(["a"])}])
def test_a_state_that_is_no_arrays_of_numbers_is_told(modules, monkeypatch, state):
    hooks, model, unweighter = modules[Stage.UNWEIGHTING]
    made = unweighter.Unweighting(hooks.PluginSettings())
    made.prepare([Candidates(np.ones(3))])
    monkeypatch.setattr(model.Model, "state", lambda self: state)
    with pytest.raises(PluginError, match=r"Model\.state \(model\.py\) gave .*NumPy arrays of numbers"):
        made.state()


@pytest.mark.physics
@pytest.mark.parametrize("power", [1.0, 0.5, 0.25])
def test_unweighting_is_exact_for_any_probability(modules, power, monkeypatch):
    """As its module says to whoever puts in another one: the mean weight is kept, and averages are."""
    hooks, model, unweighter = modules[Stage.UNWEIGHTING]
    monkeypatch.setattr(model.Model, "probability", lambda self, size: np.minimum(1.0, (size / self.maximum) ** power))
    rng = np.random.default_rng(8)
    x = rng.random(20_000)
    weight = rng.lognormal(x, 0.8) * np.where(rng.random(len(x)) < 0.2 * x, -1.0, 1.0)
    made = unweighter.Unweighting(hooks.PluginSettings(overweight_share=0.05))
    made.prepare([Candidates(weight)])
    means, averages = [], []
    for repetition in range(40):
        kept = made.unweight(Candidates(weight), np.random.default_rng([9, repetition]))
        means.append(kept.weight.mean())
        averages.append(np.sum(kept.weight * x[kept.index]) / kept.weight.sum())
    for found, expected in ((means, weight.mean()), (averages, np.average(x, weights=weight))):
        assert np.mean(found) == pytest.approx(expected, abs=5 * np.std(found, ddof=1) / np.sqrt(len(found)))
    if power == 1:
        assert made.report().overweight_share == pytest.approx(0.05, abs=0.02)


def polar(*slices: int) -> Geometry:
    edges = (0.0, 5.0, 20.0)
    return Geometry("photon", tuple(PolarLayer(i, edges, number) for i, number in enumerate(slices)))


SYMMETRIC, SHIFTED = tuple(np.linspace(-30, 30, 7)), (0.0, 10.0, 30.0)


@pytest.mark.parametrize(
    ("geometry", "ways"),
    [
        (polar(4, 8), 4),
        (polar(6, 4), 2),
        (polar(1, 3), 3),
        (polar(1, 1), 1),
        (Geometry.calogan(), 4),
        (Geometry("photon", (RectangularLayer(0, SYMMETRIC, SHIFTED),)), 2),
        (Geometry("photon", (RectangularLayer(0, SHIFTED, SHIFTED),)), 1),
        (Geometry("photon", (*polar(4).layers, RectangularLayer(1, SYMMETRIC, SYMMETRIC))), 1),
    ],
)
def test_showers_are_turned_as_a_whole(modules, geometry, ways):
    """Each way is one orthogonal map of the plane, the same for all voxels of all layers."""
    hooks, model, _ = modules[Stage.CALORIMETER]
    library = model.Model(geometry, hooks.PluginSettings())
    assert library._turns.shape == (ways, geometry.n_voxels)
    assert len(np.unique(library._turns, axis=0)) == ways
    layer = np.repeat(np.arange(len(geometry.layers)), [one.n_voxels for one in geometry.layers])
    for way in library._turns:
        assert sorted(way) == list(range(geometry.n_voxels))
        assert np.array_equal(layer[way], layer)
        matrix = np.linalg.lstsq(geometry.centres[way], geometry.centres, rcond=None)[0]
        np.testing.assert_allclose(geometry.centres[way] @ matrix, geometry.centres, atol=1e-9)
        if geometry.centres.any():
            np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-9)
    assert model.Model(geometry, hooks.PluginSettings(turned=False))._turns.shape == (1, geometry.n_voxels)


def test_showers_are_the_nearest_in_energy_scaled(modules):
    """Each is one of the five showers of its particle that are nearest, with the same share of the energy."""
    hooks, _, surrogate = modules[Stage.CALORIMETER]
    rng = np.random.default_rng(10)
    geometry = polar(4)
    energy = rng.uniform(1e3, 1e5, 400)
    pdg_id = np.where(np.arange(400) % 2, 11, 22)
    voxels = np.zeros((400, geometry.n_voxels))
    share = np.linspace(0.5, 0.9, 400)  # tells which shower it was
    voxels[:, 0] = share * energy
    along = np.tile([0.0, 0.0, 1.0], (400, 1))
    batch = ShowerBatch(energy, pdg_id, along, voxels, geometry)
    made = surrogate.Surrogate(hooks.PluginSettings(nearest=5))
    made.train([batch], rng)
    asked = np.array([500.0, 2e3, 3e4, 7e4, 3e5])
    for kind in (11, 22):
        shower = made.generate(np.full(5, kind), asked, along[:5], rng)
        found = np.abs(share - (shower.voxels.sum(axis=1) / asked)[:, None]).argmin(axis=1)
        assert np.all(pdg_id[found] == kind)
        own = np.sort(energy[pdg_id == kind])
        rank = np.searchsorted(own, energy[found])
        place = np.searchsorted(own, asked)
        assert np.all(np.abs(rank - place) <= 5)


def test_no_particle_is_lost_where_few_showers_are_kept(modules):
    hooks, _, surrogate = modules[Stage.CALORIMETER]
    rng, n = np.random.default_rng(11), 200
    pdg_id = np.where(np.arange(n) < 3, 11, 22)
    along = np.tile([0.0, 0.0, 1.0], (n, 1))
    batch = ShowerBatch(rng.uniform(1e3, 1e5, n), pdg_id, along, np.ones((n, 8)), polar(4))
    made = surrogate.Surrogate(hooks.PluginSettings(most_showers=4))
    made.train([batch], rng)
    shower = made.generate(np.array([11, 22]), np.array([1e4, 1e4]), along[:2], rng)
    assert np.all(shower.voxels > 0)
    assert len(made.state()["model.energy"]) == 7


def test_showers_of_two_calorimeters_are_refused(modules):
    hooks, _, surrogate = modules[Stage.CALORIMETER]
    one = ShowerBatch(np.array([1e3]), np.array([22]), np.array([[0.0, 0.0, 1.0]]), np.ones((1, 8)), polar(4))
    other = dataclasses.replace(one, geometry=polar(2, 2))
    made = surrogate.Surrogate(hooks.PluginSettings())
    with pytest.raises(Exception, match="showers of one calorimeter"):
        made.train([one, other], np.random.default_rng())
