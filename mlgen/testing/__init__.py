"""The conformance kit: tests that a plugin's author inherits, one class for each contract.

The tests of a plugin package begin with::

    from mlgen.testing import UnweighterTests
    from my_package.keep_all import KeepAll, KeepAllSettings

    class TestKeepAll(UnweighterTests):
        name = "keep-all"  # as registered; leave it out while it is not

        def make(self) -> KeepAll:
            return KeepAll(KeepAllSettings())

and pytest runs everything that the contract asks: shapes and types, repeatability, saving and loading, errors in
words, and for an exact plugin that its sample is unbiased. What a class draws its data from is in its attributes and
methods, and can be overridden. A test that fails says which rule was broken.

Statistical tests use fixed seeds, and allow five standard errors; those that an exact unweighting has to pass for a
process with a known answer fail a correct one with a probability of 1e-4 each.
"""

from __future__ import annotations

from mlgen.testing.amplitude import AmplitudeSurrogateTests
from mlgen.testing.base import ContractTests
from mlgen.testing.calorimeter import ShowerSurrogateTests
from mlgen.testing.event_rules import check_events
from mlgen.testing.generator import EventGeneratorTests
from mlgen.testing.phase_space import PhaseSpaceSamplerTests
from mlgen.testing.samples import drell_yan_events, scattering_amplitudes, showers
from mlgen.testing.unweighting import UnweighterTests

__all__ = [
    "AmplitudeSurrogateTests",
    "ContractTests",
    "EventGeneratorTests",
    "PhaseSpaceSamplerTests",
    "ShowerSurrogateTests",
    "UnweighterTests",
    "check_events",
    "drell_yan_events",
    "scattering_amplitudes",
    "showers",
]
