"""The maps cover all of phase space, with the right measure: volumes against their closed form."""

import math

import numpy as np
import pytest

from mlgen.hard_process.channels import ChannelNames, Kinematics, channels_of, chosen
from mlgen.hard_process.cuts import PhaseSpaceLimits
from mlgen.hard_process.diagrams import cubic_diagrams
from mlgen.hard_process.hard_process import HardProcess
from mlgen.hard_process.integrand import HBAR_C_SQUARED
from mlgen.hard_process.maps import ChannelMaps, PriorWeights, Topologies, madspace_context
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement, MatrixElements
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import find_particle
from mlgen.hard_process.settings import ChannelSettings, ProcessSettings
from mlgen.hard_process.subprocess import Subprocess
from mlgen.hard_process.symmetry import Symmetry, group_channels
from mlgen.stages import Settings
from mlgen_vegas.settings import VegasSettings
from mlgen_vegas.vegas_sampler import VegasSampler

ENERGY = 1000.0
#: Allowed deviation in standard deviations: once in 16,000 for each of the comparisons below.
SIGNIFICANCE = 4.0


def massless_volume(outgoing: int, energy: float) -> float:
    """Volume of the phase space of massless particles, GeV^(2 n - 4).

    Kleiss, Stirling, Ellis, Comput. Phys. Commun. 40 (1986) 359, eq. 2.14, with the factors (2 pi)^(4 - 3 n) of
    the usual measure.
    """
    kleiss = (math.pi / 2) ** (outgoing - 1) * energy ** (2 * outgoing - 4)
    kleiss /= math.factorial(outgoing - 1) * math.factorial(outgoing - 2)
    return kleiss * (2 * math.pi) ** (4 - 3 * outgoing)


def maps_of(subprocess, *, leptonic=True, only=(), parts=False):
    parameters = ModelParameters()
    masses = tuple(parameters.mass_of(pdg_id) for pdg_id in subprocess.pdg_ids)
    limits = PhaseSpaceLimits(frozenset(), masses[2:])
    names = ChannelNames([f"o{i}" for i in range(len(masses) - 2)])
    diagrams = channels_of(cubic_diagrams(subprocess, parameters), Kinematics(masses, parameters, ENERGY), names)
    context = madspace_context(1)
    topologies = Topologies(diagrams, masses, limits)
    channels = chosen(topologies.channels, names, only=only)
    identity = Symmetry(tuple(range(len(masses) - 2)))
    groups = group_channels(channels, [identity], len(masses))
    maps = ChannelMaps(
        channels,
        groups,
        topologies,
        energy=ENERGY,
        cuts=frozenset(),
        limits=limits,
        leptonic=leptonic,
        context=context,
    )
    prior = PriorWeights(channels, topologies, len(masses), context)
    return (maps, prior, channels, topologies) if parts else (maps, prior, channels)


def volume(maps, prior, channels, points, seed):
    """Estimate of the volume with channel weights, and its standard deviation."""
    rng = np.random.default_rng(seed)
    channel = np.arange(points) % channels
    momenta, _, _, jacobian = maps(rng.random((points, maps.dimensions)), channel)
    weight = jacobian * prior(momenta)[np.arange(points), channel] * channels
    return weight.mean(), weight.std() / math.sqrt(points)


@pytest.mark.physics
@pytest.mark.parametrize(
    ("outgoing", "points", "only"),
    [
        (2, 50_000, ()),
        (3, 200_000, ()),
        (4, 400_000, ()),
        (5, 400_000, ("g(o0 o1 o2 o3 o4) g(o0 o1)", "g[o0] g[o0 o1] g[o0 o1 o2] g[o0 o1 o2 o3]")),
    ],
)
def test_volume_of_massless_gluons(outgoing, points, only):
    maps, prior, channels = maps_of(Subprocess((21, 21), (21,) * outgoing), only=only)
    estimate, error = volume(maps, prior, len(channels), points, seed=outgoing)
    exact = massless_volume(outgoing, ENERGY)
    assert error < 0.02 * exact
    assert abs(estimate - exact) < SIGNIFICANCE * error


