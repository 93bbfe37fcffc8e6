"""The plugins that come with mlgen; what else is installed where the documentation is built is left out."""

from __future__ import annotations

import functools

from mlgen.plugins import PluginManager


@functools.cache
def plugins() -> PluginManager:
    """Return them, loaded once."""
    return PluginManager(third_party=False)
