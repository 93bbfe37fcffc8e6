"""The Pythia 8 library, imported when it is needed."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from mlgen.errors import PluginError

DISTRIBUTION = "pythia8mc"


def pythia8() -> Any:
    """Return the module.

    Raises:
        PluginError: It is not installed, or is too old; says how to get it.
    """
    try:
        import pythia8mc
    except ImportError as error:
        raise PluginError(
            f"the parton shower 'pythia8' needs the package {DISTRIBUTION}, which cannot be imported ({error}); "
            "install it with: pip install mlgen-hep[pythia8]"
        ) from error
    if not hasattr(pythia8mc.Pythia, "nextBatch"):
        raise PluginError(
            f"the parton shower 'pythia8' needs {DISTRIBUTION} 8.311 or newer, and this is {version()}; "
            "install it with: pip install --upgrade mlgen-hep[pythia8]"
        )
    return pythia8mc


def version() -> str:
    """Version of the installed package."""
    return importlib.metadata.version(DISTRIBUTION)
