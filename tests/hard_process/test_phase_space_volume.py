"""The maps cover all of phase space, with the right measure: volumes against their closed form."""

import math

import numpy as np
import pytest

from mlgen.hard_process.channels import ChannelNames, Kinematics, channels_of, chosen
from mlgen.hard_process.cuts import PhaseSpaceLimits
from mlgen.hard_process.diagrams import cubic_diagrams
from mlgen.hard_process.maps import ChannelMaps, PriorWeights, Topologies, madspace_context
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.hard_process.symmetry import Symmetry, group_channels

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


def maps_of(subprocess, *, leptonic=True, only=()):
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
    return maps, PriorWeights(channels, topologies, len(masses), context), channels


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
    assert maps.dimensions == 3 * outgoing - 4 + 2
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
