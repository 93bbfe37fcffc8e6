"""Calorimeter surrogates in the chain: reused, trained on files of showers, or as they come with their plugin."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np

from mlgen.card import CalorimeterSection
from mlgen.chain.checks import check_energy_ranges, check_showers
from mlgen.chain.kept_models import ReadyModel, model_of_cache, model_of_folder, newly_trained
from mlgen.chain.model_folders import kept_shower_folder
from mlgen.chain.models import record_of_settings
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.training_showers import TrainingShowers
from mlgen.errors import ModelError
from mlgen.formats.shower_files import geometry_difference
from mlgen.formats.shower_geometry import geometry_from_file
from mlgen.hookspecs import Plugin
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import Registered, plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import Contract, FloatArray, IntArray, Reporter, ShowerSurrogate, TrainingReport
from mlgen.store import TrainedOn


class CheckedSurrogate:
    """A trained surrogate whose errors name its plugin, and whose showers are checked.

    Args:
        surrogate: The surrogate.
        registered: Its plugin.

    Attributes:
        geometry: The calorimeter it was trained for.
        energy_ranges: Smallest and largest incident energy in MeV of each particle that it knows.

    Raises:
        mlgen.errors.PluginFailure: It does not say them.
    """

    geometry: Geometry
    energy_ranges: Mapping[int, tuple[float, float]]

    def __init__(self, surrogate: ShowerSurrogate, registered: Registered[Plugin]) -> None:
        self._surrogate, self._registered = surrogate, registered
        with plugin_errors(registered):
            self.geometry = surrogate.geometry
            self.energy_ranges = check_energy_ranges(surrogate.energy_ranges)

    def generate(
        self, pdg_id: IntArray, incident_energy: FloatArray, direction: FloatArray, rng: np.random.Generator
    ) -> ShowerBatch:
        """Generate showers, as `mlgen.stages.ShowerSurrogate.generate`.

        Raises:
            mlgen.errors.PluginFailure: The plugin fails, or gives what cannot be right.
        """
        with plugin_errors(self._registered):
            made = self._surrogate.generate(pdg_id, incident_energy, direction, rng)
            return check_showers(made, incident_energy, self.geometry)


def trained_surrogate(plan: Plan, stage: PlannedStage, reporter: Reporter) -> ReadyModel[CheckedSurrogate]:
    """Return the card's calorimeter surrogate, trained.

    The model folder of the card is used, or filled, where it names one; otherwise the showers of the card are learned
    from and the model is kept in the cache; otherwise the model that comes with the plugin is used.

    Args:
        plan: The plan.
        stage: The calorimeter's part of it.
        reporter: Where progress goes.

    Raises:
        ModelError: A model is there, but was trained on other showers or with other settings, or is of another
            calorimeter than the card says.
        InputError: The training showers cannot be read.
        mlgen.errors.TrainingError: They do not allow a training.
    """
    section = cast(CalorimeterSection, plan.card.model.calorimeter)
    showers = TrainingShowers(plan.card, section) if section.showers is not None else None

    def wrap(surrogate: Contract) -> CheckedSurrogate:
        return CheckedSurrogate(cast(ShowerSurrogate, surrogate), stage.registered)

    if stage.model is not None and stage.trained and not (plan.retrain and showers is not None):
        _check(stage, stage.model, showers)
        made = model_of_folder(stage, stage.model, wrap)
    elif showers is None:
        raise ModelError(f"{stage.model}: there is no trained model; give [calorimeter] showers to train one")
    else:
        train = partial(_trained, plan, stage, showers, reporter)
        if stage.model is None:
            made = model_of_cache(plan, stage, kept_shower_folder(plan, stage, showers.definition), train, wrap)
        else:
            made = newly_trained(plan, stage, stage.model, train, wrap)
    _check_geometry(plan, section, made)
    return made


def _check(stage: PlannedStage, folder: Path, showers: TrainingShowers | None) -> None:
    """The model in a folder has to be of the same settings and showers."""
    trained_on = record_of_settings(stage, folder).trained_on
    if showers is not None and showers.sha256 != trained_on.sha256:
        raise ModelError(
            f"{folder}: the model there was trained on other showers: {trained_on.source} "
            f"({trained_on.events:,} showers, SHA-256 {trained_on.sha256[:12]}), the card has "
            f"{showers.source} ({showers.showers:,} showers, {showers.sha256[:12]})\n"
            "Name another model folder, leave out 'showers' to use the model as it is, or train again with --retrain."
        )


def _trained(
    plan: Plan, stage: PlannedStage, showers: TrainingShowers, reporter: Reporter
) -> tuple[Contract, TrainedOn, TrainingReport]:
    surrogate = cast(ShowerSurrogate, plugin_manager().create(stage.registered, stage.settings))
    rng = random_generator(plan.card.model.run.seed, Work.TRAIN_CALORIMETER)
    with reporter(f"training {stage.name}") as progress, plugin_errors(stage.registered):
        report = surrogate.train(showers, rng, progress)
    return surrogate, TrainedOn(showers.source, showers.sha256, showers.showers), report


def _check_geometry(plan: Plan, section: CalorimeterSection, made: ReadyModel[CheckedSurrogate]) -> None:
    """The binning that the card names has to be that of the model."""
    if section.geometry is None:
        return
    geometry, path = made.model.geometry, plan.card.path(section.geometry)
    where = made.result.model or f"the model of '{made.result.plugin}'"
    named = geometry_from_file(where, path, section.particle or geometry.particle or None, geometry.n_voxels)
    # A training may have added what a binning does not say, such as depths; what it says has to be the same.
    if [dataclasses.replace(layer, depth=None) for layer in named.layers] != [
        dataclasses.replace(layer, depth=None) for layer in geometry.layers
    ]:
        difference = geometry_difference(Geometry("", geometry.layers), Geometry("", named.layers), "the model")
        raise ModelError(
            f"{where}: the model is of another calorimeter than {path} ({plan.card.place('calorimeter', 'geometry')}) "
            f"describes: {difference}\nLeave out 'geometry', or name a model of that calorimeter."
        )
