"""From the text of a reaction to its subprocesses: labels expanded, conservation laws, lowest order."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlgen.errors import ProcessError
from mlgen.hard_process.diagrams import coupling_orders, spell
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import Z_PRIME, Particle, particle_of, particles_named, resolve_labels
from mlgen.hard_process.subprocess import Subprocess

if TYPE_CHECKING:
    from mlgen.hard_process.settings import ProcessSettings

_EXPECTED = "expected is a reaction such as 'g g > t t~ g': two incoming and two or more outgoing particles"

#: What other programs allow in a reaction and this one does not.
_NOT_SUPPORTED = (
    (re.compile(r"[,()]"), "decay chains (',' and brackets)", "write the decay products themselves"),
    (
        re.compile(r"[/$]"),
        "excluded particles ('/' and '$')",
        "choose channels in [process.channels]; they change the sampling, not the cross section",
    ),
    (re.compile(r"\[.*\]|@"), "loop corrections and process numbers ('[...]' and '@')", "only tree level is computed"),
    (re.compile(r"="), "coupling orders ('QED=2')", "the lowest order is taken"),
)


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction with everything that it stands for.

    Args:
        text: As the user wrote it, spaces tidied.
        beams: Names of the beam particles.
        subprocesses: All that conserve what has to be conserved and have diagrams at the lowest order. Both orders of
            the incoming particles are there where the labels hold both; outgoing particles that differ in their order
            alone are there once.
        slots: The name in the text, a particle's or a label's, that each particle stands for; incoming ones first.
        labels: The particles of every label, whether the reaction uses it or not.
        parameters: Those to compute with: a bottom quark in a proton or a jet is massless.
        remarks: What a user should know, in sentences.
    """

    text: str
    beams: tuple[str, str]
    subprocesses: tuple[Subprocess, ...]
    slots: tuple[str, ...]
    labels: Mapping[str, tuple[Particle, ...]]
    parameters: ModelParameters
    remarks: tuple[str, ...] = ()

    @property
    def outgoing(self) -> int:
        """Number of outgoing particles."""
        return len(self.slots) - 2

    @property
    def masses(self) -> tuple[float, ...]:
        """Mass of each particle in GeV, incoming ones first; the same in all subprocesses."""
        return tuple(self.parameters.mass_of(pdg_id) for pdg_id in self.subprocesses[0].pdg_ids)

    @property
    def coupling_orders(self) -> tuple[int, int]:
        """Powers of alpha_s and of alpha in |M|^2, the same in all subprocesses."""
        orders = coupling_orders(self.subprocesses[0], self.parameters)
        if orders is None:
            raise ProcessError(f"{self.text}: no diagram at tree level")
        return orders


def reaction_of(settings: ProcessSettings) -> Reaction:
    """Return the reaction of a card's section ``[process]``, checked against the energy too.

    Raises:
        ProcessError: As `parse_reaction`; or the energy is below the threshold.
    """
    reaction = parse_reaction(settings.reaction, settings.beams, settings.parameters, settings.labels)
    refuse_below_threshold(reaction, settings.energy)
    return reaction


def parse_reaction(
    text: str, beams: tuple[str, str], parameters: ModelParameters, labels: Mapping[str, str] | None = None
) -> Reaction:
    """Read a reaction and expand its labels.

    The lowest order is that with the smallest WEIGHTED = QCD + 2 QED (powers of the strong and electroweak coupling
    of the amplitude) among all subprocesses, as in MadGraph; subprocesses that only exist at higher orders are dropped.

    A reaction without labels stands for itself alone: in ``d d~ > mu- mu+`` the first beam gives the d.

    Args:
        text: For instance ``p p > mu+ mu- j``.
        beams: Beam particles: p, p~, e- or e+.
        parameters: Masses, and whether there is a Z'.
        labels: The user's labels, in addition to or in place of the default ones.

    Raises:
        ProcessError: The text is no reaction; a particle is unknown; a beam does not hold an incoming particle; charge,
            baryon number, a lepton number or colour is not conserved; there is no diagram; or particles of different
            mass would share a place.
    """
    incoming, outgoing = _sides(text)
    tidy = f"{' '.join(incoming)} > {' '.join(outgoing)}"
    known = resolve_labels(labels)
    parameters, remarks = _with_light_bottom(parameters, known, labels or {})
    slots = (*incoming, *outgoing)
    try:
        members = [particles_named(name, known) for name in slots]
    except ProcessError as error:
        raise ProcessError(f"{tidy}: {error}") from error
    for particle in itertools.chain(*members):
        if particle.pdg_id == Z_PRIME and parameters.z_prime is None:
            raise ProcessError(
                f"{tidy}: there is no Z' (zp) in the model; add one: "
                "parameters = { z_prime = { mass = 400, width = 0.5 } }"
            )
    for number, (beam, name, particles) in enumerate(zip(beams, incoming, members, strict=False), start=1):
        _refuse_what_is_not_in_beam(tidy, number, beam, name, particles, parameters)

    candidates = list(_expand(incoming, outgoing, members))
    conserving = [candidate for candidate in candidates if not _violations(candidate)]
    if not conserving:
        raise _not_conserving(tidy, candidates)
    subprocesses = _at_lowest_order(conserving, parameters)
    if not subprocesses:
        raise ProcessError(
            f"{tidy}: no diagram at tree level{_of_how_many(conserving)}. Charge, baryon and lepton numbers and colour "
            "would be conserved, but no vertices of the model (unit quark mixing matrix, no loops) join these particles"
        )
    _refuse_unequal_masses(tidy, slots, subprocesses, parameters)
    return Reaction(tidy, beams, subprocesses, slots, known, parameters, remarks)


