"""Cross sections that are infinite at tree level: which cuts are missing, found from the lines of the diagrams.

A line without mass diverges where it can be on its mass shell at the edge of phase space:

- in the s-channel, where the massless particles that it splits into may have no mass together (collinear, or one soft);
- in the t-channel, where all particles on one of its sides are massless and may follow their beam.

A massive particle that emits a photon or gluon diverges where that may be soft. In all three, what stands between the
line and the outgoing particles has to be massless too: a heavier particle in between makes up for the divergence.

References:
    Sterman, Phys. Rev. D 17, 2773 (1978), for the power counting.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlgen.errors import ProcessError
from mlgen.hard_process.cuts import Cut, PhaseSpaceLimits, resolve_cuts
from mlgen.hard_process.diagrams import CubicDiagram, Propagator, cubic_diagrams, spell
from mlgen.hard_process.particles import particle_of
from mlgen.hard_process.settings import CutSettings

if TYPE_CHECKING:
    from mlgen.hard_process.parameters import ModelParameters
    from mlgen.hard_process.reaction import Reaction
    from mlgen.hard_process.settings import ProcessSettings
    from mlgen.hard_process.subprocess import Subprocess

#: What is suggested, for protons and for leptons, in GeV (delta_r without unit).
_SUGGESTED: Mapping[str, tuple[float, float]] = {"pt": (20, 10), "mass": (50, 10), "delta_r": (0.4, 0.4)}
#: Momenta and masses that are suggested are at most this share of the energy.
_LARGEST_SHARE = 0.1
_GLUON, _PHOTON = 21, 22
_NEUTRINOS = frozenset({12, 14, 16})
#: Divergences that a message describes.
_SHOWN = 3
#: One cut may uncover the need of the next; more rounds than any reaction takes.
_ROUNDS = 12


class Kind(enum.Enum):
    """How a line diverges."""

    SPLITTING = "s-channel"
    EXCHANGE = "t-channel"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Divergence:
    """A line that makes a cross section infinite.

    Args:
        kind: How.
        subprocess: Where.
        pdg_id: The particle that runs along the line.
        slots: The outgoing particles, counted from 0: those of the line, those that may follow a beam, or the one that
            may be soft.
    """

    kind: Kind
    subprocess: Subprocess
    pdg_id: int
    slots: tuple[int, ...]

    def words(self) -> str:
        """Return what happens, in a sentence."""
        line = particle_of(abs(self.pdg_id)).name.rstrip("+-")
        outgoing = " ".join(particle_of(self.subprocess.outgoing[slot]).name for slot in self.slots)
        if self.kind is Kind.SPLITTING:
            what = f"{outgoing} come from one line without mass ({line}), and may have no mass together"
        elif self.kind is Kind.EXCHANGE:
            what = f"{outgoing} may go along a beam, and the line that is exchanged ({line}) has no mass"
        else:
            what = f"{outgoing} comes from a massive line ({line}), and may have no energy"
        return f"in {spell(self.subprocess)}, {what}"


def refuse_divergences(reaction: Reaction, settings: ProcessSettings) -> None:
    """Refuse a reaction whose cross section is infinite inside its cuts.

    Args:
        reaction: The reaction.
        settings: Cuts, beams and energy.

    Raises:
        ProcessError: It is; names lines and particles, and cuts that make it finite.
    """
    found = list(divergences(reaction, settings.cuts, protons=settings.has_protons))
    if not found:
        return
    distinct = {(one.kind, tuple(reaction.slots[2 + slot] for slot in one.slots)): one for one in reversed(found)}
    described = sorted(distinct.values(), key=_order)
    lines = [f"  {one.words()}" for one in described[:_SHOWN]]
    if len(described) > _SHOWN:
        lines.append(f"  and {len(described) - _SHOWN} more of the kind")
    cuts = completed_cuts(reaction, settings)
    before = settings.cuts.model_dump()
    advice = [f"  {as_toml(name, bounds)}" for name, bounds in cuts if bounds != before[name]]
    raise ProcessError(
        "\n".join(
            [
                f"{reaction.text}: the cross section is infinite without further cuts:",
                *lines,
                "Write in [process.cuts], for instance (GeV):" if advice else "No cut of [process.cuts] mends that",
                *advice,
            ]
        )
    )


def completed_cuts(reaction: Reaction, settings: ProcessSettings) -> CutSettings:
    """Return the cuts of a card with those that the reaction needs besides, at usual values."""
    cuts = settings.cuts
    for _ in range(_ROUNDS):
        found = list(divergences(reaction, cuts, protons=settings.has_protons))
        # Those of fewest particles first, of pairs those that split: they often settle the others.
        first = min((_order(one) for one in found), default=())
        wanted = dict.fromkeys(cut for one in found if _order(one) == first for cut in _remedy(one, reaction))
        completed = _with_minima(cuts, wanted, settings)
        if completed == cuts:
            break
        cuts = completed
    return cuts


def divergences(reaction: Reaction, cuts: CutSettings, *, protons: bool) -> Iterator[Divergence]:
    """Yield what diverges, each line of each subprocess once.

    Args:
        reaction: The reaction.
        cuts: The card's.
        protons: Whether the partons' energy varies; otherwise it is that of the beams.

    Raises:
        ProcessError: As `mlgen.hard_process.cuts.resolve_cuts`.
    """
    resolved = resolve_cuts(cuts, reaction.subprocesses, reaction.labels)
    for subprocess, own in zip(reaction.subprocesses, resolved, strict=True):
        edges = _Edges(subprocess, reaction.parameters, own, protons)
        found: dict[Divergence, None] = {}
        for diagram in cubic_diagrams(subprocess, reaction.parameters):
            for line in diagram.propagators:
                found.update(dict.fromkeys(edges.of_line(line, diagram)))
        yield from found


def as_toml(observable: str, bounds: Mapping[str, float | tuple[float, float]]) -> str:
    """Return cuts on one observable as a card has them: ``pt = { j = 20, "mu+" = 10 }``."""
    entries = []
    for key, bound in bounds.items():
        value = f"[{bound[0]:g}, {bound[1]:g}]" if isinstance(bound, tuple) else f"{bound:g}"
        bare = key.isalnum() and key.isascii()
        entries.append(f"{key} = {value}" if bare else f'"{key}" = {value}')
    return f"{observable} = {{ {', '.join(entries)} }}"


class _Edges:
    """What the cuts leave of the edges of one subprocess's phase space."""

    def __init__(
        self, subprocess: Subprocess, parameters: ModelParameters, cuts: frozenset[Cut], protons: bool
    ) -> None:
        self._subprocess, self._parameters = subprocess, parameters
        self._protons = protons
        self._particles = [particle_of(pdg_id) for pdg_id in subprocess.outgoing]
        self._masses = [parameters.mass_of(pdg_id) for pdg_id in subprocess.outgoing]
        self._everything = frozenset(range(len(self._masses)))
        self._light = frozenset(s for s in self._everything if abs(subprocess.outgoing[s]) in (_GLUON, _PHOTON))
        self._limits = PhaseSpaceLimits(cuts, self._masses)
        self._pt = {cut.slots[0] for cut in cuts if cut.observable == "pt" and cut.minimum > 0}
        self._angle = {
            cut.slots[0]
            for cut in cuts
            if cut.maximum < math.inf
            and (cut.observable == "eta" or (cut.observable == "rapidity" and self._masses[cut.slots[0]] == 0))
        }
        self._apart = {frozenset(cut.slots) for cut in cuts if cut.observable == "delta_r" and cut.minimum > 0}
        # Two particles that go out have the same transverse momentum.
        if len(self._everything) == 2 and self._pt:
            self._pt = set(self._everything)
        self._may_be_massless = functools.cache(self._find_may_be_massless)
        self._may_follow_beam = functools.cache(self._find_may_follow_beam)

    def of_line(self, line: Propagator, diagram: CubicDiagram) -> Iterator[Divergence]:
        """Yield how one line diverges."""
        mass = self._parameters.mass_of(line.pdg_id)
        own = frozenset(leg - 2 for leg in line.legs if leg > 1)
        if mass > 0:
            if line.is_s_channel and (soft := self._soft(own, mass)) is not None:
                yield Divergence(Kind.SOFT, self._subprocess, line.pdg_id, (soft,))
        elif line.is_s_channel:
            if self._may_be_massless(own) and self._all_massless(line, own, diagram):
                yield Divergence(Kind.SPLITTING, self._subprocess, line.pdg_id, tuple(sorted(own)))
        else:
            for side in (own, self._everything - own):
                if self._may_follow_beam(side) and self._all_massless(line, side, diagram):
                    yield Divergence(Kind.EXCHANGE, self._subprocess, line.pdg_id, tuple(sorted(side)))

    def _all_massless(self, line: Propagator, slots: frozenset[int], diagram: CubicDiagram) -> bool:
        """Whether the lines between a line and outgoing particles on one of its sides are massless."""
        for other in diagram.propagators:
            outgoing = frozenset(leg - 2 for leg in other.legs if leg > 1)
            beside = not other.is_s_channel and self._everything - outgoing <= slots
            if other is not line and (outgoing <= slots or beside) and self._parameters.mass_of(other.pdg_id) > 0:
                return False
        return True

    def _find_may_be_massless(self, slots: frozenset[int]) -> bool:
        if any(self._masses[slot] for slot in slots) or self._least_mass(slots) > 0:
            return False
        # Apart from a photon or gluon that cannot be soft, a quark or lepton has to be: that does no harm.
        light = slots & self._light
        soft_fermion = len(slots) == 2 and len(light) == 1 and light <= self._pt and slots in self._apart
        return not soft_fermion

    def _least_mass(self, slots: frozenset[int]) -> float:
        """Smallest mass of some outgoing particles in GeV; infinite where it is fixed."""
        if slots != self._everything:
            return self._limits.minimum_mass(slots)
        return self._limits.minimum_energy() if self._protons else math.inf

    def _find_may_follow_beam(self, slots: frozenset[int]) -> bool:
        if any(self._masses[slot] for slot in slots) or slots & self._pt:
            return False
        rest = self._everything - slots
        # The transverse momenta of both sides balance; that of a single particle is all of its side's.
        if (len(rest) == 1 and rest & self._pt) or (len(slots) > 1 and self._limits.minimum_mass(slots) > 0):
            return False
        return not self._kept_at_an_angle(slots, rest)

    def _kept_at_an_angle(self, slots: frozenset[int], rest: frozenset[int]) -> bool:
        """Whether limits of the pseudorapidity keep particles off the beam, and their energy does not vanish instead.

        A soft quark or lepton does no harm, a soft photon or gluon does. What goes out together with one other particle
        has the same angle, or is bounded by it, where the energy of the collision is.
        """
        energy = self._limits.minimum_energy()
        if (energy > 0 or not self._protons) and any(self._particles[s].two_spin == 1 for s in slots & self._angle):
            return True
        if len(self._everything) > 2 or (self._protons and energy <= sum(self._masses) * (1 + 1e-12)):
            return False
        return bool((slots | {slot for slot in rest if not self._protons or self._masses[slot] == 0}) & self._angle)

    def _soft(self, slots: frozenset[int], mass: float) -> int | None:
        """The photon or gluon beside a particle of the given mass that may be soft."""
        light = list(slots & self._light)
        if len(slots) != 2 or len(light) != 1 or light[0] in self._pt:
            return None
        (other,) = slots.difference(light)
        emits = math.isclose(self._masses[other], mass, rel_tol=1e-9)
        return light[0] if emits and self._least_mass(slots) <= mass * (1 + 1e-12) else None


