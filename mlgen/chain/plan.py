"""From a card to a plan: everything that can be wrong is found here, before any work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlgen.card import Card
from mlgen.errors import CardError
from mlgen.formats.writing import check_output
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, plugin_manager
from mlgen.stages import Exactness, Settings, Stage
from mlgen.store import RECORD_FILE, check_free

#: Sections that a card may have but that this version cannot run, with the reason.
_NOT_YET = {
    "process": "this version starts from event files: give [input] instead of [process]",
    "phase_space": "phase space is sampled for a [process] only, which this version cannot start from",
    "amplitude": "amplitudes are computed for a [process] only, which this version cannot start from",
    "shower": "this version ends with hard events: write LHE or HepMC, and shower the file",
    "calorimeter": "this version ends with hard events, before the detector",
}


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that a plugin replaces: the plugin, its checked settings, and the folder of its model."""

    registered: Registered[Plugin]
    settings: Settings
    model: Path | None

    @property
    def name(self) -> str:
        """Name of the plugin."""
        return self.registered.offer.name

    @property
    def exactness(self) -> Exactness:
        """Exactness of the plugin."""
        return self.registered.offer.exactness

    @property
    def trained(self) -> bool:
        """Whether a trained model is there."""
        return self.model is not None and (self.model / RECORD_FILE).is_file()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to happen: the source of events, the stages, the files that come out."""

    card: Card
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    generator: PlannedStage | None
    unweighting: PlannedStage | None
    force: bool = False
    retrain: bool = False

    @property
    def stages(self) -> tuple[PlannedStage, ...]:
        """The replaced stages, in the order of the chain."""
        return tuple(stage for stage in (self.generator, self.unweighting) if stage is not None)

    @property
    def exactness(self) -> Exactness:
        """A chain is as exact as its weakest stage."""
        approximate = any(stage.exactness is Exactness.APPROXIMATE for stage in self.stages)
        return Exactness.APPROXIMATE if approximate else Exactness.EXACT


def plan_chain(card: Card, *, force: bool = False, retrain: bool = False, training_only: bool = False) -> Plan:
    """Check that a card can be run.

    Args:
        card: The card.
        force: Whether existing outputs are replaced.
        retrain: Whether models are trained again although they are there.
        training_only: Whether the plan is for training, without outputs.

    Raises:
        CardError: The card asks for something that cannot be done.
        PluginError: A plugin is not there.
        OutputError: An output cannot be written.
    """
    for section, reason in _NOT_YET.items():
        if getattr(card.model, section) is not None:
            raise CardError(f"{card.source}: [{section}]: {reason}")
    inputs = tuple(card.path(name) for name in card.model.input.file) if card.model.input else ()
    if sum(str(path) == "-" for path in inputs) > 1:
        raise CardError(f"{card.source}: [input] file: standard input ('-') can be read once only")
    generator = _planned(card, Stage.GENERATOR)
    unweighting = _planned(card, Stage.UNWEIGHTING)
    if generator is not None and generator.model is not None and (retrain or not generator.trained):
        # Found out now, and not after hours of training.
        check_free(generator.model, force=retrain)
    if not inputs and not (generator and generator.trained):
        missing = f" ('{generator.model}' is not there)" if generator and generator.model else ""
        raise CardError(
            f"{card.source}: there is nothing to start from: give [input] with an event file, "
            f"or [generator] with a trained model{missing}"
        )
    outputs: tuple[Path, ...] = ()
    if not training_only:
        outputs = _planned_outputs(card, inputs, force=force)
    elif generator is None:
        raise CardError(f"{card.source}: there is nothing to train: give [generator]")
    elif generator.model is None or not inputs:
        raise CardError(f'{card.source}: training needs [input] with events and [generator] model = "FOLDER"')
    return Plan(card, inputs, outputs, generator, unweighting, force, retrain)


def _planned(card: Card, stage: Stage) -> PlannedStage | None:
    section = card.stage(stage)
    if section is None:
        return None
    registered = plugin_manager().find(stage, section.plugin)
    settings = card.check_settings(stage, registered.offer.settings)
    if section.model is not None and stage is Stage.UNWEIGHTING:
        raise CardError(f"{card.source}: [{stage.value}] model: unweighting keeps no model; leave it out")
    return PlannedStage(registered, settings, card.path(section.model) if section.model else None)


def _planned_outputs(card: Card, inputs: tuple[Path, ...], *, force: bool) -> tuple[Path, ...]:
    section = card.model.output
    if section is None:
        raise CardError(f"{card.source}: there is no output: give [output] files = [...], or -o FILE")
    outputs = tuple(card.path(name) for name in section.files)
    twice = {str(path) for path in outputs if outputs.count(path) > 1}
    if twice:
        raise CardError(f"{card.source}: [output] files: {', '.join(sorted(twice))} is there twice")
    for path in outputs:
        check_output(path, force=force, format_name=section.format)
        if str(path) != "-" and any(path.resolve() == source.resolve() for source in inputs):
            raise CardError(f"{path}: the output is the input as well; choose another name")
    return outputs
