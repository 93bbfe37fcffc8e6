"""The conformance kit: tests that a plugin's author inherits, one class for each contract.

The tests of a plugin package need no more than the name that it is registered under::

    from mlgen.testing import UnweighterTests

    class TestKeepAll(UnweighterTests):
        name = "keep-all"

and pytest runs everything that the contract asks: shapes and types, repeatability, saving and loading, memory, errors
in words, what the plugin says that it can do beyond its contract (`mlgen.stages.Capability`), and for an exact plugin
that its sample is unbiased. The plugin is made with the quick settings of its registration. One that is not registered
yet, or that should be tested with other settings too, is made by the class::

    class TestKeepAllOfTwo(UnweighterTests):
        def make(self) -> KeepAll:
            return KeepAll(KeepAllSettings(batches=2))

What a class draws its data from is in its attributes and methods, and can be overridden. A test that fails says which
rule was broken, and where it is documented; `rules_of` lists the rules of a stage. ``mlgen check-plugin NAME`` runs the
same tests where there is no pytest.

Statistical tests use fixed seeds, and allow five standard errors; those that an exact unweighting has to pass for a
process with a known answer fail a correct one with a probability of 1e-4 each.
"""

from __future__ import annotations

from mlgen.testing.amplitude import AmplitudeSurrogateTests
from mlgen.testing.base import ContractTests
from mlgen.testing.calorimeter import ShowerSurrogateTests
from mlgen.testing.event_rules import check_events
from mlgen.testing.generator import EventGeneratorTests
from mlgen.testing.kits import KITS, rules_of
from mlgen.testing.phase_space import PhaseSpaceSamplerTests
from mlgen.testing.samples import drell_yan_events, rectangular_showers, scattering_amplitudes, showers
from mlgen.testing.statement import Rule
from mlgen.testing.three_photons import three_photon_amplitudes
from mlgen.testing.unweighting import UnweighterTests

__all__ = [
    "KITS",
    "AmplitudeSurrogateTests",
    "ContractTests",
    "EventGeneratorTests",
    "PhaseSpaceSamplerTests",
    "Rule",
    "ShowerSurrogateTests",
    "UnweighterTests",
    "check_events",
    "drell_yan_events",
    "rectangular_showers",
    "rules_of",
    "scattering_amplitudes",
    "showers",
    "three_photon_amplitudes",
]
