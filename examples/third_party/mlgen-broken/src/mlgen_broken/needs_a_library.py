"""Imports a library that is not installed, at the top."""

import surely_not_installed_anywhere  # noqa: F401 - that it cannot be imported is what this module is for

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage


@hookimpl
def mlgen_generator():
    """Offer `quantum`, which nobody gets to see."""
    yield Plugin(
        "quantum", Stage.GENERATOR, object, Settings, Exactness.APPROXIMATE, "never loaded", contract_version=1
    )
