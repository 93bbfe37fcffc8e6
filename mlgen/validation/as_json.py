"""A validation as plain types, for ``--json``."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlgen.validation.learned_weights import weighted_quantiles
from mlgen.validation.record import ClassifierTest, ValidationResult

_SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def to_dict(result: ValidationResult) -> dict[str, Any]:
    """Return everything but the learned weight of each event, whose quantiles are given, and the average showers.

    Numbers that are not finite, such as the quantiles in a tail of an observable that all its events lack, are None,
    which JSON can say. The quantiles of the learned weights are those of the events with their weights (absolute
    values).
    """
    content: dict[str, Any] = _plain(result)
    content["agrees"] = result.agrees
    for comparison, plain in zip(result.comparisons, content["comparisons"], strict=True):
        plain["gates"] = [
            dict(zip(("measure", "value", "limit"), _plain(gate), strict=True)) for gate in comparison.gates
        ]
        if comparison.showers is not None:
            del plain["showers"]["averages"]
        if comparison.classifier is not None:
            for name in ("learned_weights", "event_weights"):
                del plain["classifier"][name]
            plain["classifier"]["learned_weight_quantiles"] = _plain(_quantiles(comparison.classifier))
    return content


def _quantiles(test: ClassifierTest) -> dict[str, dict[str, float]]:
    found = {}
    for sample, learned in test.learned_weights.items():
        if len(learned):
            quantiles = weighted_quantiles(learned, np.abs(test.event_weights[sample]), _SHARES)
            found[sample] = dict(zip(map(str, _SHARES), quantiles.tolist(), strict=True))
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
