import numpy as np
import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process.channels import ChannelNames, Kinematics, Line, channels_of, chosen, vertices
from mlgen.hard_process.cuts import PhaseSpaceLimits
from mlgen.hard_process.diagrams import cubic_diagrams
from mlgen.hard_process.maps import PriorWeights, Topologies, madspace_context
from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.subprocess import Subprocess

PARAMETERS = ModelParameters()


def channels_for(incoming, outgoing, slots, parameters=PARAMETERS, energy=13_000.0):
    subprocesses = [Subprocess(pair, outgoing) for pair in incoming]
    masses = tuple(parameters.mass_of(pdg_id) for pdg_id in subprocesses[0].pdg_ids)
    names = ChannelNames(slots)
    diagrams = [diagram for subprocess in subprocesses for diagram in cubic_diagrams(subprocess, parameters)]
    kinematics = Kinematics(masses, parameters, energy)
    return channels_of(diagrams, kinematics, names), names, kinematics


def test_channels_of_top_pairs_and_a_gluon_are_its_fifteen_cubic_diagrams():
    channels, names, _ = channels_for([(21, 21)], (6, -6, 21), ["t", "t~", "g"])
    named = chosen(channels, names)
    assert len({channel.name for channel in named}) == len(named) == 15
    assert "g(t t~) g(t t~ g)" in {channel.name for channel in named}
    assert "t[t] t[t g]" in {channel.name for channel in named}


def test_like_particles_are_numbered_and_names_are_unique():
    channels, names, _ = channels_for([(21, 21)], (6, -6, 21, 21), ["t", "t~", "g", "g"])
    named = chosen(channels, names)
    assert names.outgoing == ("t", "t~", "g1", "g2")
    assert len({channel.name for channel in named}) == len(named) == 105


def test_diagrams_of_the_same_kinematics_make_one_channel():
    # u, d and s quarks are massless alike; the beams the other way round make diagrams of their own.
    one, _, _ = channels_for([(2, 21)], (-13, 13, 2), ["mu+", "mu-", "j"])
    both, names, _ = channels_for([(2, 21), (21, 2)], (-13, 13, 2), ["mu+", "mu-", "j"])
    again, _, _ = channels_for([(2, 21), (21, 2), (1, 21), (21, 1)], (-13, 13, 2), ["mu+", "mu-", "j"])
    assert len(one) == 4
    assert again == both
    assert {channel.name for channel in chosen(both, names)} == {
        "a(mu+ mu-) q(mu+ mu- j)",
        "z(mu+ mu-) q(mu+ mu- j)",
        "a(mu+ mu-) q[j]",
        "z(mu+ mu-) q[j]",
        "a(mu+ mu-) q[mu+ mu-]",
        "z(mu+ mu-) q[mu+ mu-]",
    }


def test_lines_that_make_the_same_map_share_a_name():
    # The photon and the gluon between two quarks are massless both.
    channels, names, kinematics = channels_for([(2, -2)], (-13, 13), ["mu+", "mu-"])
    names.know(kinematics.line({2, 3}, 22), 21)
    channel = next(one for one in chosen(channels, names) if one.lines[0].mass == 0)
    assert channel.name == "a/g(mu+ mu-)"
    assert names.matches("a(mu+ mu-)", channel)
    assert names.matches("g(mu- mu+)", channel)


def test_width_only_where_a_line_can_be_on_its_shell():
    _, _, kinematics = channels_for([(21, 21)], (6, -6, 21), ["t", "t~", "g"])
    assert kinematics.line({2, 4}, 6) == Line((2, 4), PARAMETERS.mass_of(6), 0.0)
    _, _, kinematics = channels_for([(2, -2)], (-13, 13), ["mu+", "mu-"])
    assert kinematics.line({2, 3}, 23).width == PARAMETERS.width_of(23)
    # Named from its other side it is the same line.
    assert kinematics.line({0, 1}, 23) == kinematics.line({2, 3}, 23)


def test_resonance_without_width_is_an_error():
    def channels(incoming, outgoing, name, energy=13_000.0):
        slots = [str(slot) for slot in range(len(outgoing))]
        return channels_for([incoming], outgoing, slots, ModelParameters(width={name: 0.0}), energy)

    for incoming, outgoing, name, particle in (((2, -2), (-13, 13), "z", "z"), ((2, -1), (-13, 14), "w", r"w\+")):
        with pytest.raises(
            ProcessError, match=rf"^{particle} \(.* has no width.* particles 3 4 .*\n.*width = {{ {name} ="
        ):
            channels(incoming, outgoing, name)
    with pytest.raises(ProcessError, match=r"^t \(173 GeV\) has no width.* into particles 3 4 of the reaction"):
        channels((21, 21), (24, 5, -6), "t")
    # Below its mass; a top that only radiates; a W in the t-channel.
    assert channels((11, -11), (13, -13), "z", 60.0)
    assert channels((21, 21), (6, -6, 21), "t")
    assert channels((11, -11), (12, -12, 25), "w", 500.0)


