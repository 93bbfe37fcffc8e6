"""Calorimeter surrogates in the chain: reused, trained on files of showers, or as they come with their plugin."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from mlgen.cache import CACHE_VARIABLE
from mlgen.card import CalorimeterSection
from mlgen.chain.checks import check_energy_ranges, check_showers
from mlgen.chain.model_folders import alone, kept_shower_folder
from mlgen.chain.models import keep_model, loaded_model, make_parent, trained_result
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.report import StageResult
from mlgen.chain.training_showers import TrainingShowers
from mlgen.errors import ModelError, OutputError, PluginFailure, WriteFailure
from mlgen.formats.shower_files import geometry_difference
from mlgen.formats.shower_geometry import geometry_from_file
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, plugin_errors, plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import FloatArray, IntArray, Reporter, ShowerSurrogate, TrainingReport
from mlgen.store import TrainedOn, differences, read_record, state_to_bytes

_ADVICE = "Name another model folder, take this back, or train again with --retrain."


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
            return check_showers(made, len(pdg_id), self.geometry)


@dataclass(frozen=True, slots=True)
class TrainedSurrogate:
    """A surrogate that is ready to use, what is to be said of it, and what the user should know."""

    surrogate: CheckedSurrogate
    result: StageResult
    remarks: tuple[str, ...] = ()


def trained_surrogate(plan: Plan, stage: PlannedStage, reporter: Reporter) -> TrainedSurrogate:
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
    if stage.model is not None and stage.trained and not (plan.retrain and showers is not None):
        made = _reused(stage, stage.model, showers)
    elif showers is None:
        raise ModelError(f"{stage.model}: there is no trained model; give [calorimeter] showers to train one")
    elif stage.model is None:
        made = _from_cache(plan, stage, showers, reporter)
    else:
        make_parent(stage.model)
        surrogate, report = _trained(plan, stage, showers, reporter)
        made = _kept(plan, stage, surrogate, showers, report)
    _check_geometry(plan, section, made)
    return made


def _reused(stage: PlannedStage, folder: Path, showers: TrainingShowers | None) -> TrainedSurrogate:
    record = read_record(folder)
    if changed := differences(record, stage.settings):
        raise ModelError(f"{folder}: the model there was trained with other settings: {'; '.join(changed)}\n{_ADVICE}")
    if showers is not None and showers.sha256 != record.trained_on.sha256:
        raise ModelError(
            f"{folder}: the model there was trained on other showers: {record.trained_on.source} "
            f"({record.trained_on.events:,} showers, SHA-256 {record.trained_on.sha256[:12]}), the card has "
            f"{showers.source} ({showers.showers:,} showers, {showers.sha256[:12]})\n"
            "Name another model folder, leave out 'showers' to use the model as it is, or train again with --retrain."
        )
    return _loaded(stage, folder)


def _loaded(stage: PlannedStage, folder: Path) -> TrainedSurrogate:
    stored, result = loaded_model(stage, folder)
    return TrainedSurrogate(_checked(stage, stored.implementation), result)


def _from_cache(plan: Plan, stage: PlannedStage, showers: TrainingShowers, reporter: Reporter) -> TrainedSurrogate:
    """The surrogate of an equal training before, or one that is trained now and kept for the next time."""
    folder = kept_shower_folder(plan, stage, showers.definition)
    # All settings are said: those of use are the card's, also where it leaves them to the default, not the model's.
    said = {name: getattr(stage.settings, name) for name in type(stage.settings).model_fields}
    kept = dataclasses.replace(stage, model=folder, settings=stage.settings.model_copy(update=said))
    remarks = []
    if kept.trained and not plan.retrain:
        try:
            with alone(folder):
                return _loaded(kept, folder)
        except ModelError as error:
            remarks.append(f"the model that was kept cannot be used and was trained again: {error}")
        except PluginFailure as error:
            raise PluginFailure(f"{error}\nIt was given the model in {folder}; to train again: --retrain") from error
    surrogate, report = _trained(plan, stage, showers, reporter)
    try:
        make_parent(folder)
        with alone(folder):
            # Another mlgen may have put its own there meanwhile, from an equal training.
            made = _kept(dataclasses.replace(plan, retrain=True), kept, surrogate, showers, report)
    except (ModelError, OutputError, WriteFailure) as error:
        remarks.append(
            f"the model is not kept: {error}\n"
            f"Choose a folder for it with --model, or another cache with the environment variable {CACHE_VARIABLE}"
        )
        sha256 = hashlib.sha256(state_to_bytes(surrogate.state())).hexdigest()
        made = TrainedSurrogate(_checked(stage, surrogate), trained_result(stage, sha256, _trained_on(showers), report))
    return dataclasses.replace(made, remarks=tuple(remarks))


def _trained(
    plan: Plan, stage: PlannedStage, showers: TrainingShowers, reporter: Reporter
) -> tuple[ShowerSurrogate, TrainingReport]:
    surrogate = cast(ShowerSurrogate, plugin_manager().create(stage.registered, stage.settings))
    rng = random_generator(plan.card.model.run.seed, Work.TRAIN_CALORIMETER)
    with reporter(f"training {stage.name}") as progress, plugin_errors(stage.registered):
        report = surrogate.train(showers, rng, progress)
    return surrogate, report


def _kept(
    plan: Plan, stage: PlannedStage, surrogate: ShowerSurrogate, showers: TrainingShowers, report: TrainingReport
) -> TrainedSurrogate:
    trained_on = _trained_on(showers)
    stored = keep_model(plan, stage, surrogate, trained_on, report)
    return TrainedSurrogate(
        _checked(stage, stored.implementation), trained_result(stage, stored.sha256, trained_on, report)
    )


def _checked(stage: PlannedStage, surrogate: object) -> CheckedSurrogate:
    return CheckedSurrogate(cast(ShowerSurrogate, surrogate), stage.registered)


def _trained_on(showers: TrainingShowers) -> TrainedOn:
    return TrainedOn(showers.source, showers.sha256, showers.showers)


def _check_geometry(plan: Plan, section: CalorimeterSection, made: TrainedSurrogate) -> None:
    """The binning that the card names has to be that of the model."""
    if section.geometry is None:
        return
    geometry, path = made.surrogate.geometry, plan.card.path(section.geometry)
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
