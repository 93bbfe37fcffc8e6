"""The particles that a reaction can name, and the labels that stand for several of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from mlgen.errors import ProcessError, nearest

#: PDG id of the Z', as in the PDG's numbering scheme (there Z'/Z_2^0).
Z_PRIME = 32


@dataclass(frozen=True, slots=True)
class Particle:
    """A particle and its quantum numbers.

    Args:
        pdg_id: Particle Data Group number.
        name: Name in a reaction, as in MadGraph.
        antiname: Name of its antiparticle; the same where it is its own.
        charge_thirds: Electric charge in units of e/3.
        color: Representation of SU(3): 1, 3, -3 (antitriplet) or 8.
        two_spin: Twice the spin.
        baryon_thirds: Three times the baryon number.
        lepton_flavors: Electron, muon and tau number.
    """

    pdg_id: int
    name: str
    antiname: str
    charge_thirds: int
    color: int
    two_spin: int
    baryon_thirds: int = 0
    lepton_flavors: tuple[int, int, int] = (0, 0, 0)

    @property
    def anti(self) -> Particle:
        """The antiparticle; the particle itself where it is its own."""
        if self.name == self.antiname:
            return self
        electron, muon, tau = self.lepton_flavors
        return replace(
            self,
            pdg_id=-self.pdg_id,
            name=self.antiname,
            antiname=self.name,
            charge_thirds=-self.charge_thirds,
            color=-self.color if abs(self.color) == 3 else self.color,
            baryon_thirds=-self.baryon_thirds,
            lepton_flavors=(-electron, -muon, -tau),
        )


def _quark(pdg_id: int, name: str) -> Particle:
    charge = 2 if pdg_id % 2 == 0 else -1
    return Particle(pdg_id, name, f"{name}~", charge, 3, 1, baryon_thirds=1)


def _lepton(pdg_id: int, name: str) -> Particle:
    generation = (pdg_id - 11) // 2
    flavors = (int(generation == 0), int(generation == 1), int(generation == 2))
    if pdg_id % 2 == 0:
        return Particle(pdg_id, name, f"{name}~", 0, 1, 1, lepton_flavors=flavors)
    return Particle(pdg_id, f"{name}-", f"{name}+", -3, 1, 1, lepton_flavors=flavors)


_KINDS = (
    *(_quark(pdg_id, name) for pdg_id, name in enumerate("duscbt", start=1)),
    *(_lepton(pdg_id, name) for pdg_id, name in enumerate(("e", "ve", "mu", "vm", "ta", "vt"), start=11)),
    Particle(21, "g", "g", 0, 8, 2),
    Particle(22, "a", "a", 0, 1, 2),
    Particle(23, "z", "z", 0, 1, 2),
    Particle(24, "w+", "w-", 3, 1, 2),
    Particle(25, "h", "h", 0, 1, 0),
    Particle(Z_PRIME, "zp", "zp", 0, 1, 2),
)
_BY_NAME: Mapping[str, Particle] = {particle.name: particle for kind in _KINDS for particle in (kind, kind.anti)}
_BY_PDG_ID: Mapping[int, Particle] = {particle.pdg_id: particle for particle in _BY_NAME.values()}

_PARTONS = "g u d s c u~ d~ s~ c~"

#: What the labels stand for when the card does not say otherwise, as in MadGraph with four massless flavours.
DEFAULT_LABELS: Mapping[str, str] = {
    "p": _PARTONS,
    "j": _PARTONS,
    "l+": "e+ mu+",
    "l-": "e- mu-",
    "vl": "ve vm vt",
    "vl~": "ve~ vm~ vt~",
}

#: What other programs and people call a particle here.
_ALSO_CALLED: Mapping[str, str] = {
    "gamma": "a",
    "photon": "a",
    "gluon": "g",
    "higgs": "h",
    "tau-": "ta-",
    "tau+": "ta+",
    "z'": "zp",
    "z0": "z",
    "w": "w+",
    "e": "e-",
    "mu": "mu-",
    "ta": "ta-",
    "tau": "ta-",
    "tbar": "t~",
    "bbar": "b~",
}


def particle_of(pdg_id: int) -> Particle:
    """Return the particle with a PDG id.

    Raises:
        ProcessError: There is none; lists those there are.
    """
    if pdg_id not in _BY_PDG_ID:
        raise ProcessError(
            f"no particle of the model has the PDG id {pdg_id}; there are: {' '.join(map(str, sorted(_BY_PDG_ID)))}"
        )
    return _BY_PDG_ID[pdg_id]


def find_particle(name: str) -> Particle:
    """Return the particle with a name.

    Raises:
        ProcessError: There is none; names the nearest, and all there are.
    """
    if name not in _BY_NAME:
        raise _unknown(name, {})
    return _BY_NAME[name]


def particles_named(name: str, labels: Mapping[str, tuple[Particle, ...]]) -> tuple[Particle, ...]:
    """Return the particles that a name stands for: those of a label, or the one of that name.

    Args:
        name: A particle or a label.
        labels: As `resolve_labels` returns them.

    Raises:
        ProcessError: It is neither; names the nearest, and all there are.
    """
    if name in labels:
        return labels[name]
    if name not in _BY_NAME:
        raise _unknown(name, labels)
    return (_BY_NAME[name],)


def resolve_labels(labels: Mapping[str, str] | None = None) -> dict[str, tuple[Particle, ...]]:
    """Return the particles of every label, the default ones included.

    A label may name labels that are defined before it, and its own default: ``p = "p b b~"``.

    Args:
        labels: The user's own, in addition to `DEFAULT_LABELS` or in place of one of them.

    Raises:
        ProcessError: A label has the name of a particle, is empty, names something unknown, or is a proton that has
            a quark without its antiquark.
    """
    resolved = {name: tuple(_BY_NAME[part] for part in text.split()) for name, text in DEFAULT_LABELS.items()}
    for label, text in (labels or {}).items():
        if label in _BY_NAME:
            raise ProcessError(f"the label '{label}' has the name of a particle; give it another name")
        if not re.fullmatch(r"[^\s>,()/|=]+", label):
            raise ProcessError(f"'{label}' is no name of a label: no spaces, and none of > , ( ) / | =")
        members: dict[int, Particle] = {}
        for name in re.split(r"[\s,]+", text.strip(" ,")):
            if not name:
                raise ProcessError(f"the label '{label}' stands for nothing; name its particles, separated by spaces")
            try:
                named = particles_named(name, resolved)
            except ProcessError as error:
                raise ProcessError(f"label '{label}': {error}") from error
            members |= {particle.pdg_id: particle for particle in named}
        resolved[label] = tuple(members.values())
        if label == "p":
            _refuse_proton_without_sea(resolved[label])
    return resolved


def _refuse_proton_without_sea(members: Iterable[Particle]) -> None:
    names = [particle.name for particle in members]
    alone = [particle.name for particle in members if particle.color in (3, -3) and particle.antiname not in names]
    if alone:
        missing = " ".join(_BY_NAME[name].antiname for name in alone)
        raise ProcessError(
            f"label 'p': a proton holds the antiparticle of each of its quarks too; add {missing}, "
            f'or give the label another name (p = "{" ".join(names)} {missing}")'
        )


def _unknown(name: str, labels: Mapping[str, object]) -> ProcessError:
    known = [*_BY_NAME, *labels]
    lowered = name.lower()
    if lowered in known:
        advice = f"; did you mean '{lowered}'?"
    elif lowered in _ALSO_CALLED:
        advice = f"; did you mean '{_ALSO_CALLED[lowered]}'?"
    else:
        advice = nearest(lowered, known)
    message = f"no particle{' or label' if labels else ''} is called '{name}'{advice}\nParticles: {' '.join(_BY_NAME)}"
    if labels:
        message += f"\nLabels: {' '.join(labels)}"
    return ProcessError(message)
