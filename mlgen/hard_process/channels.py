r"""Phase-space channels: one for each diagram with kinematics of its own, with a name that a card can use.

A channel is written as its inner lines::

    z(mu+ mu-) q[j]

``z(mu+ mu-)`` is a Z that goes into mu+ mu-: round brackets hold what a line in the s-channel decays into.
``q[j]`` is a quark in the t-channel: square brackets hold the outgoing particles on the side of the first beam.
Particles are called as in the reaction (``j`` where it says ``j``), and numbered where it has several of a name:
``g1``, ``g2``. A line has no sign: ``t(t~ g)`` is an antitop.
Massless quarks are called ``q``, because they all make the same map; lines that make the same map for other reasons
share one too, and are written ``a/g(t t~)``, for which either name will do. Where several resonances cannot be on
their mass shells at once, a diagram gives one channel for each set that can, written behind an ``@``:
``h(e- e+ mu- mu+) z(e- e+) z(mu- mu+) @ h(e- e+ mu- mu+) z(e- e+)``.

In a card, an entry of ``only`` or ``drop`` means every channel that has all of the lines it names, so that
``drop = ["a(mu+ mu-)"]`` leaves the photon out everywhere; an entry of ``add`` names all lines of a new channel.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlgen.errors import ProcessError, nearest
from mlgen.hard_process.diagrams import CubicDiagram
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import find_particle, particle_of

#: External legs: 0 and 1 come in, the rest goes out.
_FIRST_BEAM, _SECOND_BEAM = 0, 1
#: Massless quarks make the same maps whatever their flavour.
_QUARK = "q"


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One inner line, as far as a map can tell.

    Args:
        legs: External legs on the side that does not hold the second beam, ascending: those outgoing alone in the
            s-channel, those with leg 0 in the t-channel.
        mass: In GeV.
        width: In GeV; 0 where the line cannot be on its mass shell.
    """

    legs: tuple[int, ...]
    mass: float
    width: float

    @property
    def is_s_channel(self) -> bool:
        """Whether the line's momentum is that of outgoing particles alone."""
        return _FIRST_BEAM not in self.legs


@dataclass(frozen=True, slots=True)
class Channel:
    """The kinematics of one diagram.

    Args:
        lines: All inner lines, those of few legs first, as many as there are outgoing particles, less one.
        on_shell: Lines that are put on their mass shells, where not all resonances can be; None where they can.
        name: As the card has it.
    """

    lines: tuple[Line, ...]
    on_shell: frozenset[Line] | None = None
    name: str = dataclasses.field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Kinematics:
    """What lines depend on.

    Args:
        masses: Of all external particles, the incoming ones first, in GeV.
        parameters: Where masses and widths of the lines come from.
        energy: Of both beams together, in GeV.
    """

    masses: tuple[float, ...]
    parameters: ModelParameters
    energy: float

    def line(self, legs: Iterable[int], pdg_id: int) -> Line:
        """Return an inner line, from the external legs on either of its sides and the particle.

        Raises:
            ProcessError: The line is a resonance, and has no width.
        """
        side = set(legs)
        if _SECOND_BEAM in side:
            side = set(range(len(self.masses))) - side
        mass, width = self.parameters.mass_of(pdg_id), 0.0
        inside = sum(self.masses[leg] for leg in side)
        if _FIRST_BEAM not in side and mass > inside:
            width = self.parameters.width_of(pdg_id)
            if width <= 0:
                if mass < self.energy - (sum(self.masses[2:]) - inside):
                    raise self._no_width(pdg_id, side)
                # Too heavy to be reached: nearly constant, so that a massless line's map does as well.
                mass = 0.0
        return Line(tuple(sorted(side)), mass, width)

    def _no_width(self, pdg_id: int, side: set[int]) -> ProcessError:
        particles = " ".join(str(leg + 1) for leg in sorted(side))
        return ProcessError(
            f"{particle_of(pdg_id).name} ({self.parameters.mass_of(pdg_id):g} GeV) has no width, but can go on its "
            f"mass shell and decay into particles {particles} of the reaction: the cross section is infinite\n"
            f"Give it a width in GeV: parameters = {{ width = {{ {self.parameters.name_of(pdg_id)} = ... }} }}"
        )