@pytest.mark.physics
@pytest.mark.parametrize("only", ["g(o0 o1) g(o0 o1 o2)", "g(o0 o1) g[o2]", "g[o0] g[o0 o1]", "g[o2] g[o1 o2]"])
def test_each_map_covers_all_of_phase_space(only):
    maps, prior, channels = maps_of(Subprocess((21, 21), (21, 21, 21)), only=[only])
    assert len(channels) == 1
    estimate, error = volume(maps, prior, 1, 200_000, seed=1)
    exact = massless_volume(3, ENERGY)
    assert error < 0.02 * exact
    assert abs(estimate - exact) < SIGNIFICANCE * error


@pytest.mark.physics
@pytest.mark.parametrize("outgoing", [2, 3])
def test_measure_of_the_momentum_fractions(outgoing):
    # The volume grows as s^(n - 2), so that its integral over x1 and x2 is that at the full energy by (n - 1)^2.
    maps, prior, channels = maps_of(Subprocess((21, 21), (21,) * outgoing), leptonic=False)
    # One less than momenta and momentum fractions have: a turn about the beams is left out.
    assert maps.dimensions == 3 * outgoing - 4 + 2 - 1
    estimate, error = volume(maps, prior, len(channels), 400_000, seed=outgoing)
    exact = massless_volume(outgoing, ENERGY) / (outgoing - 1) ** 2
    assert error < 0.02 * exact
    assert abs(estimate - exact) < SIGNIFICANCE * error


@pytest.mark.physics
def test_volume_of_two_top_quarks():
    maps, prior, channels = maps_of(Subprocess((21, 21), (6, -6)))
    estimate, error = volume(maps, prior, len(channels), 50_000, seed=3)
    velocity = math.sqrt(1 - 4 * ModelParameters().mass_of(6) ** 2 / ENERGY**2)
    assert error < 0.02 * velocity / (8 * math.pi)
    assert abs(estimate - velocity / (8 * math.pi)) < SIGNIFICANCE * error


def test_momenta_are_balanced_and_on_shell():
    maps, _, channels = maps_of(Subprocess((21, 21), (6, -6, 21)), leptonic=False)
    rng = np.random.default_rng(5)
    channel = np.arange(3000) % len(channels)
    momenta, x1, x2, jacobian = maps(rng.random((3000, maps.dimensions)), channel)
    good = jacobian > 0
    assert good.mean() > 0.99
    momenta = momenta[good]
    np.testing.assert_allclose(momenta[:, :2].sum(axis=1), momenta[:, 2:].sum(axis=1), rtol=0, atol=1e-8)
    np.testing.assert_allclose(momenta[:, 0, 3], 0.5 * ENERGY * x1[good], rtol=1e-12)
    np.testing.assert_allclose(momenta[:, 1, 3], -0.5 * ENERGY * x2[good], rtol=1e-12)
    squared = momenta[..., 0] ** 2 - (momenta[..., 1:] ** 2).sum(axis=-1)
    mass = ModelParameters().mass_of(6)
    np.testing.assert_allclose(squared, [[0, 0, mass**2, mass**2, 0]] * len(momenta), atol=1e-4)