def refuse_below_threshold(reaction: Reaction, energy: float) -> None:
    """Refuse a reaction whose outgoing masses exceed the energy.

    Raises:
        ProcessError: They do; says both in GeV.
    """
    threshold = sum(reaction.masses[2:])
    if threshold >= energy:
        raise ProcessError(
            f"{reaction.text}: the outgoing particles have a mass of {threshold:g} GeV together, and the beams an "
            f"energy of {energy:g} GeV (both together); raise the energy"
        )


def _sides(text: str) -> tuple[list[str], list[str]]:
    for pattern, what, advice in _NOT_SUPPORTED:
        if pattern.search(text):
            raise ProcessError(f"'{text}': {what} are not supported in a reaction; {advice}")
    parts = text.split(">")
    if len(parts) == 1:
        raise ProcessError(f"'{text}': there is no '>' between incoming and outgoing particles; {_EXPECTED}")
    if len(parts) > 2:
        raise ProcessError(
            f"'{text}': there are {len(parts) - 1} '>'; {_EXPECTED}. An intermediate particle cannot be asked for: "
            "all diagrams count"
        )
    incoming, outgoing = (part.split() for part in parts)
    if len(incoming) == 1:
        raise ProcessError(f"'{text}': this is a decay, of which mlgen computes none; {_EXPECTED}")
    if len(incoming) != 2:
        raise ProcessError(f"'{text}': there are {len(incoming)} incoming particles; {_EXPECTED}")
    if not outgoing:
        raise ProcessError(f"'{text}': there is no outgoing particle; {_EXPECTED}")
    if len(outgoing) == 1:
        raise ProcessError(
            f"'{text}': two particles into one have no phase space to integrate (its mass fixes the energy); "
            f"write what it decays into; {_EXPECTED}"
        )
    return incoming, outgoing


def _with_light_bottom(
    parameters: ModelParameters, known: Mapping[str, tuple[Particle, ...]], given: Mapping[str, str]
) -> tuple[ModelParameters, tuple[str, ...]]:
    holding = [label for label in ("p", "j") if any(abs(particle.pdg_id) == 5 for particle in known[label])]
    mass = parameters.mass["b"]
    if not holding or mass == 0:
        return parameters, ()
    if mass != ModelParameters().mass["b"]:
        label = holding[0]
        raise ProcessError(
            f'parameters: mass = {{ b = {mass:g} }}, but the label {label} = "{given.get(label, "")}" holds the '
            f"bottom quark, and what is in a proton or jet is massless; take b and b~ out of {label}, or set b = 0"
        )
    remark = f"The bottom quark is massless: it is in the label {' and '.join(holding)}."
    return parameters.with_mass("b", 0.0), (remark,)


def _refuse_what_is_not_in_beam(
    text: str, number: int, beam: str, name: str, particles: Iterable[Particle], parameters: ModelParameters
) -> None:
    for particle in particles:
        whose = f"{particle.name} of {name}" if particle.name != name else particle.name
        if beam in ("p", "p~"):
            parton = particle.color != 1 or particle.pdg_id == 22
            if not parton or abs(particle.pdg_id) == 6:
                raise ProcessError(
                    f"{text}: beam {number} is {beam}, which holds no {whose}; "
                    "incoming particles of a proton are g, u, d, s, c, b, their antiparticles, and a"
                )
        elif particle.name != beam:
            raise ProcessError(
                f"{text}: beam {number} is {beam}, but incoming particle {number} is {whose}; "
                f'write {beam} there, or change beams = ["...", "..."]'
            )
        mass = parameters.mass_of(particle.pdg_id)
        if mass > 0:
            key = parameters.name_of(particle.pdg_id)
            advice = f"set parameters = {{ mass = {{ {key} = 0 }} }}"
            if abs(particle.pdg_id) == 5:
                advice += ", or add b and b~ to the label p or j"
            raise ProcessError(
                f"{text}: incoming particle {number}, {whose}, has a mass of {mass:g} GeV, but what comes out of a "
                f"beam is massless here; {advice}"
            )


