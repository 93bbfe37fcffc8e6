"""The matrix elements that need no other program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Tool, hookimpl
from mlgen.stages import Settings


class ClosedFormSettings(Settings):
    """Closed forms have nothing to set."""


def _closed_forms() -> type[Any]:
    from mlgen.hard_process.closed_forms.source import ClosedForms

    return ClosedForms


@hookimpl
def mlgen_matrix_elements() -> Iterator[Tool]:
    """Offer the closed forms."""
    yield Tool(
        name="closed-form",
        factory=_closed_forms,
        settings=ClosedFormSettings,
        summary="Drell-Yan with photon, Z, W and Z'; two or three partons from two by the strong interaction",
        contract_version=1,
    )