@pytest.mark.physics
def test_a_diagram_is_shared_out_where_not_all_resonances_fit():
    # A Higgs that goes into two Z bosons has not the mass for both, so that one of three is off its mass shell.
    subprocess = Subprocess((-13, 13), (11, -11, 12, -12))
    parameters = ModelParameters()
    names = ChannelNames(["e-", "e+", "ve", "ve~"])
    kinematics = Kinematics((0.0,) * 6, parameters, ENERGY)
    diagram = names.added("z(e- e+) z(ve ve~) h(e- e+ ve ve~)", kinematics)
    context = madspace_context(1)
    limits = PhaseSpaceLimits(frozenset(), (0.0,) * 4)
    topologies = Topologies([diagram], (0.0,) * 6, limits)
    channels = chosen(topologies.channels, names)
    assert [channel.name.partition(" @ ")[2] for channel in channels] == [
        "z(e- e+) h(e- e+ ve ve~)",
        "z(ve ve~) h(e- e+ ve ve~)",
        "z(e- e+) z(ve ve~)",
    ]
    groups = group_channels(channels, [Symmetry((0, 1, 2, 3))], 6)
    maps = ChannelMaps(
        channels,
        groups,
        topologies,
        energy=ENERGY,
        cuts=frozenset(),
        limits=limits,
        leptonic=False,
        context=context,
    )
    prior = PriorWeights(channels, topologies, len(subprocess.pdg_ids), context)
    rng = np.random.default_rng(2)
    channel = np.arange(30_000) % 3
    momenta, _, _, jacobian = maps(rng.random((30_000, maps.dimensions)), channel)
    good = jacobian > 0
    np.testing.assert_allclose(prior(momenta[good]).sum(axis=1), 1, atol=1e-12)

    def mass(*legs):
        total = momenta[:, list(legs)].sum(axis=1)
        return np.sqrt(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1))

    # A channel is drawn to the resonances that it has on their shells: most of its points lie within 5 widths.
    for number, (higgs, first, second) in enumerate([(True, True, False), (True, False, True), (False, True, True)]):
        own = good & (channel == number)
        for on_shell, legs, name in ((higgs, (2, 3, 4, 5), "h"), (first, (2, 3), "z"), (second, (4, 5), "z")):
            pole, width = parameters.mass[name], parameters.width[name]
            near = np.mean(np.abs(mass(*legs)[own] - pole) < 5 * width)
            assert near > 0.8 if on_shell else near < 0.5


#: Reactions where one diagram makes several channels, with others before and behind it, and the two pairs of outgoing
#: particles that W or Z may decay into.
SEVERAL_RESONANCES = [
    ("d d~ > e+ ve mu- vm~", ((0, 1), "w"), ((2, 3), "w")),
    ("d u~ > e- ve~ mu+ mu-", ((0, 1), "w"), ((2, 3), "z")),
    ("e- e+ > vm vm~ mu+ mu-", ((0, 1), "z"), ((2, 3), "z")),
]

PDG_IDS = {"w": 24, "z": 23}


def subprocess_of(reaction):
    incoming, outgoing = ([find_particle(name).pdg_id for name in side.split()] for side in reaction.split(">"))
    return Subprocess((incoming[0], incoming[1]), tuple(outgoing))


@pytest.mark.parametrize("reaction", [reaction for reaction, _, _ in SEVERAL_RESONANCES])
def test_channels_of_one_diagram_share_its_weight(reaction):
    import madspace

    maps, prior, channels, topologies = maps_of(subprocess_of(reaction), parts=True)
    assert len({topologies.diagram(channel) for channel in channels}) < len(channels)
    channel = np.arange(4000) % len(channels)
    momenta, _, _, jacobian = maps(np.random.default_rng(8).random((4000, maps.dimensions)), channel)
    momenta = momenta[jacobian > 0]
    weights = prior(momenta)
    assert ((weights >= 0) & (weights <= 1)).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)
    # The same whatever else is in the batch, and however often it is asked for.
    np.testing.assert_array_equal(prior(momenta), weights)
    np.testing.assert_array_equal(prior(momenta[:100]), weights[:100])
    # Together they have the weight of their diagram.
    first = [of_diagram[0] for of_diagram in topologies.of_diagram]
    count = len(first)
    generator = madspace.PropagatorChannelWeights(first, [[list(range(6))]] * count, [[i] for i in range(count)])
    of_diagrams = np.asarray(madspace.FunctionRuntime(generator.function(), madspace_context(1))(momenta))
    for number in range(count):
        own = [column for column, one in enumerate(channels) if topologies.diagram(one) == number]
        np.testing.assert_allclose(weights[:, own].sum(axis=1), of_diagrams[:, number], rtol=1e-9)


def breit_wigner(squared, name):
    parameters = ModelParameters()
    mass, width = parameters.mass_of(PDG_IDS[name]), parameters.width_of(PDG_IDS[name])
    return (mass * width) ** 2 / ((squared - mass**2) ** 2 + (mass * width) ** 2)


