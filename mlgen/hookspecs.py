"""Every hook of mlgen, each with a complete example.

A package takes part by declaring an entry point in the group ``mlgen`` that names a module (or object) with
functions decorated by `hookimpl`::

    [project.entry-points.mlgen]
    my_plugin = "my_package.mlgen_plugin"

A hook is called once in a process, at the earliest when a command needs to know what there is; it must be quick and
must not import torch or train anything. The classes it names are made only when a card asks for them. What a hook
offers is checked at once, and what cannot be used is shown by ``mlgen plugins``, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

from mlgen.stages import Capability, Exactness, Settings, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from mlgen.event_format import EventFormat

PROJECT = "mlgen"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

#: Keys of a stage's section that are the card's own, and cannot be settings of a plugin.
PLUGIN_KEYS = frozenset({"plugin", "model"})
#: Further keys of the section of a sampler of phase space.
SAMPLER_KEYS = frozenset({"budget"})
#: Further keys of the section of an amplitude surrogate.
AMPLITUDE_KEYS = frozenset(
    {
        "points",
        "draw",
        "file",
        "momenta",
        "values",
        "alpha_s",
        "test_points",
        "outside",
        "outside_share",
        "variations",
    }
)
#: Further keys of the section of a calorimeter.
CALORIMETER_KEYS = frozenset(
    {
        "showers",
        "geometry",
        "particle",
        "acceptance",
        "minimum_energy",
        "radius",
        "half_length",
        "magnetic_field",
        "layer_depths",
        "x_axis",
        "cell_size",
        "stand_ins",
        "unknown",
        "outside",
    }
)
#: Keys of a stage's section that are the card's own, beside those of every stage.
STAGE_KEYS = {
    Stage.PHASE_SPACE: SAMPLER_KEYS,
    Stage.AMPLITUDE: AMPLITUDE_KEYS,
    Stage.CALORIMETER: CALORIMETER_KEYS,
}
#: Keys of a tool's section that are the card's own.
TOOL_KEYS = frozenset({"program"})


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin of one stage.

    Args:
        name: As in the card: ``plugin = "name"``.
        stage: The stage it can replace.
        factory: Returns the class that implements the stage's contract; called when a card asks for the plugin,
            so that heavy imports wait until then.
        settings: The pydantic model of the plugin's section of the card.
        exactness: Whether the sample is right whatever was learned.
        summary: One line for ``mlgen plugins``.
        references: Papers, as ``arXiv:1234.56789``.
        contract_version: The version of the contracts that it was written for, as a number: ``contract_version=1``,
            not `mlgen.stages.CONTRACT_VERSION`, which is that of whatever mlgen is installed.
        classical: Whether it is the tool that a chain uses where the card names none; one plugin of a stage.
        capabilities: What it can do beyond its contract; the conformance kit tests all of it.
        quick_settings: Settings with which a training takes seconds, whatever comes of it: what the conformance kit
            and ``mlgen check-plugin`` train with.
        shipped_model: Returns the folder of a trained model that comes with the package, of a calorimeter: it is used
            where the card names neither a model nor data to train one. Called when a card asks for it; the folder is
            read, never written. None: there is no such model.

    Raises:
        TypeError: A field is of another type.
        ValueError: The name is empty, the settings use a key that the card has taken, the quick settings are not among
            the settings, or a capability belongs to another stage.
    """

    name: str
    stage: Stage
    factory: Callable[[], type[Any]]
    settings: type[Settings]
    exactness: Exactness
    summary: str
    references: tuple[str, ...] = ()
    contract_version: int = field(kw_only=True)
    classical: bool = field(default=False, kw_only=True)
    capabilities: frozenset[Capability] = field(default=frozenset(), kw_only=True)
    quick_settings: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    shipped_model: Callable[[], Path] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        what = _named("plugin", self.name)
        _require(what, "stage", self.stage, Stage)
        _require(what, "exactness", self.exactness, Exactness)
        _require(what, "contract_version", self.contract_version, int)
        _require(what, "classical", self.classical, bool)
        _check_capabilities(what, self.stage, self.capabilities)
        if self.shipped_model is not None:
            if not callable(self.shipped_model):
                raise TypeError(
                    f"{what}: shipped_model is {self.shipped_model!r}; a function that returns a folder is expected"
                )
            if self.stage is not Stage.CALORIMETER:
                raise ValueError(f"{what}: only a calorimeter comes with a model, and its stage is {self.stage.value}")
        taken = PLUGIN_KEYS | STAGE_KEYS.get(self.stage, frozenset())
        _check_common(what, self.factory, self.settings, self.summary, self.references, taken)
        _check_quick_settings(what, self.settings, self.quick_settings)


