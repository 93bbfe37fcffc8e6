"""Loads the trained amplitude of a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from mlgen.amplitudes.model import AmplitudeModel
from mlgen.errors import ModelError
from mlgen.hookspecs import Plugin
from mlgen.model_record import ModelRecord
from mlgen.plugins import Registered, plugin_manager
from mlgen.stages import Stage
from mlgen.store import StoredModel, load_model, read_record


def load_amplitude(folder: str | Path) -> AmplitudeModel:
    """Load the amplitude that ``mlgen train`` made of a card's ``[amplitude]``.

    Args:
        folder: Of the model.

    Raises:
        ModelError: There is no model, it is damaged, or is none of an amplitude.
        PluginError: Its plugin is not there.
    """
    return cast(AmplitudeModel, stored_amplitude(Path(folder)).implementation)


def stored_amplitude(folder: Path) -> StoredModel:
    """Load an amplitude with its record; see `load_amplitude`."""
    _, registered = amplitude_record(folder)
    return load_model(folder, registered, None, AmplitudeModel.restored)


def amplitude_record(folder: Path) -> tuple[ModelRecord, Registered[Plugin]]:
    """Return the record of an amplitude's model, and its plugin, without loading it.

    Raises:
        ModelError: There is no model, its record is damaged, or it is none of an amplitude.
        PluginError: Its plugin is not there.
    """
    record = read_record(folder)
    if record.stage != Stage.AMPLITUDE.value:
        raise ModelError(
            f"{folder}: the model there is one of [{record.stage}] ({record.plugin}); a trained [amplitude] is expected"
        )
    return record, plugin_manager().find(Stage.AMPLITUDE, record.plugin)