def _order(divergence: Divergence) -> tuple[int, ...]:
    return len(divergence.slots), int(len(divergence.slots) > 1 and divergence.kind is Kind.EXCHANGE)


def _remedy(divergence: Divergence, reaction: Reaction) -> Iterator[tuple[str, str]]:
    """Yield cuts, observable and key, that mend a divergence."""
    ids = {slot: abs(divergence.subprocess.outgoing[slot]) for slot in divergence.slots}
    names = {slot: reaction.slots[2 + slot] for slot in divergence.slots}
    seen = [slot for slot in divergence.slots if ids[slot] not in _NEUTRINOS]
    together = " ".join(names.values())
    if divergence.kind is not Kind.SPLITTING:
        yield from (("pt", names[slot]) for slot in seen[:1])
    elif all(11 <= pdg_id <= 16 for pdg_id in ids.values()) or len(ids) != 2 or len(seen) != 2:
        yield "mass", together
    else:
        yield from (("pt", names[slot]) for slot in seen)
        if len(divergence.subprocess.outgoing) > 2:
            yield "delta_r", together


def _with_minima(cuts: CutSettings, wanted: Iterable[tuple[str, str]], settings: ProcessSettings) -> CutSettings:
    """The cuts with minima of the observables of some particles, where they have none."""
    content = cuts.model_dump()
    for observable, names in wanted:
        # The order of the names in a key means nothing.
        same = (key for key in content[observable] if sorted(key.split()) == sorted(names.split()))
        key = next(same, names)
        bound = content[observable].get(key, 0.0)
        minimum, maximum = bound if isinstance(bound, Sequence) else (bound, math.inf)
        if minimum > 0:
            continue
        value = _SUGGESTED[observable][0 if settings.has_protons else 1]
        if observable != "delta_r":
            value = _rounded_down(min(value, _LARGEST_SHARE * settings.energy))
        value = min(value, maximum / 2)
        content[observable][key] = value if math.isinf(maximum) else (value, maximum)
    return CutSettings.model_validate(content)


def _rounded_down(value: float) -> float:
    """To one significant digit."""
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.floor(value / unit * (1 + 1e-12)) * unit:.1g}")