def test_z_prime_has_a_channel_of_its_own():
    parameters = ModelParameters(z_prime=ZPrime(mass=400, width=0.5))
    channels, names, _ = channels_for([(1, -1)], (13, -13), ["mu-", "mu+"], parameters)
    assert {channel.name for channel in chosen(channels, names)} == {"a(mu- mu+)", "z(mu- mu+)", "zp(mu- mu+)"}


def test_every_vertex_joins_three_lines_and_every_line_is_there():
    channels, _, _ = channels_for([(21, 21)], (6, -6, 21, 21), ["t", "t~", "g", "g"])
    for channel in channels:
        joined = vertices(channel, 6)
        assert [len(vertex) for vertex in joined] == [3] * 4
        ends = sorted(line for vertex in joined for line in vertex)
        external = ["i0", "i1", "o0", "o1", "o2", "o3"]
        assert ends == sorted(external + 2 * ["p0", "p1", "p2"])


def test_only_and_drop():
    channels, names, _ = channels_for([(2, 21), (21, 2)], (-13, 13, 2), ["mu+", "mu-", "j"])
    z_alone = [channel.name for channel in chosen(channels, names, only=["z(mu- mu+)"])]
    assert len(z_alone) == 3
    assert all(name.startswith("z(mu+ mu-)") for name in z_alone)
    assert [channel.name for channel in chosen(channels, names, drop=["a(mu+ mu-)"])] == z_alone
    one = chosen(channels, names, only=["z(mu+ mu-)", "a(mu+ mu-)"], drop=["a(mu+ mu-)", "q[j]", "q(mu+ mu- j)"])
    assert [channel.name for channel in one] == ["z(mu+ mu-) q[mu+ mu-]"]


def test_entries_that_mean_no_channel_list_those_there_are():
    channels, names, _ = channels_for([(2, -2)], (-13, 13), ["mu+", "mu-"])
    with pytest.raises(ProcessError, match=r"drop has 'h\(mu\+ mu-\)'.*\n.*\n  a\(mu\+ mu-\)\n  z\(mu\+ mu-\)"):
        chosen(channels, names, drop=["h(mu+ mu-)"])
    with pytest.raises(ProcessError, match="leaves no channel"):
        chosen(channels, names, drop=["a(mu+ mu-)", "z(mu+ mu-)"])
    with pytest.raises(ProcessError, match=r"names 'mu', which does not go out; did you mean 'mu.'"):
        chosen(channels, names, only=["z(mu mu-)"])
    with pytest.raises(ProcessError, match="cannot be read from"):
        chosen(channels, names, only=["z mu+ mu-"])


def test_added_channels():
    channels, names, kinematics = channels_for([(21, 21)], (6, -6, 21), ["t", "t~", "g"])
    assert names.added("g(t t~ g) g(t t~)", kinematics) in channels
    new = names.added("z(t t~) g[g]", kinematics)
    assert new not in channels
    assert chosen([new], names)[0].name == "z(t t~) g[g]"
    for wrong in ("g(t t~)", "g(t t~) g(t g)", "g(t t~) g(t t~)", "g[t t~ g] g(t t~)", "g(t) g(t t~)"):
        with pytest.raises(ProcessError, match="not a tree diagram: 2 different lines"):
            names.added(wrong, kinematics)
    with pytest.raises(ProcessError, match="no particle is called 'gluon'"):
        names.added("gluon(t t~) g[g]", kinematics)


@pytest.mark.physics
def test_prior_weights_are_products_of_propagators():
    # Plehn et al., arXiv:2211.01421, eq. 4.115, from the momenta alone.
    channels, names, kinematics = channels_for([(2, 21), (21, 2)], (-13, 13, 2), ["mu+", "mu-", "j"])
    channels = chosen(channels, names)
    context = madspace_context(1)
    topologies = Topologies(channels, kinematics.masses, PhaseSpaceLimits(frozenset(), kinematics.masses[2:]))
    rng = np.random.default_rng(1)
    momenta = np.zeros((50, 5, 4))
    momenta[:, 2:, 1:] = rng.normal(0, 50, (50, 3, 3))
    momenta[:, 4, 1:] = -momenta[:, 2:4, 1:].sum(axis=1)
    momenta[:, 2:, 0] = np.sqrt((momenta[:, 2:, 1:] ** 2).sum(axis=-1))
    half = 0.5 * momenta[:, 2:, 0].sum(axis=1)
    momenta[:, :2, 0], momenta[:, 0, 3], momenta[:, 1, 3] = half[:, None], half, -half
    expected = np.ones((50, len(channels)))
    for column, channel in enumerate(channels):
        for line in channel.lines:
            flow = sum(momenta[:, leg] if leg > 1 else -momenta[:, leg] for leg in line.legs)
            squared = flow[:, 0] ** 2 - (flow[:, 1:] ** 2).sum(axis=1)
            expected[:, column] /= (squared - line.mass**2) ** 2 + (line.mass * line.width) ** 2
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(PriorWeights(channels, topologies, 5, context)(momenta), expected, rtol=1e-9)
    # Of fewer channels they are those of the ones that are left.
    left = PriorWeights(channels[:2], topologies, 5, context)(momenta)
    np.testing.assert_allclose(left, expected[:, :2] / expected[:, :2].sum(axis=1, keepdims=True), rtol=1e-9)
