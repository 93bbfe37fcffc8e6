"""For authors of event generators: everything between a density of points and a generator of events.

A generator that learns its events from a file is a subclass of `LearnedGenerator` with one method, which makes a
`PointDensity`: a torch module with a loss, a way to draw points and, where it has one, the log of its density. Momenta,
masses, flavours, colour flow, helicities, couplings, weights, several multiplicities, mirror images, Bayesian networks,
nuisance parameters and the discriminator are the same for all, and are here.

Settings are a subclass of `LearnedGeneratorSettings`, which can be imported without torch; the others are imported when
they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlgen.generation.settings import LearnedGeneratorSettings

if TYPE_CHECKING:
    from mlgen.generation.density import FamilyDensity, PointDensity
    from mlgen.generation.learned_generator import LearnedGenerator

__all__ = ["FamilyDensity", "LearnedGenerator", "LearnedGeneratorSettings", "PointDensity"]

_MODULES = {"FamilyDensity": "density", "PointDensity": "density", "LearnedGenerator": "learned_generator"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'mlgen.generation' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"mlgen.generation.{_MODULES[name]}"), name)
