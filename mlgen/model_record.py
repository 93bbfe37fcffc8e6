"""What ``model.json`` says of a trained model, and how it is written and read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import mlgen
from mlgen.errors import ModelError
from mlgen.stages import TrainingReport

FORMAT_VERSION = 1

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """What a model was trained on.

    Args:
        source: File or process, for people.
        sha256: SHA-256 of the content of the training data.
        events: Number of events (points, showers) that were used.
        process: For a sampler of phase space, all that defines its integrand (JSON values), so that it can be said in
            what another process differs; `sha256` is that of its canonical JSON. Empty otherwise.
        budget: For a sampler, the points that the card allowed; None: as many as its settings ask for.
        points: For an amplitude, how its training points came about (JSON values). Empty otherwise.
    """

    source: str
    sha256: str
    events: int
    process: Mapping[str, Any] = field(default_factory=dict)
    budget: int | None = None
    points: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What ``model.json`` says.

    Args:
        plugin: The plugin's name, as in the card.
        stage: The stage's name, as in the card.
        distribution: The package that the plugin came from.
        version: That package's version.
        contract_version: The version of the contracts that the plugin was written for.
        settings: All settings of the training, as JSON values.
        trained_on: The training data.
        seed: The seed of the training.
        report: What the training said of itself.
        weights_sha256: SHA-256 of ``weights.safetensors``.
        mlgen_version: The mlgen that wrote it.
        code_sha256: SHA-256 of the plugin's code (`mlgen.plugin_sources.code_digest`); empty where it is not known.
    """

    plugin: str
    stage: str
    distribution: str
    version: str
    contract_version: int
    settings: Mapping[str, Any]
    trained_on: TrainedOn
    seed: int
    report: TrainingReport
    weights_sha256: str
    mlgen_version: str
    code_sha256: str = ""


def record_to_json(record: ModelRecord) -> bytes:
    """Return a record as the content of ``model.json``; the same record gives the same bytes.

    Raises:
        ModelError: The report holds something that JSON has no way to say.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "plugin": record.plugin,
        "stage": record.stage,
        "distribution": record.distribution,
        "version": record.version,
        "contract_version": record.contract_version,
        "settings": record.settings,
        "trained_on": _trained_on(record.trained_on),
        "seed": record.seed,
        "report": {
            "figures": record.report.figures,
            "curves": record.report.curves,
            "remarks": record.report.remarks,
        },
        "weights_sha256": record.weights_sha256,
        "mlgen_version": record.mlgen_version,
        "code_sha256": record.code_sha256,
    }
    try:
        return (json.dumps(as_json(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except TypeError as error:
        raise ModelError(f"the report of '{record.plugin}' is not numbers and text: {error}") from error


def _trained_on(data: TrainedOn) -> dict[str, Any]:
    content: dict[str, Any] = {"source": data.source, "sha256": data.sha256, "events": data.events}
    # What only samplers and amplitudes have is not in the records of others.
    if data.process:
        content["process"] = data.process
    if data.budget is not None:
        content["budget"] = data.budget
    if data.points:
        content["points"] = data.points
    return content


def record_from_json(place: Path, content: bytes) -> ModelRecord:
    """Inverse of `record_to_json`; `place` is the file, for messages.

    Raises:
        ModelError: It is damaged, no record, or of another format version.
    """
    try:
        values = json.loads(content.decode())
    except ValueError as error:
        raise ModelError(f"{place}: not JSON: {error}. Copy the model again, or train it again") from error
    if not isinstance(values, dict) or not isinstance(version := values.get("format_version"), int):
        raise ModelError(f"{place}: not the record of an mlgen model; a 'format_version' is expected")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{place}: written in version {version} of the model format by mlgen {values.get('mlgen_version', '?')}; "
            f"mlgen {mlgen.__version__} reads version {FORMAT_VERSION}. Use that mlgen, or train it again"
        )
    try:
        report = values["report"]
        return ModelRecord(
            plugin=str(values["plugin"]),
            stage=str(values["stage"]),
            distribution=str(values["distribution"]),
            version=str(values["version"]),
            contract_version=int(values["contract_version"]),
            settings=dict(values["settings"]),
            trained_on=TrainedOn(**values["trained_on"]),
            seed=int(values["seed"]),
            report=TrainingReport(
                figures={name: _number(value) for name, value in report["figures"].items()},
                curves={name: [float(_number(value)) for value in curve] for name, curve in report["curves"].items()},
                remarks=tuple(report["remarks"]),
            ),
            weights_sha256=str(values["weights_sha256"]),
            mlgen_version=str(values["mlgen_version"]),
            # Older models do not have it.
            code_sha256=str(values.get("code_sha256", "")),
        )
    except KeyError as error:
        raise ModelError(f"{place}: {error} is missing. Copy the model again, or train it again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{place}: damaged: {error}. Copy the model again, or train it again") from error


def as_json(value: Any) -> Any:
    """Make what JSON has no way to say fit: NumPy scalars as numbers, NaN and infinities as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return next(text for text, number in _NOT_FINITE.items() if repr(number) == repr(value))
    if isinstance(value, Mapping):
        return {str(key): as_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    return value


def _number(value: Any) -> Any:
    return _NOT_FINITE.get(value, value) if isinstance(value, str) else value
