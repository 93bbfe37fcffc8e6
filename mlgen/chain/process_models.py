"""Models that belong to one process: used again for the same one, with the same settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlgen.chain.models import ADVICE, record_of_settings
from mlgen.chain.plan import PlannedStage
from mlgen.chain.process_source import process_differences, process_digest
from mlgen.errors import ModelError
from mlgen.model_record import ModelRecord

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess


def record_for_process(stage: PlannedStage, folder: Path, process: HardProcess) -> ModelRecord:
    """Read the record of a model that was trained on a process.

    Args:
        stage: The stage that is to use it.
        folder: Of the model.
        process: Of the card.

    Raises:
        ModelError: It was trained with other settings, or for another process; says in what they differ.
    """
    record = record_of_settings(stage, folder)
    trained_on = record.trained_on
    if process_digest(process.fingerprint) != trained_on.sha256:
        entries = process_differences(trained_on.process, process.fingerprint)
        raise ModelError(
            f"{folder}: the model there was trained for another process ({trained_on.source}); the card "
            f"({process.settings.reaction}) differs in" + "".join(f"\n  {entry}" for entry in entries) + f"\n{ADVICE}"
        )
    return record
