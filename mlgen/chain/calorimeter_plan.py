"""Checks what a card says of its calorimeter, before any work starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mlgen.card import Card
from mlgen.chain.plan import PlannedStage
from mlgen.errors import CardError
from mlgen.formats.catalogue import format_for_output
from mlgen.formats.shower_output import SHOWER_SUFFIXES, check_shower_output
from mlgen.plugin_errors import plugin_errors
from mlgen.store import RECORD_FILE, check_free

_SECTION = "calorimeter"


def planned_calorimeter(card: Card, stage: PlannedStage, *, retrain: bool, training_only: bool) -> PlannedStage:
    """Find out where the model of a calorimeter is, or is going to be.

    Args:
        card: The card, with a [calorimeter].
        stage: Its plugin, and the model folder that it names.
        retrain: Whether models are trained again although they are there.
        training_only: Whether it is to be trained, and not used.

    Returns:
        The stage, with the folder of the model that comes with the plugin where the card names neither a model nor
        showers to train one.

    Raises:
        CardError: There is no model, and nothing to train one on, or a file that is named is not there.
        ModelError: A model cannot be kept where the card says.
        PluginFailure: The plugin does not find the model that comes with it.
    """
    section = card.model.calorimeter
    if section is None:
        raise CardError(f"{card.source}: there is no section [{_SECTION}]")
    for key, names in (
        ("showers", section.showers or ()),
        ("geometry", [section.geometry] if section.geometry else []),
    ):
        for name in names:
            if not card.path(name).is_file():
                raise CardError(
                    f"{card.place(_SECTION, key)}: [{_SECTION}] {key}: {card.path(name)}: there is no such file"
                )
    where = card.place(_SECTION)
    if training_only and (section.showers is None or stage.model is None):
        raise CardError(
            f'{where}: [{_SECTION}]: training needs showers = ["showers.h5"] to learn from, and model = "FOLDER"'
        )
    if section.showers is not None:
        if stage.model is not None and (retrain or not stage.trained):
            # Found out now, and not after hours of training.
            check_free(stage.model, stage.registered.offer.stage, force=retrain)
        return stage
    if stage.model is not None:
        if not stage.trained:
            raise CardError(
                f"{card.place(_SECTION, 'model')}: [{_SECTION}] model: there is no trained model in '{stage.model}'; "
                'name one that is there, or give showers = ["showers.h5"] to train it'
            )
        return stage
    return dataclasses.replace(stage, model=_shipped(card, stage))


def _shipped(card: Card, stage: PlannedStage) -> Path:
    shipped = stage.registered.offer.shipped_model
    if shipped is None:
        raise CardError(
            f"{card.place(_SECTION)}: [{_SECTION}]: '{stage.name}' comes without a trained model: give "
            'model = "FOLDER", or showers = ["showers.h5"] to train one'
        )
    with plugin_errors(stage.registered):
        folder = Path(shipped())
        if not (folder / RECORD_FILE).is_file():
            raise FileNotFoundError(f"the model that comes with it is not in {folder}; install it again")
    return folder


def planned_shower_outputs(card: Card, outputs: tuple[Path, ...], *, force: bool) -> tuple[Path, ...]:
    """Return the outputs of a chain with a calorimeter that hold showers: HDF5, unless the card names a format.

    Raises:
        CardError: No output holds what the calorimeter gives.
        mlgen.errors.OutputError: A file of showers cannot be written.
    """
    section = card.model.output
    name = section.format if section is not None else None
    showers = tuple(path for path in outputs if name is None and path.suffix.lower() in SHOWER_SUFFIXES)
    for path in showers:
        check_shower_output(path, force=force)
    others = [path for path in outputs if path not in showers]
    if not showers and not any(format_for_output(path, name).holds_cells for path in others):
        raise CardError(
            f"{card.place('output', 'files')}: [output] files: none of them holds what [{_SECTION}] gives; add one "
            "with the suffix .root for cells, or .h5 for showers"
        )
    return showers
