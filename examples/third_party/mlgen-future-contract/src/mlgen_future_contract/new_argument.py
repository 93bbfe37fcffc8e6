"""An argument of `Plugin` that this host does not have."""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage


@hookimpl
def mlgen_calorimeter():
    """Offer a calorimeter that knows about time."""
    yield Plugin(
        "timed",
        Stage.CALORIMETER,
        object,
        Settings,
        Exactness.APPROXIMATE,
        "hits in time",
        contract_version=2,
        time=True,
    )
