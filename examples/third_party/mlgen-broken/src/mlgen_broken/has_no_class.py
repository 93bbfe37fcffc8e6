"""Everything is in order until a card asks for the plugin."""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage


def missing():
    """Import what is not there."""
    from mlgen_broken.network import Network

    return Network


@hookimpl
def mlgen_generator():
    """Offer two generators that cannot be made."""
    yield Plugin(
        "hollow", Stage.GENERATOR, missing, Settings, Exactness.APPROXIMATE, "has no class", contract_version=1
    )
    yield Plugin(
        "no-generator", Stage.GENERATOR, lambda: dict, Settings, Exactness.APPROXIMATE, "a dict", contract_version=1
    )
