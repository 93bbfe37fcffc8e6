"""A plugin for an mlgen that is not there yet: it uses a module, a hook and an argument of that version.

The package says that it needs ``mlgen-hep>=9``. A host that is older has to say so, and not what goes wrong first.
"""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.quantum import Annealing  # comes with mlgen 9
from mlgen.stages import Exactness, Settings, Stage


@hookimpl
def mlgen_generator():
    """Offer a generator, with an argument that mlgen 9 knows."""
    yield Plugin(
        "future-flow",
        Stage.GENERATOR,
        Annealing,
        Settings,
        Exactness.EXACT,
        "exact by construction",
        contract_version=4,
        qubits=128,
    )


@hookimpl
def mlgen_annealers():
    """Offer an annealer, at a hook that mlgen 9 has."""
    yield Annealing