class ChannelNames:
    """Names of channels, and what a name in a card means.

    Args:
        outgoing: What the reaction calls its outgoing particles, one for each.
    """

    def __init__(self, outgoing: Sequence[str]) -> None:
        counts = Counter(outgoing)
        seen: Counter[str] = Counter()
        names = []
        for name in outgoing:
            seen[name] += 1
            names.append(f"{name}{seen[name]}" if counts[name] > 1 else name)
        #: Name of each outgoing particle.
        self.outgoing = tuple(names)
        self._species: dict[Line, set[str]] = {}

    def know(self, line: Line, pdg_id: int) -> None:
        """Remember that a particle runs along a line."""
        self._species.setdefault(line, set()).add(_species(pdg_id, line.mass))

    def of_line(self, line: Line) -> str:
        """Return the name of a line."""
        legs = " ".join(self.outgoing[leg - 2] for leg in line.legs if leg != _FIRST_BEAM)
        species = "/".join(sorted(self._species[line]))
        return f"{species}({legs})" if line.is_s_channel else f"{species}[{legs}]"

    def of_channel(self, channel: Channel) -> str:
        """Return the name of a channel."""
        name = " ".join(map(self.of_line, channel.lines))
        if channel.on_shell is None:
            return name
        on_shell = [self.of_line(line) for line in channel.lines if line in channel.on_shell]
        return f"{name} @ {' '.join(on_shell) or 'none'}"

    def matches(self, pattern: str, channel: Channel) -> bool:
        """Return whether a channel has all the lines that an entry of a card names.

        Raises:
            ProcessError: The entry cannot be read.
        """
        lines, _, on_shell = pattern.partition("@")
        if not all(any(self._is(one, line) for line in channel.lines) for one in self._parse(pattern, lines)):
            return False
        if not on_shell.strip():
            return True
        wanted = [] if on_shell.strip() == "none" else self._parse(pattern, on_shell)
        held = channel.on_shell or frozenset()
        return len(wanted) == len(held) and all(any(self._is(one, line) for line in held) for one in wanted)

    def _is(self, written: tuple[str, bool, frozenset[int]], line: Line) -> bool:
        names, s_channel, legs = written
        own = frozenset(leg for leg in line.legs if leg != _FIRST_BEAM)
        return s_channel == line.is_s_channel and legs == own and bool(set(names.split("/")) & self._species[line])

    def _parse(self, pattern: str, text: str) -> list[tuple[str, bool, frozenset[int]]]:
        """Return the particle, whether in the s-channel, and the outgoing legs of each line."""
        result = []
        rest = text.strip()
        while rest:
            match = re.match(r"([^\s()\[\]]+)(?:\(([^()\[\]]*)\)|\[([^()\[\]]*)\])\s*", rest)
            if match is None:
                raise ProcessError(
                    f"the channel '{pattern}' cannot be read from '{rest}' on; its lines are written like z(mu+ mu-) "
                    "in the s-channel and q[j] in the t-channel"
                )
            s_channel = match[2] is not None
            result.append((match[1], s_channel, self._legs(pattern, match[2] if s_channel else match[3])))
            rest = rest[match.end() :]
        return result

    def _legs(self, pattern: str, text: str) -> frozenset[int]:
        legs = []
        for name in text.split():
            if name not in self.outgoing:
                raise ProcessError(
                    f"the channel '{pattern}' names '{name}', which does not go out{nearest(name, self.outgoing)}; "
                    f"the outgoing particles are: {' '.join(self.outgoing)}"
                )
            legs.append(self.outgoing.index(name) + 2)
        return frozenset(legs)

    def added(self, pattern: str, kinematics: Kinematics) -> Channel:
        """Return the channel that an entry of ``add`` describes.

        Raises:
            ProcessError: It is no tree with vertices of three lines.
        """
        lines = []
        for name, s_channel, legs in self._parse(pattern, pattern):
            pdg_id = 1 if name == _QUARK else find_particle(name).pdg_id
            line = kinematics.line(legs if s_channel else legs | {_FIRST_BEAM}, pdg_id)
            self.know(line, pdg_id)
            lines.append(line)
        channel, legs_in_all = _ordered(lines), len(kinematics.masses)
        if len(set(channel.lines)) != legs_in_all - 3 or not _is_cubic(channel, legs_in_all):
            raise ProcessError(
                f"the channel '{pattern}' is not a tree diagram: {legs_in_all - 3} different lines are expected, that "
                "meet three at a time"
            )
        return channel