def _expand(
    incoming: Sequence[str], outgoing: Sequence[str], members: Sequence[tuple[Particle, ...]]
) -> Iterator[Subprocess]:
    """All choices of one particle for each name; outgoing ones that differ in their order alone are given once."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(outgoing):
        places.setdefault(name, []).append(place)
    of_name = dict(zip([*incoming, *outgoing], members, strict=True))
    choices = [itertools.combinations_with_replacement(of_name[name], len(places[name])) for name in places]
    order = [place for name in places for place in places[name]]
    seen: set[tuple[int, ...]] = set()
    finals: list[tuple[int, ...]] = []
    for choice in itertools.product(*choices):
        chosen = dict(zip(order, itertools.chain(*choice), strict=True))
        final = tuple(chosen[place].pdg_id for place in range(len(outgoing)))
        key = tuple(sorted(final))
        if key not in seen:
            seen.add(key)
            finals.append(final)
    for first, second in itertools.product(members[0], members[1]):
        for final in finals:
            yield Subprocess((first.pdg_id, second.pdg_id), final)


_LAWS = ("electric charge", "baryon number", "electron number", "muon number", "tau number")
_IN_THIRDS = ("electric charge", "baryon number")


def _numbers(pdg_id: int) -> tuple[int, ...]:
    particle = particle_of(pdg_id)
    return (particle.charge_thirds, particle.baryon_thirds, *particle.lepton_flavors)


def _totals(subprocess: Subprocess) -> list[tuple[int, int]]:
    """What comes in and what goes out of each conserved number."""
    sides = ([_numbers(pdg_id) for pdg_id in side] for side in (subprocess.incoming, subprocess.outgoing))
    incoming, outgoing = (list(map(sum, zip(*side, strict=True))) for side in sides)
    return list(zip(incoming, outgoing, strict=True))


def _violations(subprocess: Subprocess) -> list[str]:
    """What the subprocess does not conserve, in words; nothing when it conserves all."""
    found = []
    for law, (incoming, outgoing) in zip(_LAWS, _totals(subprocess), strict=True):
        if incoming != outgoing:
            before, after, change = (
                _signed(number, law in _IN_THIRDS) for number in (incoming, outgoing, outgoing - incoming)
            )
            found.append(f"{law}: {before} comes in, {after} goes out, a change of {change}")
    return found + _color_violation(subprocess)


def _color_violation(subprocess: Subprocess) -> list[str]:
    """Why the colours cannot add up to a singlet, where they cannot.

    Where baryon number is conserved, incoming and outgoing triplets balance up to threes of a kind, which make a
    singlet. What is left to go wrong is one coloured particle alone.
    """
    places = [place for place, pdg_id in enumerate(subprocess.pdg_ids) if particle_of(pdg_id).color != 1]
    if len(places) != 1:
        return []
    particle = particle_of(subprocess.pdg_ids[places[0]])
    kind = {3: "triplet", -3: "antitriplet", 8: "octet"}[particle.color]
    side = "comes in" if places[0] < 2 else "goes out"
    return [f"colour: one {kind}, {particle.name}, {side}, and nothing else has colour"]


def _signed(number: int, in_thirds: bool) -> str:
    if not in_thirds:
        return f"{number:+d}" if number else "0"
    if number % 3 == 0:
        return f"{number // 3:+d}" if number else "0"
    return f"{number:+d}/3"


def _not_conserving(text: str, candidates: Sequence[Subprocess]) -> ProcessError:
    def severity(candidate: Subprocess) -> int:
        return sum(abs(outgoing - incoming) for incoming, outgoing in _totals(candidate))

    example = min(candidates, key=severity)
    described = "\n  ".join(_violations(example))
    if len(candidates) == 1:
        return ProcessError(f"{text} is impossible; not conserved is\n  {described}")
    return ProcessError(
        f"{text} is impossible in all its {len(candidates)} subprocesses; in {spell(example)} not conserved is\n"
        f"  {described}"
    )


def _at_lowest_order(candidates: Iterable[Subprocess], parameters: ModelParameters) -> tuple[Subprocess, ...]:
    orders = {candidate: coupling_orders(candidate, parameters) for candidate in candidates}
    weighted = {candidate: order[0] + 2 * order[1] for candidate, order in orders.items() if order is not None}
    lowest = min(weighted.values(), default=0)
    return tuple(candidate for candidate, weight in weighted.items() if weight == lowest)


def _of_how_many(candidates: Sequence[Subprocess]) -> str:
    return f" in any of {len(candidates)} subprocesses" if len(candidates) > 1 else ""


def _refuse_unequal_masses(
    text: str, slots: Sequence[str], subprocesses: Sequence[Subprocess], parameters: ModelParameters
) -> None:
    for place, name in enumerate(slots):
        masses: dict[float, str] = {}
        for subprocess in subprocesses:
            pdg_id = subprocess.pdg_ids[place]
            masses.setdefault(parameters.mass_of(pdg_id), particle_of(pdg_id).name)
        if len(masses) > 1:
            listed = ", ".join(f"{particle} {mass:g} GeV" for mass, particle in sorted(masses.items()))
            raise ProcessError(
                f"{text}: particle {place + 1}, {name}, stands for particles of different mass ({listed}), which "
                "cannot share one phase space; compute them as separate reactions, or set their masses equal"
            )
