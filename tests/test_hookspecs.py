"""Every hook has a docstring with a complete example, and the example works."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
from types import ModuleType, SimpleNamespace

import pluggy
import pytest
from pydantic import BaseModel, Field

from mlgen import hookspecs
from mlgen.card import SamplerSection, StageSection, ToolSection
from mlgen.event_format import EventFormat
from mlgen.hookspecs import PLUGIN_KEYS, PROJECT, SAMPLER_KEYS, STAGE_HOOKS, TOOL_HOOKS, TOOL_KEYS, Plugin, Tool
from mlgen.stages import CAPABILITIES, CONTRACT_VERSION, CONTRACTS, Capability, Exactness, Settings, Stage

HOOKS = {
    name: function
    for name, function in vars(hookspecs).items()
    if name.startswith(f"{PROJECT}_") and inspect.isfunction(function)
}
STAGE_OF = {hook: stage for stage, hook in STAGE_HOOKS.items()}


class AnyFormat(EventFormat):
    name = "csv"
    contract_version = 1

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
    assert "Called once, " in (inspect.getdoc(HOOKS[hook]) or "")


@pytest.mark.parametrize("hook", STAGE_OF)
def test_example_of_a_stage(hook, run_example):
    made = run_example(hook)
    assert isinstance(made.offer, Plugin)
    assert made.offer.stage is STAGE_OF[hook]
    assert made.offer.factory() in made.stubs.values()
    assert issubclass(made.offer.settings, BaseModel)
    assert isinstance(made.offer.exactness, Exactness)
    assert made.offer.contract_version == CONTRACT_VERSION
    assert "contract_version=1," in example(hook)  # a literal: the host's own number would always fit
    assert CONTRACTS[made.offer.stage].__name__ in (inspect.getdoc(HOOKS[hook]) or "")


@pytest.mark.parametrize("hook", TOOL_HOOKS.values())
def test_example_of_a_tool(hook, run_example):
    made = run_example(hook)
    assert isinstance(made.offer, Tool)
    assert made.offer.factory() in made.stubs.values()


class PluginKey(Settings):
    plugin: str = ""


class ModelKey(Settings):
    folder: str = Field("", alias="model")


class ProgramKey(Settings):
    program: str = ""


PLUGIN = {
    "name": "mine",
    "stage": Stage.GENERATOR,
    "factory": lambda: object,
    "settings": Settings,
    "exactness": Exactness.EXACT,
    "summary": "",
    "contract_version": 1,
}
TOOL = {"name": "mine", "factory": lambda: object, "settings": Settings, "summary": "", "contract_version": 1}
COMMON = [
    ({"name": 3}, "has the name 3; a str is expected"),
    ({"name": " "}, "empty name"),
    ({"factory": None}, "'mine': factory is None; a function that returns the class is expected"),
    ({"settings": BaseModel}, "a subclass of mlgen.stages.Settings is expected"),
    ({"settings": Settings()}, "a subclass of mlgen.stages.Settings is expected"),
    ({"summary": None}, "'mine': summary is None; str is expected"),
    ({"references": "arXiv:1234.56789"}, "a tuple of str is expected"),
]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        *COMMON,
        ({"stage": "generator"}, "'mine': stage is 'generator'; mlgen.stages.Stage is expected"),
        ({"exactness": "exact"}, "'mine': exactness is 'exact'; mlgen.stages.Exactness is expected"),
        ({"contract_version": "1"}, "'mine': contract_version is '1'; int is expected"),
        ({"classical": "yes"}, "'mine': classical is 'yes'; bool is expected"),
        ({"shipped_model": "model"}, "'mine': shipped_model is 'model'; a function that returns a folder is expected"),
        ({"shipped_model": list}, "'mine': only a calorimeter comes with a model, and its stage is"),
        ({"capabilities": {Capability.DENSITY}}, "a frozenset of mlgen.stages.Capability is expected"),
        ({"capabilities": frozenset({"density"})}, "a frozenset of mlgen.stages.Capability is expected"),
        (
            {"capabilities": frozenset({Capability.MEMBERS})},
            "'mine': MEMBERS is a capability of amplitude, and its stage is generator",
        ),
        ({"quick_settings": [("steps", 3)]}, "a dict of settings is expected"),
        ({"quick_settings": {"steps": 3}}, "quick_settings has 'steps', which is not a setting of Settings"),
        ({"settings": PluginKey}, "PluginKey has a setting 'plugin'"),
        ({"settings": ModelKey}, "ModelKey has a setting 'model'"),
    ],
)
def test_a_plugin_with_a_wrong_field_is_refused(wrong, problem):
    Plugin(**PLUGIN)
    with pytest.raises((TypeError, ValueError), match=re.escape(problem)):
        Plugin(**PLUGIN | wrong)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        *COMMON,
        ({"requires": None}, "requires is None; str is expected"),
        ({"contract_version": None}, "'mine': contract_version is None; int is expected"),
        ({"settings": ProgramKey}, "'program'"),
    ],
)
def test_a_tool_with_a_wrong_field_is_refused(wrong, problem):
    Tool(**TOOL)
    with pytest.raises((TypeError, ValueError), match=re.escape(problem)):
        Tool(**TOOL | wrong)


def test_each_capability_belongs_to_one_stage():
    assert set(CAPABILITIES) == set(Stage)
    for stage, capabilities in CAPABILITIES.items():
        assert all(capability.stage is stage for capability in capabilities)
    assert sorted(c.name for several in CAPABILITIES.values() for c in several) == sorted(c.name for c in Capability)


def test_the_version_of_the_contracts_has_to_be_said():
    with pytest.raises(TypeError, match="contract_version"):
        Plugin(**{name: value for name, value in PLUGIN.items() if name != "contract_version"})


def test_the_keys_that_are_taken_are_those_of_the_card():
    assert set(StageSection.model_fields) == PLUGIN_KEYS
    assert set(SamplerSection.model_fields) == PLUGIN_KEYS | SAMPLER_KEYS
    assert set(ToolSection.model_fields) == TOOL_KEYS


def test_a_module_with_hooks_is_light():
    code = (
        "import sys, mlgen.hookspecs, mlgen.stages, mlgen.event_format;"
        "print({'awkward', 'torch', 'h5py', 'uproot', 'mlgen.events', 'mlgen.showers'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    assert out == b"set()\n"


def test_example_of_an_event_format(run_example):
    assert isinstance(run_example(f"{PROJECT}_event_formats").offer, EventFormat)
