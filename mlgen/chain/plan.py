"""From a card to a plan: everything that can be wrong is found here, before any work starts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mlgen.card import Card
from mlgen.chain.shower_plan import PlannedShower, checked_shower, planned_shower
from mlgen.errors import CardError
from mlgen.formats.writing import check_output
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, plugin_manager
from mlgen.stages import Capability, Exactness, Settings, Stage, Unweighter
from mlgen.store import RECORD_FILE, check_free

#: Sections that a card may have but that this version cannot run, with the reason.
_NOT_YET = {
    "detector": "showers of single particles are simulated by 'mlgen simulate-showers'",
    "particle_gun": "showers of single particles are simulated by 'mlgen simulate-showers'",
}
#: Sections that belong to a [process].
_FOR_A_PROCESS = {
    "phase_space": "phase space is sampled for a [process]: give one, or leave this section out",
    "integration": "what is integrated is a [process]: give one, or leave this section out",
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
    """What is going to happen: the source of events, the stages, the files that come out.

    Events come from `inputs`, from `generator`, or from the card's [process] through `sampler`, with `amplitude` in the
    place of its matrix elements. An unweighting may learn weights of its own, to do without some of these. A
    `calorimeter` makes showers of the final particles; those of the `outputs` that hold showers are `shower_outputs`.
    """

    card: Card
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    generator: PlannedStage | None
    unweighting: PlannedStage | None
    sampler: PlannedStage | None = None
    amplitude: PlannedStage | None = None
    force: bool = False
    retrain: bool = False
    unweighting_learns: bool = False
    calorimeter: PlannedStage | None = None
    shower_outputs: tuple[Path, ...] = ()
    shower: PlannedShower | None = None

    @property
    def event_outputs(self) -> tuple[Path, ...]:
        """The outputs that hold events; the others hold showers."""
        return tuple(path for path in self.outputs if path not in self.shower_outputs)

    @property
    def budget(self) -> int | None:
        """Integrand points that the card allows for the training of the sampler."""
        section = self.card.model.phase_space
        return section.budget if section is not None else None

    @property
    def stages(self) -> tuple[PlannedStage, ...]:
        """The replaced stages, in the order of the chain."""
        every = (self.sampler, self.amplitude, self.generator, self.unweighting, self.calorimeter)
        return tuple(stage for stage in every if stage is not None)

    @property
    def corrected(self) -> bool:
        """Whether the unweighting asks for the true weights of what a surrogate's weights let pass."""
        if (
            self.unweighting is None
            or Capability.CORRECTS_SURROGATES not in self.unweighting.registered.offer.capabilities
        ):
            return False
        return self.amplitude is not None or self.unweighting_learns

    @property
    def exactness(self) -> Exactness:
        """A chain is as exact as its weakest stage, unless another one corrects that."""
        weak = [stage for stage in self.stages if stage.exactness is Exactness.APPROXIMATE]
        if self.corrected and self.unweighting not in weak:
            weak = [stage for stage in weak if stage is not self.amplitude]
        reweighted = any(section.uses_surrogate for section in self.card.model.reweighting)
        return Exactness.APPROXIMATE if weak or reweighted else Exactness.EXACT


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
    plan = _planned_chain(card, force=force, retrain=retrain, training_only=training_only)
    if training_only or card.model.shower is None:
        return plan
    return dataclasses.replace(plan, shower=planned_shower(card, plan.event_outputs))


def _planned_chain(card: Card, *, force: bool, retrain: bool, training_only: bool) -> Plan:
    """Plan a chain without its shower."""
    _refuse_what_is_not_yet(card)
    if card.model.process is not None:
        return _plan_process(card, force=force, retrain=retrain, training_only=training_only)
    for section, reason in _FOR_A_PROCESS.items():
        if getattr(card.model, section) is not None:
            raise CardError(f"{card.source}: [{section}]: {reason}")
    if card.model.amplitude is not None:
        return _plan_points(card, retrain, training_only)
    calorimeter = _planned_calorimeter(card, retrain, training_only)
    if training_only and calorimeter is not None and card.model.generator is None:
        return Plan(card, (), (), None, None, retrain=retrain, calorimeter=calorimeter)
    _check_reweighting(card)
    inputs = tuple(card.path(name) for name in card.model.input.file) if card.model.input else ()
    if sum(str(path) == "-" for path in inputs) > 1:
        raise CardError(f"{card.source}: [input] file: standard input ('-') can be read once only")
    generator = _planned(card, Stage.GENERATOR)
    unweighting = _planned(card, Stage.UNWEIGHTING)
    if _learns(unweighting):
        raise CardError(
            f"{card.place('unweighting')}: [unweighting]: it is to learn the weights of events, and those of a file or "
            "of a generator are known; leave that setting out, or give a [process]"
        )
    _check_unweighting_model(card, unweighting)
    _check_model(generator, retrain)
    if not inputs and not (generator and generator.trained):
        missing = f" ('{generator.model}' is not there)" if generator and generator.model else ""
        raise CardError(
            f"{card.source}: there is nothing to start from: give [input] with an event file, [process] with a "
            f"reaction, or [generator] with a trained model{missing}"
        )
    outputs: tuple[Path, ...] = ()
    showers: tuple[Path, ...] = ()
    if not training_only:
        outputs, showers = _planned_outputs(card, inputs, force=force)
    elif generator is None:
        raise CardError(f"{card.source}: there is nothing to train: give [generator], or [calorimeter] with showers")
    elif generator.model is None or not inputs:
        raise CardError(f'{card.source}: training needs [input] with events and [generator] model = "FOLDER"')
    return Plan(
        card,
        inputs,
        outputs,
        generator,
        unweighting,
        force=force,
        retrain=retrain,
        calorimeter=calorimeter,
        shower_outputs=showers,
    )


