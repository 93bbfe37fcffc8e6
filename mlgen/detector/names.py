"""Names of particles, as programs and people write them."""

from __future__ import annotations

from mlgen.errors import CardError
from mlgen.showers import PDG_IDS


def particle_name(pdg_id: int) -> str:
    """Name of a particle; its PDG id when it has none."""
    from particle import InvalidParticle, Particle, ParticleNotFound

    try:
        return str(Particle.from_pdgid(pdg_id).name)
    except (ParticleNotFound, InvalidParticle):
        return str(pdg_id)


def pdg_id_of(name: str) -> int:
    """PDG id of a particle by its name (``e-``, ``photon``, ``K(L)0``) or by the id itself.

    Raises:
        CardError: No particle has that name.
    """
    from particle import Particle

    if name in PDG_IDS:
        return PDG_IDS[name]
    if name.lstrip("-").isdigit():
        return int(name)
    found = Particle.findall(lambda particle: particle.name == name)
    if not found:
        raise CardError(f"there is no particle '{name}'; give its name, for instance e-, pi+ or K(L)0, or its PDG id")
    return int(found[0].pdgid)
