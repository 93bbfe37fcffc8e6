from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def madgraph_model() -> dict[str, Any]:
    """MadGraph's model ``sm`` (UFO, as JSON), which pyamplicol carries: particles, vertices, parameters."""
    # Not imported: symbolica, which comes with it, lets one process at a time live.
    spec = importlib.util.find_spec("pyamplicol")
    if spec is None or spec.origin is None:
        pytest.skip("pyamplicol, which carries MadGraph's model, is not installed")
    folder = Path(spec.origin).parent / "assets/models/json/sm"
    model: dict[str, Any] = json.loads((folder / "sm.json").read_text())
    model["restriction"] = json.loads((folder / "restrict_default.json").read_text())
    return model