def plan_integration(card: Card, *, retrain: bool = False) -> Plan:
    """Check that the process of a card can be integrated; the rest of the card as for a run, but for its outputs.

    Raises:
        CardError: The card has no process, or asks for something that cannot be done.
        PluginError: A plugin is not there.
        ModelError: The sampler's model cannot be kept where the card says.
    """
    _refuse_what_is_not_yet(card)
    if card.model.process is None:
        raise CardError(
            f"{card.source}: there is no [process] to integrate; 'mlgen init --process' writes a card with one"
        )
    sampler, amplitude, _ = _planned_stages(card, retrain)
    if card.model.shower is not None:
        checked_shower(card, card.model.shower)
    # Not needed, but what is wrong with it is said all the same.
    _planned(card, Stage.CALORIMETER)
    return Plan(card, (), (), None, None, sampler, amplitude, retrain=retrain)


def _plan_process(card: Card, *, force: bool, retrain: bool, training_only: bool) -> Plan:
    sampler, amplitude, unweighting = _planned_stages(card, retrain)
    learns = _learns(unweighting)
    if learns and amplitude is not None:
        raise CardError(
            f"{card.place('unweighting')}: [unweighting]: it is to learn the weights of events, and there is an "
            "[amplitude] that gives them; leave one of the two out"
        )
    if learns:
        _check_model(unweighting, retrain)
    else:
        _check_unweighting_model(card, unweighting)
    calorimeter = _planned_calorimeter(card, retrain, training_only)
    outputs: tuple[Path, ...] = ()
    showers: tuple[Path, ...] = ()
    if training_only:
        section, trained = "phase_space", sampler
        if learns and unweighting is not None:
            section, trained = "unweighting", unweighting
        elif amplitude is not None:
            section, trained = "amplitude", amplitude
        if trained.model is None:
            raise CardError(f'{card.source}: training needs a place for the model: [{section}] model = "FOLDER"')
    else:
        outputs, showers = _planned_outputs(card, (), force=force)
        if card.model.run.events is None:
            raise CardError(f"{card.source}: [run] events is missing: how many events of the process to write")
    return Plan(card, (), outputs, None, unweighting, sampler, amplitude, force, retrain, learns, calorimeter, showers)


def _learns(unweighting: PlannedStage | None) -> bool:
    """Whether an unweighting has to be trained, with the card's settings."""
    if unweighting is None or Capability.CORRECTS_SURROGATES not in unweighting.registered.offer.capabilities:
        return False
    return cast(Unweighter, plugin_manager().create(unweighting.registered, unweighting.settings)).learns


def _check_unweighting_model(card: Card, unweighting: PlannedStage | None) -> None:
    if unweighting is not None and unweighting.model is not None:
        raise CardError(f"{card.place('unweighting', 'model')}: [unweighting] model: it learns nothing; leave it out")


def _plan_points(card: Card, retrain: bool, training_only: bool) -> Plan:
    """The plan of a card that has an amplitude and no process: to be trained on a file of points."""
    where = card.place("amplitude")
    if not training_only:
        advice = (
            "to reweight the events of a file with its model, name that in [reweighting]"
            if card.model.input is not None
            else "give a [process], whose matrix elements it stands in for"
        )
        raise CardError(f"{where}: [amplitude]: it is used with a [process]; {advice}")
    section = card.model.amplitude
    if section is None or section.file is None:
        raise CardError(
            f"{where}: [amplitude]: there are no points to learn from: give a [process] to draw them from, or a file "
            '(file = "points.npz")'
        )
    amplitude = _planned_amplitude(card, retrain)
    if amplitude is None or amplitude.model is None:
        raise CardError(f'{card.source}: training needs a place for the model: [amplitude] model = "FOLDER"')
    return Plan(card, (), (), None, None, amplitude=amplitude, retrain=retrain)