def two_resonances(momenta, pairs):
    """Product of two resonance curves of pairs of outgoing particles; momenta as (energy, px, py, pz)."""
    value = np.ones(len(momenta))
    for slots, name in pairs:
        total = momenta[:, [slot + 2 for slot in slots]].sum(axis=1)
        value *= breit_wigner(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1), name)
    return value


def integral_of_two_resonances(energy, names):
    """By quadrature: four massless particles are two decays behind a decay into two; V_2 = sqrt(lambda) / (8 pi s)."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    squares, measures = [], []
    for name in names:
        parameters = ModelParameters()
        mass, width = parameters.mass_of(PDG_IDS[name]), parameters.width_of(PDG_IDS[name])
        # In the angle of the resonance curve, which is flat there.
        low, high = (math.atan((square - mass**2) / (mass * width)) for square in (0.0, energy**2))
        angle = 0.5 * (high - low) * (nodes + 1) + low
        squares.append(mass**2 + mass * width * np.tan(angle))
        measures.append(0.5 * (high - low) * weights * mass * width)
    s, first, second = energy**2, squares[0][:, None], squares[1][None, :]
    triangle = (s - first - second) ** 2 - 4 * first * second
    allowed = np.sqrt(first) + np.sqrt(second) < energy
    volume = np.sqrt(np.where(allowed, triangle, 0.0)) / (8 * math.pi * s) / (8 * math.pi) ** 2
    return measures[0] @ volume @ measures[1] / (2 * math.pi) ** 2


@pytest.mark.physics
@pytest.mark.parametrize(("reaction", "first", "second"), SEVERAL_RESONANCES)
def test_integral_of_two_resonances(reaction, first, second):
    maps, prior, channels = maps_of(subprocess_of(reaction))
    points = 100_000
    channel = np.arange(points) % len(channels)
    momenta, _, _, jacobian = maps(np.random.default_rng(9).random((points, maps.dimensions)), channel)
    inside = np.flatnonzero(jacobian > 0)
    weight = np.zeros(points)
    alpha = prior(momenta[inside])[np.arange(len(inside)), channel[inside]] * len(channels)
    weight[inside] = jacobian[inside] * alpha * two_resonances(momenta[inside], (first, second))
    estimate, error = weight.mean(), weight.std() / math.sqrt(points)
    exact = integral_of_two_resonances(ENERGY, (first[1], second[1]))
    assert error < 0.03 * exact
    assert abs(estimate - exact) < SIGNIFICANCE * error


class TwoResonances(MatrixElement):
    color_flows = (ColorFlow((0,) * 6, (0,) * 6),)

    def evaluate(self, momenta, alpha_s):
        return two_resonances(momenta[..., [3, 0, 1, 2]], SEVERAL_RESONANCES[-1][1:])


class TwoResonancesSource(MatrixElements):
    def prepare(self, subprocesses, parameters):
        return [TwoResonances()] * len(subprocesses)

    def fingerprint(self):
        return {"program": "test"}


@pytest.mark.physics
@pytest.mark.parametrize("only", [None, ["z(vm vm~) z(mu+ mu-)"]])
def test_vegas_gives_the_integral_of_two_resonances(only):
    reaction = SEVERAL_RESONANCES[-1][0]
    settings = ProcessSettings(
        reaction=reaction, beams=("e-", "e+"), energy=ENERGY, scale=91.188, channels=ChannelSettings(only=only)
    )
    integrand = HardProcess(settings, [TwoResonancesSource(Settings())]).integrand
    sampler = VegasSampler(VegasSettings(iterations=4, points=1000))
    sampler.train(integrand, 80_000, np.random.default_rng(5))
    drawn = sampler.sample(30_000, np.random.default_rng(6))
    evaluated = integrand(drawn.x, drawn.channel)
    alpha = sampler.channel_weights(evaluated.features, evaluated.prior)
    weight = evaluated.value * alpha[np.arange(len(drawn.x)), drawn.channel] / drawn.density
    estimate, error = weight.mean(), weight.std() / math.sqrt(len(weight))
    exact = HBAR_C_SQUARED / (2 * ENERGY**2) * integral_of_two_resonances(ENERGY, ("z", "z"))
    assert error < 0.01 * exact
    assert abs(estimate - exact) < SIGNIFICANCE * error
