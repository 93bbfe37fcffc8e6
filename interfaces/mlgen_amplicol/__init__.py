"""`amplicol`: any tree-level matrix element of the Standard Model, in full colour, from pyAmpliCol.

Nothing of it is imported before a card asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Tool, hookimpl
from mlgen_amplicol.settings import AmplicolSettings

__all__ = ["AmplicolSettings", "mlgen_matrix_elements"]


def _matrix_elements() -> type[Any]:
    from mlgen_amplicol.source import AmplicolMatrixElements

    return AmplicolMatrixElements


@hookimpl
def mlgen_matrix_elements() -> Iterator[Tool]:
    """Offer the matrix elements of pyAmpliCol."""
    yield Tool(
        name="amplicol",
        factory=_matrix_elements,
        settings=AmplicolSettings,
        summary="any tree-level process of the Standard Model in full colour; generated once, then cached",
        requires="amplicol",
        contract_version=1,
    )
