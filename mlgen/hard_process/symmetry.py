"""Symmetries of a hard process, and the channels that they map onto each other.

Exchanging the two beams, exchanging like outgoing particles, and CP can each leave the summed integrand as it is.
Channels that such an exchange maps onto each other are mirror images: with one map for all of them, whose momenta are
exchanged to give the others', they are the same function of the hypercube.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.hard_process.channels import Channel, Line
from mlgen.hard_process.cuts import Cut
from mlgen.hard_process.particles import find_particle, particle_of
from mlgen.hard_process.subprocess import Subprocess


@dataclass(frozen=True, slots=True)
class Symmetry:
    """A change of an event that leaves the integrand as it is.

    Args:
        permutation: Where each outgoing particle goes, counted from 0.
        swaps_beams: Turns the event by pi about the x axis, so that the beams change places: (px, -py, -pz).
        conjugates: Replaces particles by antiparticles and mirrors the event, turned so that the beams stay: (-px, py,
            pz). This is CP, which tree-level amplitudes with a real mixing matrix respect (C alone, the weak ones do
            not).
    """

    permutation: tuple[int, ...]
    swaps_beams: bool = False
    conjugates: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return not self.swaps_beams and not self.conjugates and self.permutation == tuple(range(len(self.permutation)))

    def source(self) -> tuple[int, ...]:
        """For each leg the one whose momentum it takes, the incoming ones first."""
        incoming = (1, 0) if self.swaps_beams else (0, 1)
        return incoming + tuple(2 + slot for slot in np.argsort(self.permutation).tolist())

    def signs(self) -> tuple[float, float, float, float]:
        """Factors of (energy, px, py, pz)."""
        beam = -1.0 if self.swaps_beams else 1.0
        return (1.0, -1.0 if self.conjugates else 1.0, beam, beam)

    def applied_to(self, channel: Channel, legs: int) -> Channel:
        """Return the channel that one is mapped onto."""
        image = {line: self._line(line, legs) for line in channel.lines}
        lines = sorted(image.values(), key=lambda line: (not line.is_s_channel, len(line.legs), line))
        on_shell = None if channel.on_shell is None else frozenset(image[line] for line in channel.on_shell)
        return Channel(tuple(lines), on_shell)

    def _line(self, line: Line, legs: int) -> Line:
        incoming = (1, 0) if self.swaps_beams else (0, 1)
        moved = {incoming[leg] if leg < 2 else 2 + self.permutation[leg - 2] for leg in line.legs}
        if 1 in moved:
            moved = set(range(legs)) - moved
        return Line(tuple(sorted(moved)), line.mass, line.width)


def process_symmetries(
    subprocesses: Sequence[Subprocess], beams: tuple[str, str], cuts: Sequence[frozenset[Cut]], masses: Sequence[float]
) -> tuple[Symmetry, ...]:
    """Return the symmetries of the summed integrand, the identity first.

    An exchange is one when it maps the set of subprocesses onto itself, with the densities of their incoming partons
    and with their cuts.

    Args:
        subprocesses: Those of the reaction.
        beams: Their names.
        cuts: Of each subprocess.
        masses: Of the outgoing particles, in GeV.
    """
    outgoing = len(masses)
    wanted = _content(subprocesses, beams, cuts, Symmetry(tuple(range(outgoing))))
    result = []
    for permutation in itertools.permutations(range(outgoing)):
        if any(masses[i] != masses[j] for i, j in enumerate(permutation)):
            continue
        for swaps_beams, conjugates in itertools.product((False, True), repeat=2):
            symmetry = Symmetry(permutation, swaps_beams, conjugates)
            if symmetry.is_identity or _content(subprocesses, beams, cuts, symmetry) == wanted:
                result.append(symmetry)
    return tuple(sorted(result, key=lambda symmetry: not symmetry.is_identity))


_Partons = tuple[tuple[object, ...], tuple[int, ...], frozenset[Cut]]


def _content(
    subprocesses: Sequence[Subprocess], beams: tuple[str, str], cuts: Sequence[frozenset[Cut]], symmetry: Symmetry
) -> Counter[_Partons]:
    """What is summed after an exchange: matrix element, densities and cuts of each term."""
    terms: Counter[_Partons] = Counter()
    order = (1, 0) if symmetry.swaps_beams else (0, 1)
    source = np.argsort(symmetry.permutation)
    for subprocess, own in zip(subprocesses, cuts, strict=True):
        # The density stays that of the parton before the exchange, in the beam where it was.
        densities = tuple(_density(beams[side], subprocess.incoming[side]) for side in order)
        ids = [*(subprocess.incoming[side] for side in order), *(subprocess.outgoing[slot] for slot in source)]
        if symmetry.conjugates:
            ids = [particle_of(pdg_id).anti.pdg_id for pdg_id in ids]
        terms[(densities, tuple(ids), frozenset(cut.permuted(symmetry.permutation) for cut in own))] += 1
    return terms


def _density(beam: str, pdg_id: int) -> tuple[str, int]:
    """Name the density of a parton: an antiquark in an antiproton has that of the quark in a proton."""
    if beam == "p~":
        return "p", particle_of(pdg_id).anti.pdg_id
    if beam == "p":
        return "p", pdg_id
    return "", find_particle(beam).pdg_id == pdg_id


@dataclass(frozen=True, slots=True)
class ChannelGroups:
    """Channels in groups of mirror images.

    Args:
        number: Group of each channel, from 0.
        representative: Channel of each group whose map all of its members use.
        symmetry: For each channel what makes its momenta of the representative's.
    """

    number: tuple[int, ...]
    representative: tuple[int, ...]
    symmetry: tuple[Symmetry, ...]

    def source(self) -> npt.NDArray[np.intp]:
        """For each channel and leg, the leg of the representative's event, ``(channels, particles)``."""
        return np.array([symmetry.source() for symmetry in self.symmetry])

    def signs(self) -> npt.NDArray[np.float64]:
        """For each channel the factors of (energy, px, py, pz), ``(channels, 4)``."""
        return np.array([symmetry.signs() for symmetry in self.symmetry])


def group_channels(channels: Sequence[Channel], symmetries: Sequence[Symmetry], legs: int) -> ChannelGroups:
    """Group channels: the first of each group is its representative.

    Args:
        channels: The channels.
        symmetries: Those of the process, the identity first.
        legs: Number of external particles.
    """
    index = {channel: i for i, channel in enumerate(channels)}
    number = [-1] * len(channels)
    how: list[Symmetry] = [symmetries[0]] * len(channels)
    representatives: list[int] = []
    for i, channel in enumerate(channels):
        if number[i] >= 0:
            continue
        for symmetry in symmetries:
            j = index.get(symmetry.applied_to(channel, legs))
            if j is not None and number[j] < 0:
                number[j], how[j] = len(representatives), symmetry
        representatives.append(i)
    return ChannelGroups(tuple(number), tuple(representatives), tuple(how))
