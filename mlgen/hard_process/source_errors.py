"""Failures of a source of matrix elements, told as such: they happen while a sampler trains or events are written."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlgen.errors import MlgenError, PluginFailure

if TYPE_CHECKING:
    from mlgen.hard_process.matrix_element import MatrixElements


class MatrixElementFailure(PluginFailure):
    """A source of matrix elements raised an exception, or gave what its contract does not allow."""


def source_name(source: MatrixElements) -> str:
    """Return what a source is called in an error: as it is registered, or by its class and package."""
    kind = type(source)
    return source.registered_as or f"{kind.__name__} of {kind.__module__.partition('.')[0]}"


@contextlib.contextmanager
def source_errors(source: str) -> Iterator[None]:
    """Report an exception from inside a source with its name; mlgen's own errors pass.

    What the source prints goes to standard error: standard output is for events and results.

    Args:
        source: As `source_name` has it.

    Raises:
        MatrixElementFailure: From the exception.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except MlgenError:
        raise
    except Exception as error:
        raise MatrixElementFailure(f"matrix elements {source} failed: {type(error).__name__}: {error}") from error
