"""`umami`: matrix elements that MadGraph made, as libraries with the UMAMI interface.

Nothing of it is imported before a card asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Tool, hookimpl
from mlgen_madgraph.settings import UmamiSettings

__all__ = ["UmamiSettings", "mlgen_matrix_elements"]


def _matrix_elements() -> type[Any]:
    from mlgen_madgraph.source import UmamiMatrixElements

    return UmamiMatrixElements


@hookimpl
def mlgen_matrix_elements() -> Iterator[Tool]:
    """Offer UMAMI libraries."""
    yield Tool(
        name="umami",
        factory=_matrix_elements,
        settings=UmamiSettings,
        summary="matrix elements that MadGraph 7 made, or any other library with the UMAMI interface",
        references=("arXiv:2602.06895", "arXiv:2507.21039"),
        contract_version=1,
    )