def _refuse_what_is_not_yet(card: Card) -> None:
    for section, reason in _NOT_YET.items():
        if getattr(card.model, section) is not None:
            raise CardError(f"{card.place(section)}: [{section}]: {reason}")


def _planned_stages(card: Card, retrain: bool) -> tuple[PlannedStage, PlannedStage | None, PlannedStage | None]:
    """Sampler, amplitude and unweighting of a card with a [process]."""
    if card.model.reweighting:
        raise CardError(
            f"{card.place('reweighting')}: [reweighting]: it takes events from a file: write those of [process] into "
            "one first (a card without [reweighting]), and name that file as [input] of a second card"
        )
    if card.model.generator is not None:
        raise CardError(
            f"{card.place('generator')}: [generator]: it learns from events: write those of [process] into a file "
            "first (a card without [generator]), and name that file as [input] of a second card"
        )
    return _planned_sampler(card, retrain), _planned_amplitude(card, retrain), _planned(card, Stage.UNWEIGHTING)


def _check_reweighting(card: Card) -> None:
    if not card.model.reweighting:
        return
    from mlgen.chain.reweighting import check_reweighting

    where = f"{card.place('reweighting')}: [reweighting]"
    if card.model.generator is not None:
        raise CardError(
            f"{where}: the events of a [generator] follow what it learned, and no matrix element; reweight the events "
            "that it learns from, in a card of their own"
        )
    if card.model.input is None:
        raise CardError(f"{where}: there are no events to reweight: give [input] with an event file")
    check_reweighting(card)


def _planned_sampler(card: Card, retrain: bool) -> PlannedStage:
    """The card's sampler; the classical one with its own settings where the card replaces nothing."""
    sampler = _planned(card, Stage.PHASE_SPACE)
    if sampler is None:
        registered = plugin_manager().classical(Stage.PHASE_SPACE)
        sampler = PlannedStage(registered, registered.offer.settings(), None)
    _check_model(sampler, retrain)
    return sampler


def _planned_amplitude(card: Card, retrain: bool) -> PlannedStage | None:
    amplitude = _planned(card, Stage.AMPLITUDE)
    section = card.model.amplitude
    if section is not None and section.file is not None:
        path = card.path(section.file)
        if not path.is_file():
            raise CardError(f"{card.place('amplitude', 'file')}: [amplitude] file: {path}: there is no such file")
        for key in ("points", "draw"):
            if key in section.model_fields_set:
                raise CardError(
                    f"{card.place('amplitude', key)}: [amplitude] {key}: points are drawn, or read from a file; leave "
                    "one of the two out"
                )
    _check_model(amplitude, retrain)
    return amplitude


def _planned_calorimeter(card: Card, retrain: bool, training_only: bool) -> PlannedStage | None:
    stage = _planned(card, Stage.CALORIMETER)
    if stage is None:
        return None
    from mlgen.chain.calorimeter_plan import planned_calorimeter

    return planned_calorimeter(card, stage, retrain=retrain, training_only=training_only)


def _check_model(stage: PlannedStage | None, retrain: bool) -> None:
    if stage is not None and stage.model is not None and (retrain or not stage.trained):
        # Found out now, and not after hours of training.
        check_free(stage.model, stage.registered.offer.stage, force=retrain)


def _planned(card: Card, stage: Stage) -> PlannedStage | None:
    section = card.stage(stage)
    if section is None:
        return None
    registered = plugin_manager().find(stage, section.plugin)
    settings = card.check_settings(stage, registered.offer.settings)
    return PlannedStage(registered, settings, card.path(section.model) if section.model else None)


def _planned_outputs(card: Card, inputs: tuple[Path, ...], *, force: bool) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """All outputs, and those of them that hold showers."""
    section = card.model.output
    if section is None:
        raise CardError(f"{card.source}: there is no output: give [output] files = [...], or -o FILE")
    outputs = tuple(card.path(name) for name in section.files)
    twice = {str(path) for path in outputs if outputs.count(path) > 1}
    if twice:
        raise CardError(f"{card.source}: [output] files: {', '.join(sorted(twice))} is there twice")
    showers: tuple[Path, ...] = ()
    if card.model.calorimeter is not None:
        from mlgen.chain.calorimeter_plan import planned_shower_outputs

        showers = planned_shower_outputs(card, outputs, force=force)
    for path in outputs:
        if path not in showers:
            check_output(path, force=force, format_name=section.format)
        if str(path) != "-" and any(path.resolve() == source.resolve() for source in inputs):
            raise CardError(f"{path}: the output is the input as well; choose another name")
    return outputs, showers
