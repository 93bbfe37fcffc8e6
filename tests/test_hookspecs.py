"""Every hook has a docstring with a complete example, and the example works."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from types import ModuleType, SimpleNamespace

import pluggy
import pytest
from pydantic import BaseModel

from mlgen import hookspecs
from mlgen.event_format import EventFormat
from mlgen.hookspecs import PROJECT, STAGE_HOOKS, TOOL_HOOKS, Plugin, Tool
from mlgen.stages import CONTRACTS, Exactness, Stage

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if name.startswith(f"{PROJECT}_") and inspect.isfunction(function)
}
STAGE_OF = {hook: stage for stage, hook in STAGE_HOOKS.items()}


class AnyFormat(EventFormat):
    name = "csv"

    def recognises(self, head):
        return False

    def reader(self, stream, options):
        raise NotImplementedError

    def writer(self, stream, run_info):
        raise NotImplementedError


def example(hook: str) -> str:
    documentation = inspect.getdoc(HOOKS[hook]) or ""
    _, separator, code = documentation.partition("Example::\n")
    assert separator, f"the docstring of {hook} has no 'Example::'"
    return textwrap.dedent(code)


@pytest.fixture
def run_example(monkeypatch):
    """Run the example of a hook, with stubs in the place of the modules of ``my_package``."""

    def run(hook: str) -> SimpleNamespace:
        code = example(hook)
        stubs = {}
        for module, name in re.findall(r"from (my_package[\w.]*) import (\w+)", code):
            parent = ModuleType("my_package")
            stub = ModuleType(module)
            base = CONTRACTS[STAGE_OF[hook]] if hook in STAGE_OF else object
            stubs[name] = type(name, (AnyFormat if hook == f"{PROJECT}_event_formats" else base,), {})
            setattr(stub, name, stubs[name])
            monkeypatch.setitem(sys.modules, "my_package", parent)
            monkeypatch.setitem(sys.modules, module, stub)
        package = ModuleType("my_package_plugin")
        exec(compile(code, f"<example of {hook}>", "exec"), vars(package))
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(package)
        manager.check_pending()
        (offers,) = getattr(manager.hook, hook)()
        (offer,) = list(offers)
        return SimpleNamespace(offer=offer, stubs=stubs)

    return run


def test_there_are_the_hooks_of_the_design():
    assert set(HOOKS) == {*STAGE_HOOKS.values(), *TOOL_HOOKS.values(), f"{PROJECT}_event_formats"}
    assert set(STAGE_HOOKS) == set(Stage) == set(CONTRACTS)


@pytest.mark.parametrize("hook", HOOKS)
def test_docstring_says_when_it_is_called(hook):
    assert "Called when" in (inspect.getdoc(HOOKS[hook]) or "")


@pytest.mark.parametrize("hook", STAGE_OF)
def test_example_of_a_stage(hook, run_example):
    made = run_example(hook)
    assert isinstance(made.offer, Plugin)
    assert made.offer.stage is STAGE_OF[hook]
    assert made.offer.factory() in made.stubs.values()
    assert issubclass(made.offer.settings, BaseModel)
    assert isinstance(made.offer.exactness, Exactness)
    assert CONTRACTS[made.offer.stage].__name__ in (inspect.getdoc(HOOKS[hook]) or "")


@pytest.mark.parametrize("hook", TOOL_HOOKS.values())
def test_example_of_a_tool(hook, run_example):
    made = run_example(hook)
    assert isinstance(made.offer, Tool)
    assert made.offer.factory() in made.stubs.values()


def test_example_of_an_event_format(run_example):
    assert isinstance(run_example(f"{PROJECT}_event_formats").offer, EventFormat)
