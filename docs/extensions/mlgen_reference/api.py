"""Hooks, contracts and the Python interface: autodoc directives, listed from the code."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import mlgen
from mlgen import (
    cells,
    detector_simulation,
    event_format,
    events,
    generation,
    hookspecs,
    parton_shower,
    run_info,
    sampling,
    showers,
    stages,
    validation,
)
from mlgen.deprecation import DEPRECATIONS
from mlgen.hard_process import matrix_element, subprocess
from mlgen.stages import CONTRACTS, Stage
from mlgen_reference.markdown import plain, section


def _public(package: ModuleType) -> tuple[str, ...]:
    """The functions and classes that a package names in ``__all__``, without settings: those are on other pages."""
    found = {name: getattr(package, name) for name in package.__all__}
    return tuple(
        f"{package.__name__}.{name}"
        for name, value in found.items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith("mlgen.")
        and not name.endswith("ValidationSettings")
    )


#: The records that the contracts speak of and that live elsewhere.
_RECORDS: tuple[Any, ...] = (
    events.EventBatch,
    run_info.RunInfo,
    run_info.Beam,
    run_info.Process,
    run_info.Variation,
    run_info.WeightNormalisation,
    showers.ShowerBatch,
    showers.Geometry,
    showers.PolarLayer,
    showers.RectangularLayer,
    cells.CellBatch,
)
_TOOLS: tuple[Any, ...] = (
    matrix_element.MatrixElements,
    matrix_element.MatrixElement,
    matrix_element.ColorFlow,
    subprocess.Subprocess,
    parton_shower.PartonShower,
    parton_shower.ShoweredBatch,
    parton_shower.ShowerReport,
    parton_shower.Refusal,
    detector_simulation.DetectorSimulation,
    event_format.EventFormat,
    event_format.EventReader,
    event_format.EventWriter,
    event_format.ReadOptions,
    event_format.Skipped,
)
#: What a script or a notebook calls, by purpose.
_ENTRY_POINTS: Mapping[str, tuple[str, ...]] = {
    "Event files": (
        "mlgen.formats.open_events",
        "mlgen.formats.create_events",
        "mlgen.formats.EventStream",
        "mlgen.formats.Output",
    ),
    "Cards and chains": (
        "mlgen.card.load_card",
        "mlgen.card.parse_card",
        "mlgen.card.Card",
        "mlgen.chain.plan_chain",
        "mlgen.chain.run_chain",
        "mlgen.chain.train_chain",
        "mlgen.chain.plan_integration",
        "mlgen.chain.integrate",
        "mlgen.chain.RunResult",
        "mlgen.chain.StageResult",
        "mlgen.chain.IntegrationResult",
    ),
    "Trained models": (
        "mlgen.amplitudes.loading.load_amplitude",
        "mlgen.amplitudes.model.AmplitudeModel",
        "mlgen.store.read_record",
        "mlgen.store.load_model",
        "mlgen.store.model_sha256",
    ),
    "Calorimeter showers": (
        "mlgen.formats.shower_files.open_showers",
        "mlgen.formats.shower_files.write_showers",
        "mlgen.formats.shower_files.ShowerStream",
    ),
    "Validation": _public(validation),
    "Plugins": (
        "mlgen.plugins",
        "mlgen.plugins.plugin_manager",
        "mlgen.plugins.PluginManager",
    ),
    "For authors of plugins of any stage": (
        "mlgen.state_arrays.check_arrays",
        "mlgen.threads.one_thread",
        "mlgen.stages.no_progress",
    ),
    "For tests of plugins": tuple(
        f"mlgen.testing.{name}"
        for name in (
            "check_events",
            "drell_yan_events",
            "scattering_amplitudes",
            "three_photon_amplitudes",
            "showers",
            "rectangular_showers",
        )
    ),
    "For authors of samplers": ("mlgen.sampling", *_public(sampling)),
    "For authors of generators": ("mlgen.generation", *_public(generation)),
    # What examples/third_party/mlgen-boosted-mixture is made with.
    "For authors of generators without torch": (
        "mlgen.representation",
        "mlgen.representation.represent",
        "mlgen.representation.collected",
        "mlgen.representation.Representation",
        "mlgen.representation.Topology",
        "mlgen.representation.TopologyEvents",
        "mlgen.representation.DecodedEvents",
        "mlgen.representation.Labels",
        "mlgen.representation.SampleCuts",
        "mlgen.generation.drawn_labels.DrawnLabels",
        "mlgen.generation.columns.GeneratedColumns",
        "mlgen.generation.locating.located",
        "mlgen.generation.normalisation.event_weight",
        "mlgen.generation.normalisation.generated_run_info",
        "mlgen.representation.arrays.as_bytes",
        "mlgen.representation.arrays.text",
        "mlgen.representation.arrays.part",
        "mlgen.representation.arrays.floats",
        "mlgen.representation.arrays.integers",
    ),
}
#: Documented with the contracts that they belong to, or for themselves on the page.
_NOT_AMONG_RECORDS = {stages.Capability, stages.Exactness, stages.Stage, *CONTRACTS.values(), stages.Contract}


def hooks() -> dict[str, Any]:
    """All hook specifications, by name."""
    return {
        name: function
        for name, function in vars(hookspecs).items()
        if inspect.isfunction(function) and name.startswith(f"{hookspecs.PROJECT}_")
    }


def hook_reference() -> str:
    """Every hook with its docstring."""
    return "\n".join(section(2, f"`{name}`", name) + "\n" + _auto("function", hookspecs, name) for name in hooks())


def offers() -> str:
    """What hooks return."""
    parts = [section(3, f"`{name}`") + "\n" + _auto("class", hookspecs, name) for name in ("Plugin", "Tool")]
    return "\n".join(parts)


def contracts() -> str:
    """What all contracts share, and each contract."""
    out = [section(2, "What the contracts share"), _auto("class", stages, "Contract", members=True)]
    for stage in Stage:
        contract = CONTRACTS[stage]
        out += [section(2, contract.__name__), f"Stage [`{stage.value}`](card.md#{stage.value}).\n"]
        out.append(_auto("class", stages, contract.__name__, members=True))
    return "\n".join(out)


def stage_records() -> list[type[Any]]:
    """The classes of `mlgen.stages` that contracts take and give."""
    return [
        value
        for value in vars(stages).values()
        if inspect.isclass(value) and value.__module__ == stages.__name__ and value not in _NOT_AMONG_RECORDS
    ]


def records() -> str:
    """The records that contracts take and give."""
    return _classes((*stage_records(), *_RECORDS))


def tool_contracts() -> str:
    """The contracts of tools and event formats."""
    return _classes(_TOOLS)


def names() -> str:
    """What ``import mlgen`` gives."""
    listed = ", ".join(f"{{py:obj}}`{name} <{_home(name)}>`" for name in mlgen.__all__ if name[0] != "_")
    return f"`import mlgen` gives {listed}. Nothing heavy is imported before one of them is used.\n"


def _home(name: str) -> str:
    """Where the reference has a name of the package."""
    found = getattr(mlgen, name)
    module = found.__module__ if inspect.isclass(found) else "mlgen.formats"
    return f"{'mlgen.hookspecs' if name == 'hookimpl' else module}.{name}"


def entry_points() -> str:
    """The functions and classes that are meant to be called from Python."""
    out = []
    for purpose, names in _ENTRY_POINTS.items():
        out.append(section(2, purpose))
        for name in names:
            module, _, attribute = name.rpartition(".")
            if name in sys.modules:
                out.append(f"```{{eval-rst}}\n.. automodule:: {name}\n```\n")
            else:
                importlib.import_module(module)
                members = inspect.isclass(getattr(sys.modules[module], attribute))
                kind = "class" if members else "function"
                out.append(_auto(kind, sys.modules[module], attribute, members=members))
    return "\n".join(out)


def enumerations() -> str:
    """Stages and exactness."""
    return "\n".join(
        _auto("class", stages, name, members=True, undocumented=True) for name in ("Stage", "Exactness", "Capability")
    )


def contract_versions() -> str:
    """Which versions of the contracts this host speaks, and what is deprecated."""
    spoken = stages.CONTRACT_VERSIONS
    versions = f"version{'s' if len(spoken) > 1 else ''} " + ", ".join(f"`{version}`" for version in spoken)
    out = [f"mlgen {mlgen.__version__} speaks {versions} of the contracts.\n"]
    if DEPRECATIONS:
        out += ["Deprecated now:\n", *(f"- {plain(str(deprecation))}" for deprecation in DEPRECATIONS.values())]
    else:
        out.append("Nothing is deprecated now.")
    return "\n".join(out) + "\n"


def _classes(classes: Iterable[type[Any]]) -> str:
    out = []
    for found in classes:
        module = inspect.getmodule(found)
        out += [section(3, found.__name__), _auto("class", module, found.__name__, members=True)]
    return "\n".join(out)


def _auto(kind: str, module: Any, name: str, *, members: bool = False, undocumented: bool = False) -> str:
    path = f"{module.__name__ if isinstance(module, ModuleType) else module}.{name}"
    options = ["   :members:"] if members else []
    found = getattr(module, name)
    if undocumented:
        options.append("   :undoc-members:")
    elif members and inspect.isclass(found) and not dataclasses.is_dataclass(found):
        options.append("   :show-inheritance:")
    return "\n".join(["```{eval-rst}", f".. auto{kind}:: {path}", *options, "```", ""])