@dataclass(frozen=True, slots=True)
class Tool:
    """A program around the chain: a matrix element, a parton shower, a detector simulation.

    Args:
        name: As in the card: ``program = "name"``.
        factory: Returns the class that drives it; called when a card asks for it.
        settings: The pydantic model of its section of the card.
        summary: One line for ``mlgen plugins``.
        requires: The extra that installs what it needs, for instance ``pythia8``.
        references: Papers, as ``arXiv:1234.56789``.
        contract_version: As of a `Plugin`.

    Raises:
        TypeError: A field is of another type.
        ValueError: The name is empty, or the settings use a key that the card has taken.
    """

    name: str
    factory: Callable[[], type[Any]]
    settings: type[Settings]
    summary: str
    requires: str = ""
    references: tuple[str, ...] = ()
    contract_version: int = field(kw_only=True)

    def __post_init__(self) -> None:
        what = _named("tool", self.name)
        _require(what, "contract_version", self.contract_version, int)
        _require(what, "requires", self.requires, str)
        _check_common(what, self.factory, self.settings, self.summary, self.references, TOOL_KEYS)


def _named(kind: str, name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a {kind} has the name {name!r}; a str is expected")
    if not name.strip():
        raise ValueError(f"a {kind} has an empty name")
    return f"{kind} '{name}'"


def _require(what: str, field_name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        expected = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        raise TypeError(f"{what}: {field_name} is {value!r}; {expected} is expected")


def _check_capabilities(what: str, stage: Stage, capabilities: object) -> None:
    if not (isinstance(capabilities, frozenset) and all(isinstance(one, Capability) for one in capabilities)):
        raise TypeError(f"{what}: capabilities is {capabilities!r}; a frozenset of mlgen.stages.Capability is expected")
    for capability in sorted(capabilities, key=lambda one: one.name):
        if capability.stage is not stage:
            raise ValueError(
                f"{what}: {capability.name} is a capability of {capability.stage.value}, and its stage is {stage.value}"
            )


def _check_quick_settings(what: str, settings: type[Settings], quick: object) -> None:
    if not isinstance(quick, Mapping):
        raise TypeError(f"{what}: quick_settings is {quick!r}; a dict of settings is expected")
    for name in quick:
        if name not in settings.model_fields:
            raise ValueError(f"{what}: quick_settings has '{name}', which is not a setting of {settings.__name__}")


def _check_common(
    what: str, factory: object, settings: object, summary: object, references: object, taken: frozenset[str]
) -> None:
    """Check what a `Plugin` and a `Tool` have in common; `taken` are the keys of the card's own."""
    if not callable(factory):
        raise TypeError(f"{what}: factory is {factory!r}; a function that returns the class is expected")
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise TypeError(f"{what}: settings is {settings!r}; a subclass of mlgen.stages.Settings is expected")
    _require(what, "summary", summary, str)
    if not (isinstance(references, tuple) and all(isinstance(reference, str) for reference in references)):
        raise TypeError(f"{what}: references is {references!r}; a tuple of str is expected")
    keys = {key for name, information in settings.model_fields.items() for key in (name, information.alias)}
    if clash := sorted(taken & keys):
        raise ValueError(
            f"{what}: {settings.__name__} has a setting '{clash[0]}', but that key of the card says something else; "
            "choose another name"
        )


@hookspec
def mlgen_phase_space() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer phase-space samplers (`mlgen.stages.PhaseSpaceSampler`); `mlgen.sampling` helps to write one.

    Called once, with the hooks of the other stages, when a card names a plugin or the plugins are listed. Example::

        from mlgen.hookspecs import Plugin, hookimpl
        from mlgen.stages import Exactness, Settings, Stage

        class FlatSettings(Settings):
            pass

        def flat_sampler():
            from my_package.flat import FlatSampler
            return FlatSampler

        @hookimpl
        def mlgen_phase_space():
            yield Plugin(
                "flat",
                Stage.PHASE_SPACE,
                flat_sampler,
                FlatSettings,
                Exactness.EXACT,
                "uniform points",
                contract_version=1,
            )
    """


@hookspec
def mlgen_amplitude() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer surrogates of |M|^2 (`mlgen.stages.AmplitudeSurrogate`).

    Called once, with the hooks of the other stages, when a card names a plugin or the plugins are listed. Example::

        from mlgen.hookspecs import Plugin, hookimpl
        from mlgen.stages import Exactness, Settings, Stage

        class EnsembleSettings(Settings):
            members: int = 10

        def ensemble():
            from my_package.ensemble import Ensemble
            return Ensemble

        @hookimpl
        def mlgen_amplitude():
            yield Plugin(
                "ensemble",
                Stage.AMPLITUDE,
                ensemble,
                EnsembleSettings,
                Exactness.APPROXIMATE,
                "deep ensemble",
                contract_version=1,
            )
    """


@hookspec
def mlgen_unweighting() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer unweighting methods (`mlgen.stages.Unweighter`).

    One that asks for the true weights of what a surrogate lets pass says so:
    ``capabilities=frozenset({Capability.CORRECTS_SURROGATES})``.

    Called once, with the hooks of the other stages, when a card names a plugin or the plugins are listed. Example::

        from mlgen.hookspecs import Plugin, hookimpl
        from mlgen.stages import Exactness, Settings, Stage

        class KeepAllSettings(Settings):
            pass

        def keep_all():
            from my_package.keep_all import KeepAll
            return KeepAll

        @hookimpl
        def mlgen_unweighting():
            yield Plugin(
                "keep-all",
                Stage.UNWEIGHTING,
                keep_all,
                KeepAllSettings,
                Exactness.EXACT,
                "no rejection",
                contract_version=1,
            )
    """


@hookspec
def mlgen_generator() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer generators of whole events (`mlgen.stages.EventGenerator`).

    Called once, with the hooks of the other stages, when a card names a plugin or the plugins are listed. Example::

        from mlgen.hookspecs import Plugin, hookimpl
        from mlgen.stages import Exactness, Settings, Stage

        class MixtureSettings(Settings):
            components: int = 64

        def mixture():
            from my_package.mixture import MixtureGenerator
            return MixtureGenerator

        @hookimpl
        def mlgen_generator():
            yield Plugin(
                "mixture",
                Stage.GENERATOR,
                mixture,
                MixtureSettings,
                Exactness.APPROXIMATE,
                "Gaussian mixture",
                contract_version=1,
            )
    """


@hookspec
def mlgen_calorimeter() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer calorimeter surrogates (`mlgen.stages.ShowerSurrogate`).

    One that comes with a trained model says where in its package that is: ``shipped_model=lambda: FOLDER``.

    Called once, with the hooks of the other stages, when a card names a plugin or the plugins are listed. Example::

        from mlgen.hookspecs import Plugin, hookimpl
        from mlgen.stages import Exactness, Settings, Stage

        class LibrarySettings(Settings):
            file: str

        def library():
            from my_package.library import ShowerLibrary
            return ShowerLibrary

        @hookimpl
        def mlgen_calorimeter():
            yield Plugin(
                "library",
                Stage.CALORIMETER,
                library,
                LibrarySettings,
                Exactness.APPROXIMATE,
                "frozen showers",
                contract_version=1,
            )
    """


@hookspec
def mlgen_matrix_elements() -> Iterable[Tool]:  # type: ignore[empty-body]
    """Offer sources of matrix elements (`mlgen.hard_process.matrix_element.MatrixElements`).

    Called once, when a card has a ``[process]`` or the plugins are listed; the class is made when the process is
    prepared. A card asks for it with ``matrix_element = "mine"``, or with settings as in
    ``matrix_element = { program = "mine", library = "libmine.so" }``. The class, in ``my_package/amplitudes.py``::

        import numpy as np
        from mlgen.errors import ProcessError
        from mlgen.hard_process.color_lines import color_flow
        from mlgen.hard_process.diagrams import spell
        from mlgen.hard_process.matrix_element import MatrixElement, MatrixElements

        class TwoPhotons(MatrixElement):
            color_flows = (color_flow((11, -11, 22, 22), ()),)

            def __init__(self, alpha_em):
                self.alpha_em = alpha_em

            def evaluate(self, momenta, alpha_s):
                electron, first, second = momenta[:, 0], momenta[:, 2], momenta[:, 3]
                t, u = ((electron * photon * [-1, -1, -1, 1]).sum(axis=1) for photon in (first, second))
                return (4 * np.pi * self.alpha_em) ** 2 * (t / u + u / t)

        class MyMatrixElements(MatrixElements):
            def prepare(self, subprocesses, parameters):
                for subprocess in subprocesses:
                    if subprocess.pdg_ids != (11, -11, 22, 22):
                        raise ProcessError(f"'mine' has e- e+ > a a, but not {spell(subprocess)}")
                photons = TwoPhotons(parameters.alpha_em)
                return [photons for _ in subprocesses]

            def fingerprint(self):
                return {"program": "mine", "version": "1.0"}

    The hook, in the module of the entry point. Example::

        from mlgen.hookspecs import Tool, hookimpl
        from mlgen.stages import Settings

        class MySettings(Settings):
            library: str

        def matrix_elements():
            from my_package.amplitudes import MyMatrixElements
            return MyMatrixElements

        @hookimpl
        def mlgen_matrix_elements():
            yield Tool("mine", matrix_elements, MySettings, "amplitudes of my generator", contract_version=1)
    """


@hookspec
def mlgen_event_formats() -> Iterable[EventFormat]:  # type: ignore[empty-body]
    """Offer event formats (`mlgen.event_format.EventFormat`).

    Called once, when the first event file is opened or planned, or the plugins are listed. Example::

        from mlgen.hookspecs import hookimpl

        @hookimpl
        def mlgen_event_formats():
            from my_package.csv_events import CsvEvents
            yield CsvEvents()
    """


@hookspec
def mlgen_parton_showers() -> Iterable[Tool]:  # type: ignore[empty-body]
    """Offer parton showers (`mlgen.parton_shower.PartonShower`).

    Called once, when a card has a ``[shower]`` or the plugins are listed; the class is made while the run is planned.
    A card asks for it with ``[shower] program = "mine"`` and its settings beside that. The class, in
    ``my_package/shower.py``, with a shower that radiates nothing: the incoming partons are the roots of the event, and
    what they become comes out of one vertex::

        import numpy as np
        from mlgen.events import EventBatch
        from mlgen.parton_shower import PartonShower, ShoweredBatch, ShowerReport

        class MyShower(PartonShower):
            version = "1.0"
            description = {"program": "mine 1.0"}

            def check(self, directory):
                pass  # all settings are right

            def prepare(self, run_info, *, seed, on_error="stop"):
                self.run_info, self.count = run_info, 0
                return run_info

            def shower(self, batches):
                for batch in batches:
                    columns = batch.columns()
                    incoming, final = columns["status"] == -1, columns["status"] == 1
                    event = np.repeat(np.arange(len(batch)), batch.counts)[incoming | final]
                    columns = {name: values[incoming | final] for name, values in columns.items()}
                    incoming = columns["status"] == -1
                    columns["status"] = np.where(incoming, 4, 1)
                    columns["end_vertex"] = np.where(incoming, 0, -1)
                    columns["production_vertex"] = np.where(incoming, -1, 0)
                    showered = EventBatch.from_columns(
                        np.bincount(event, minlength=len(batch)),
                        columns,
                        weight=batch.weight,
                        variations=batch.variations,
                        vertex_counts=np.ones(len(batch), int),
                        vertex_columns={name: np.zeros(len(batch)) for name in ("x", "y", "z", "t", "status")},
                    )
                    yield ShoweredBatch(showered, self.count + np.arange(len(batch)) + 1)
                    self.count += len(batch)

            def report(self):
                return ShowerReport(self.count, self.count, (), self.run_info)

    The hook, in the module of the entry point. Example::

        from mlgen.hookspecs import Tool, hookimpl
        from mlgen.stages import Settings

        class ShowerSettings(Settings):
            tune: int = 14

        def driver():
            from my_package.shower import MyShower
            return MyShower

        @hookimpl
        def mlgen_parton_showers():
            yield Tool("mine", driver, ShowerSettings, "a dipole shower", requires="my-shower", contract_version=1)
    """


@hookspec
def mlgen_detector_simulations() -> Iterable[Tool]:  # type: ignore[empty-body]
    """Offer simulations of calorimeters (`mlgen.detector_simulation.DetectorSimulation`).

    Called once, when ``mlgen simulate-showers`` looks for a program or the plugins are listed; the class is made when
    showers are simulated, once for each core. A card asks for it with ``[detector] program = "mine"`` and its settings
    beside that; ``geometry`` is a key of the card's own. The class, in ``my_package/detector.py``, with showers that
    lose an exponential part of what is left in each layer::

        import numpy as np
        from mlgen.detector_simulation import DetectorSimulation
        from mlgen.errors import DetectorError
        from mlgen.showers import Geometry, PolarLayer, ShowerBatch

        class MyDetector(DetectorSimulation):
            particles = (11, -11, 22)

            def __init__(self, settings, geometry=None):
                super().__init__(settings, geometry)
                if geometry is not None and any(layer.n_voxels > 1 for layer in geometry.layers):
                    raise DetectorError("'mine' knows how much each layer gets, but not where in it")
                one = [PolarLayer(k, (0.0, 100.0), 1, (10.0 * k, 10.0 * k + 10)) for k in range(settings.layers)]
                self._geometry = geometry or Geometry("", tuple(one))

            @property
            def geometry(self):
                return self._geometry

            @property
            def description(self):
                return {"program": "mine 1.0", "physics": "exponential"}

            def simulate(self, pdg_id, incident_energy, direction, seeds):
                voxels = np.zeros((len(pdg_id), self.geometry.n_voxels))
                for shower, (energy, seed) in enumerate(zip(incident_energy, seeds)):
                    left = energy
                    for k, share in enumerate(np.random.default_rng(int(seed)).uniform(0, 0.1, voxels.shape[1])):
                        voxels[shower, k] = share * left
                        left -= voxels[shower, k]
                return ShowerBatch(incident_energy, pdg_id, direction, voxels, self.geometry)

    The hook, in the module of the entry point. Example::

        from mlgen.hookspecs import Tool, hookimpl
        from mlgen.stages import Settings

        class DetectorSettings(Settings):
            layers: int = 80

        def driver():
            from my_package.detector import MyDetector
            return MyDetector

        @hookimpl
        def mlgen_detector_simulations():
            yield Tool("mine", driver, DetectorSettings, "sampling calorimeter", contract_version=1)
    """


#: The hook of event formats.
FORMAT_HOOK = f"{PROJECT}_event_formats"
#: The hook of each stage.
STAGE_HOOKS = {stage: f"{PROJECT}_{stage.value}" for stage in Stage}
#: The hooks of the tools around the stages, with what they offer.
TOOL_HOOKS = {
    "matrix_elements": f"{PROJECT}_matrix_elements",
    "parton_showers": f"{PROJECT}_parton_showers",
    "detector_simulations": f"{PROJECT}_detector_simulations",
}
