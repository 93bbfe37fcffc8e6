"""Masses and widths of what decays."""

from __future__ import annotations

from functools import cache


@cache
def resonance(pdg_id: int) -> tuple[float, float] | None:
    """Return mass and width in GeV of a particle that decays at once, None for one that does not.

    The values are those of the Particle Data Group's table in the package ``particle``. A sample may have others: they
    only choose where a map is steep, and what is left of the peak is fitted.
    """
    from particle import InvalidParticle, Particle, ParticleNotFound

    try:
        found = Particle.from_pdgid(pdg_id)
    except (ParticleNotFound, InvalidParticle):
        return None
    if found.mass is None or not found.width:
        return None
    mass, width = found.mass / 1000, found.width / 1000
    # Narrower ones fly on, or are no peak beside the numbers that files are written with.
    return (mass, width) if width > 1e-4 * mass else None
