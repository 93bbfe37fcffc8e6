"""Offers something that is no plugin, something of the wrong stage, and something that works."""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage


@hookimpl
def mlgen_phase_space():
    """Offer three things, one of which can be used."""
    yield {"name": "vegas++", "class": "mlgen_broken.vegas:Vegas"}
    yield Plugin(
        "misplaced", Stage.CALORIMETER, object, Settings, Exactness.APPROXIMATE, "at the wrong hook", contract_version=1
    )
    yield Plugin("listed", Stage.PHASE_SPACE, object, Settings, Exactness.EXACT, "it is listed", contract_version=1)


@hookimpl
def mlgen_event_formats():
    """Return nothing at all, where something to go through is expected."""
