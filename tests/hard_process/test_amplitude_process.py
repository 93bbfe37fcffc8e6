"""Lines of diagrams that an amplitude is told of, against those that one draws by hand."""

from __future__ import annotations

import pytest

from mlgen.hard_process.amplitude_process import amplitude_process
from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.particles import find_particle
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import InnerLine

#: Of MadGraph's model ``sm``.
TOP, TOP_WIDTH = 173.0, 1.4915
Z, Z_WIDTH = 91.188, 2.441404


def lines_of(reaction: str, parameters: ModelParameters) -> list[InnerLine]:
    incoming, outgoing = ([find_particle(name).pdg_id for name in side.split()] for side in reaction.split(">"))
    subprocess = Subprocess((incoming[0], incoming[1]), tuple(outgoing))
    process = amplitude_process(subprocess, parameters)
    assert process.pdg_ids == (*incoming, *outgoing)
    return list(process.inner_lines)


#: By hand; particles are counted from 0. In the t-channel the side of particle 0 is named.
TOP_PAIR_AND_GLUON = {
    InnerLine((2, 3)),  # g > t t~
    InnerLine((2, 3, 4)),  # g g > g
    InnerLine((2, 4), TOP, TOP_WIDTH),  # t > t g
    InnerLine((3, 4), TOP, TOP_WIDTH),  # t~ > t~ g
    InnerLine((0, 2), TOP),
    InnerLine((0, 3), TOP),
    InnerLine((0, 4)),
    InnerLine((0, 2, 3)),  # between particles 1 and 4: a gluon
    InnerLine((0, 2, 4), TOP),  # between 1 and 3
    InnerLine((0, 3, 4), TOP),  # between 1 and 2
}
MUON_PAIR_AND_GLUON = {
    InnerLine((2, 3)),  # the photon
    InnerLine((2, 3), Z, Z_WIDTH),
    InnerLine((0, 4)),  # a down quark
    InnerLine((0, 2, 3)),  # between 1 and 4: likewise
}


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        ("g g > t t~ g", TOP_PAIR_AND_GLUON),
        ("d d~ > mu- mu+ g", MUON_PAIR_AND_GLUON),
        ("d d~ > mu- mu+", {InnerLine((2, 3)), InnerLine((2, 3), Z, Z_WIDTH)}),
        ("g g > g g", {InnerLine((2, 3)), InnerLine((0, 2)), InnerLine((0, 3))}),
        # Without a loop there is no diagram.
        ("g g > ta- ta+", set()),
    ],
)
def test_the_lines_are_those_of_the_diagrams(reaction, expected):
    lines = lines_of(reaction, ModelParameters())
    assert set(lines) == expected
    assert len(lines) == len(expected), "a line is there twice"


def test_masses_and_widths_are_those_of_the_parameters():
    parameters = ModelParameters(mass={"t": 170.0}, width={"t": 2.0})
    assert set(lines_of("g g > t t~", parameters)) == {
        InnerLine((2, 3)),
        InnerLine((0, 2), 170.0),
        InnerLine((0, 3), 170.0),
    }
    assert InnerLine((2, 4), 170.0, 2.0) in lines_of("g g > t t~ g", parameters)
    subprocess = Subprocess((21, 21), (6, -6, 21))
    assert amplitude_process(subprocess, parameters).masses == (0.0, 0.0, 170.0, 170.0, 0.0)


def test_a_z_prime_is_a_resonance_of_its_own():
    parameters = ModelParameters(z_prime=ZPrime(mass=1500.0, width=40.0))
    assert set(lines_of("d d~ > mu- mu+ g", parameters)) == {*MUON_PAIR_AND_GLUON, InnerLine((2, 3), 1500.0, 40.0)}
    # Where the Z' is exchanged between the beams, its width means nothing.
    crossed = lines_of("e- d > e- d", parameters)
    assert InnerLine((0, 2), 1500.0) in crossed
    assert all(line.width == 0 for line in crossed)
