"""The packages of correct and of wrong plugins: to importlib.metadata they are installed."""

from pathlib import Path

import pytest

from mlgen.plugins import plugin_manager

PACKAGES = Path(__file__).parents[1] / "packages"


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch):
    """The package of correct plugins, one of each stage."""
    monkeypatch.syspath_prepend(str(PACKAGES / "toys"))
    plugin_manager.cache_clear()


@pytest.fixture
def wrong(toys, monkeypatch: pytest.MonkeyPatch):
    """The package of plugins that are wrong, each in one way."""
    monkeypatch.syspath_prepend(str(PACKAGES / "wrong"))
    plugin_manager.cache_clear()
