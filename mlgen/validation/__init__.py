"""Compares samples: observables, histograms, tests, and a report that shows them.

    from mlgen.validation import validate, write_validation

    result = validate("truth.lhe.gz", ["new.lhe.gz"])
    print(result.agrees, result.comparisons[0].words)
    write_validation(result, "report.html")

The card imports the settings from here: what is heavy is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlgen.validation.comparing import validate
    from mlgen.validation.plots import to_hist
    from mlgen.validation.record import Comparison, ObservableResult, ValidationResult
    from mlgen.validation.samples import ReadingOptions, SampleFiles
    from mlgen.validation.settings import ValidationSettings
    from mlgen.validation.writing import write_validation

_HOMES = {
    "Comparison": "mlgen.validation.record",
    "ObservableResult": "mlgen.validation.record",
    "ReadingOptions": "mlgen.validation.samples",
    "SampleFiles": "mlgen.validation.samples",
    "ValidationResult": "mlgen.validation.record",
    "ValidationSettings": "mlgen.validation.settings",
    "to_hist": "mlgen.validation.plots",
    "validate": "mlgen.validation.comparing",
    "write_validation": "mlgen.validation.writing",
}

__all__ = [
    "Comparison",
    "ObservableResult",
    "ReadingOptions",
    "SampleFiles",
    "ValidationResult",
    "ValidationSettings",
    "to_hist",
    "validate",
    "write_validation",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mlgen.validation' has no attribute '{name}'")