def _species(pdg_id: int, mass: float) -> str:
    if mass == 0 and 1 <= abs(pdg_id) <= 5:
        return _QUARK
    particle = particle_of(abs(pdg_id))
    return particle.name.rstrip("+-")


def _ordered(lines: Iterable[Line], on_shell: frozenset[Line] | None = None) -> Channel:
    ordered = sorted(lines, key=lambda line: (not line.is_s_channel, len(line.legs), line))
    return Channel(tuple(ordered), on_shell)


def _is_cubic(channel: Channel, legs: int) -> bool:
    sets = [frozenset(line.legs) for line in channel.lines]
    if any(len(one) < 2 or len(one) > legs - 2 for one in sets):
        return False
    nested = all(one <= other or other <= one or not one & other for one in sets for other in sets)
    return nested and all(len(children) == 2 for children in _tree(channel, legs).values())


def _tree(channel: Channel, legs: int) -> Mapping[Line | None, list[Line | int]]:
    """For each line what it splits into, away from the second beam: lines and external legs; for None, that beam."""
    lines = sorted(channel.lines, key=lambda line: len(line.legs))
    children: dict[Line | None, list[Line | int]] = {line: [] for line in lines}
    children[None] = []
    for index, line in enumerate(lines):
        above = next((other for other in lines[index + 1 :] if set(line.legs) <= set(other.legs)), None)
        children[above].append(line)
    for leg in range(legs):
        if leg != _SECOND_BEAM:
            children[next((line for line in lines if leg in line.legs), None)].append(leg)
    return children


def vertices(channel: Channel, legs: int) -> list[list[str]]:
    """Return the vertices of a channel as madspace names lines: ``i0``, ``o0``, ``p0`` for its first line."""

    def called(line: Line | int) -> str:
        if isinstance(line, Line):
            return f"p{channel.lines.index(line)}"
        return f"i{line}" if line < 2 else f"o{line - 2}"

    return [
        ["i1" if line is None else called(line), *map(called, below)] for line, below in _tree(channel, legs).items()
    ]


def channels_of(diagrams: Iterable[CubicDiagram], kinematics: Kinematics, names: ChannelNames) -> tuple[Channel, ...]:
    """Return the channels of diagrams, each kinematics once, in the order of their diagrams.

    Raises:
        ProcessError: A resonance has no width.
    """
    cache: dict[tuple[frozenset[int], int], Line] = {}
    found: dict[Channel, None] = {}
    for diagram in diagrams:
        lines = []
        for propagator in diagram.propagators:
            key = (propagator.legs, propagator.pdg_id)
            if key not in cache:
                cache[key] = kinematics.line(*key)
                names.know(cache[key], propagator.pdg_id)
            lines.append(cache[key])
        found.setdefault(_ordered(lines))
    return tuple(found)


def chosen(
    channels: Sequence[Channel],
    names: ChannelNames,
    *,
    only: Sequence[str] = (),
    drop: Sequence[str] = (),
) -> tuple[Channel, ...]:
    """Return the named channels that a card leaves: those of `only` (all, when it is empty) without those of `drop`.

    Raises:
        ProcessError: An entry means no channel, or none is left; lists those there are.
    """
    named = [dataclasses.replace(channel, name=names.of_channel(channel)) for channel in channels]
    for key, entries in (("only", only), ("drop", drop)):
        picked = [[names.matches(entry, channel) for entry in entries] for channel in named]
        for column, entry in enumerate(entries):
            if not any(row[column] for row in picked):
                known = [channel.name for channel in named]
                raise ProcessError(
                    f"channels: {key} has '{entry}', which means no channel{nearest(entry, known)}\n{_listed(named)}"
                )
        if entries:
            left = [channel for channel, row in zip(named, picked, strict=True) if any(row) == (key == "only")]
            if not left:
                raise ProcessError(f"channels: {key} = {list(entries)} leaves no channel\n{_listed(named)}")
            named = left
    return tuple(named)


def _listed(channels: Sequence[Channel]) -> str:
    shown = [f"  {channel.name}" for channel in channels[:40]]
    more = [f"  ... and {len(channels) - 40} more"] if len(channels) > 40 else []
    return "\n".join(["the channels are:", *shown, *more])
