"""Every hook of mlgen, each with a complete example.

A package takes part by declaring an entry point in the group ``mlgen`` that names a module (or object) with
functions decorated by `hookimpl`::

    [project.entry-points.mlgen]
    my_plugin = "my_package.mlgen_plugin"

Hooks are called once, when the first command needs to know what there is; a hook must be quick and must not import
torch or train anything. The classes it names are made only when a card asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from mlgen.stages import CONTRACT_VERSION, Exactness, Settings, Stage

if TYPE_CHECKING:
    from mlgen.event_format import EventFormat

PROJECT = "mlgen"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


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
        contract_version: The version of the contracts that it was written for.
    """

    name: str
    stage: Stage
    factory: Callable[[], type[Any]]
    settings: type[Settings]
    exactness: Exactness
    summary: str
    references: tuple[str, ...] = ()
    contract_version: int = CONTRACT_VERSION


@dataclass(frozen=True, slots=True)
class Tool:
    """A program around the chain: a matrix element, a parton shower, a detector simulation.

    Args:
        name: As in the card: ``program = "name"``.
        factory: Returns the class that drives it; called when a card asks for it.
        settings: The pydantic model of its section of the card.
        summary: One line for ``mlgen plugins``.
        requires: The extra that installs what it needs, for instance ``pythia8``.
        references: Papers.
    """

    name: str
    factory: Callable[[], type[Any]]
    settings: type[Settings]
    summary: str
    requires: str = ""
    references: tuple[str, ...] = ()


@hookspec
def mlgen_phase_space() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer phase-space samplers (`mlgen.stages.PhaseSpaceSampler`).

    Called when the plugins are listed or a card has a section ``[phase_space]``. Example::

        from mlgen.hookspecs import Plugin, hookimpl
        from mlgen.stages import Exactness, Settings, Stage

        class FlatSettings(Settings):
            pass

        def flat_sampler():
            from my_package.flat import FlatSampler
            return FlatSampler

        @hookimpl
        def mlgen_phase_space():
            yield Plugin("flat", Stage.PHASE_SPACE, flat_sampler, FlatSettings, Exactness.EXACT, "uniform points")
    """


@hookspec
def mlgen_amplitude() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer surrogates of |M|^2 (`mlgen.stages.AmplitudeSurrogate`).

    Called when the plugins are listed or a card has a section ``[amplitude]``. Example::

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
                "ensemble", Stage.AMPLITUDE, ensemble, EnsembleSettings, Exactness.APPROXIMATE, "deep ensemble"
            )
    """


@hookspec
def mlgen_unweighting() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer unweighting methods (`mlgen.stages.Unweighter`).

    Called when the plugins are listed or a card has a section ``[unweighting]``. Example::

        from mlgen.hookspecs import Plugin, hookimpl
        from mlgen.stages import Exactness, Settings, Stage

        class KeepAllSettings(Settings):
            pass

        def keep_all():
            from my_package.keep_all import KeepAll
            return KeepAll

        @hookimpl
        def mlgen_unweighting():
            yield Plugin("keep-all", Stage.UNWEIGHTING, keep_all, KeepAllSettings, Exactness.EXACT, "no rejection")
    """


@hookspec
def mlgen_generator() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer generators of whole events (`mlgen.stages.EventGenerator`).

    Called when the plugins are listed or a card has a section ``[generator]``. Example::

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
                "mixture", Stage.GENERATOR, mixture, MixtureSettings, Exactness.APPROXIMATE, "Gaussian mixture"
            )
    """


@hookspec
def mlgen_calorimeter() -> Iterable[Plugin]:  # type: ignore[empty-body]
    """Offer calorimeter surrogates (`mlgen.stages.ShowerSurrogate`).

    Called when the plugins are listed or a card has a section ``[calorimeter]``. Example::

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
                "library", Stage.CALORIMETER, library, LibrarySettings, Exactness.APPROXIMATE, "frozen showers"
            )
    """


@hookspec
def mlgen_matrix_elements() -> Iterable[Tool]:  # type: ignore[empty-body]
    """Offer matrix elements.

    Called when a card has a section ``[process]``. Example::

        from mlgen.hookspecs import Tool, hookimpl
        from mlgen.stages import Settings

        class MySettings(Settings):
            library: str

        def driver():
            from my_package.amplitudes import MyMatrixElement
            return MyMatrixElement

        @hookimpl
        def mlgen_matrix_elements():
            yield Tool("mine", driver, MySettings, "amplitudes of my generator")
    """


@hookspec
def mlgen_event_formats() -> Iterable[EventFormat]:  # type: ignore[empty-body]
    """Offer event formats (`mlgen.event_format.EventFormat`).

    Called when the first file is opened. Example::

        from mlgen.hookspecs import hookimpl

        @hookimpl
        def mlgen_event_formats():
            from my_package.csv_events import CsvEvents
            yield CsvEvents()
    """


@hookspec
def mlgen_parton_showers() -> Iterable[Tool]:  # type: ignore[empty-body]
    """Offer parton showers.

    Called when a card has a section ``[shower]``. Example::

        from mlgen.hookspecs import Tool, hookimpl
        from mlgen.stages import Settings

        class ShowerSettings(Settings):
            tune: int = 14

        def driver():
            from my_package.shower import MyShower
            return MyShower

        @hookimpl
        def mlgen_parton_showers():
            yield Tool("my-shower", driver, ShowerSettings, "a dipole shower", requires="my-shower")
    """


@hookspec
def mlgen_detector_simulations() -> Iterable[Tool]:  # type: ignore[empty-body]
    """Offer detector simulations.

    Called when a card or ``mlgen simulate-showers`` asks for one. Example::

        from mlgen.hookspecs import Tool, hookimpl
        from mlgen.stages import Settings

        class DetectorSettings(Settings):
            layers: int = 80

        def driver():
            from my_package.detector import MyDetector
            return MyDetector

        @hookimpl
        def mlgen_detector_simulations():
            yield Tool("my-detector", driver, DetectorSettings, "sampling calorimeter")
    """


#: The hook of each stage.
STAGE_HOOKS = {stage: f"{PROJECT}_{stage.value}" for stage in Stage}
#: The hooks of the tools around the stages, with what they offer.
TOOL_HOOKS = {
    "matrix_elements": f"{PROJECT}_matrix_elements",
    "parton_showers": f"{PROJECT}_parton_showers",
    "detector_simulations": f"{PROJECT}_detector_simulations",
}
