"""A plugin that this host can read, but whose class speaks version 2 of the contracts."""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage


@hookimpl
def mlgen_generator():
    """Offer a generator of version 2."""
    yield Plugin(
        "streaming", Stage.GENERATOR, object, Settings, Exactness.APPROXIMATE, "generates streams", contract_version=2
    )
