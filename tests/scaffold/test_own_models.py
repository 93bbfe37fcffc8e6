"""A model of one's own takes at most 40 edited lines of a new package, in the two files that are meant to be edited."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from mlgen.scaffold import new_plugin
from mlgen.stages import Stage

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "own_plugin.py"


@pytest.fixture(scope="module")
def own_plugin():
    specification = importlib.util.spec_from_file_location("own_plugin", BENCHMARK)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("stage", Stage, ids=lambda stage: stage.value)
def test_edited_lines(stage, own_plugin, tmp_path):
    name = own_plugin.NAMES[stage]
    new_plugin(name, stage, tmp_path / name)
    source = tmp_path / name / "src" / name.replace("-", "_")
    own = own_plugin.OWN / stage.value
    assert sorted(path.name for path in own.glob("*.py")) == ["__init__.py", "model.py"]
    counts = [own_plugin.edited(source / path.name, path) for path in own.glob("*.py")]
    added = sum(more for more, _ in counts) + (stage in own_plugin.DEPENDENCIES)
    assert 5 < added <= 40
