"""mlgen: machine-learned models in place of stages of a particle-physics Monte Carlo chain.

Nothing heavy is imported here; the names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from mlgen.events import EventBatch
    from mlgen.formats import create_events, open_events
    from mlgen.hookspecs import Plugin, Tool, hookimpl
    from mlgen.run_info import RunInfo

_HOMES = {
    "EventBatch": "mlgen.events",
    "Plugin": "mlgen.hookspecs",
    "RunInfo": "mlgen.run_info",
    "Tool": "mlgen.hookspecs",
    "create_events": "mlgen.formats",
    "hookimpl": "mlgen.hookspecs",
    "open_events": "mlgen.formats",
}

__all__ = ["EventBatch", "Plugin", "RunInfo", "Tool", "__version__", "create_events", "hookimpl", "open_events"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mlgen' has no attribute '{name}'")
