"""Named arrays of a saved model, looked at before they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError

Arrays = Mapping[str, npt.NDArray[Any]]


def part(state: Arrays, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays whose names begin with a prefix and a dot, by what follows."""
    begin = f"{prefix}."
    return {name.removeprefix(begin): array for name, array in state.items() if name.startswith(begin)}


def floats(state: Arrays, name: str, shape: Sequence[int | None]) -> npt.NDArray[np.float64]:
    """Return an array of numbers of a shape, in which None is any length.

    Raises:
        ModelError: It is missing, has another shape or holds no numbers.
    """
    return _checked(state, name, shape).astype(np.float64)


def integers(
    state: Arrays, name: str, shape: Sequence[int | None], low: int | None = None, high: int | None = None
) -> npt.NDArray[np.int64]:
    """Return an array of integers from `low` up to, but not including, `high`.

    Raises:
        ModelError: As for `floats`, or a number is out of this range.
    """
    found = _checked(state, name, shape).astype(np.int64)
    if (low is not None and np.any(found < low)) or (high is not None and np.any(found >= high)):
        raise ModelError(
            f"the array '{name}' of the model has numbers out of its range, {low} to {high} (not included)"
        )
    return found


def text(state: Arrays, name: str) -> str:
    """Return a text that is kept as the bytes of its characters.

    Raises:
        ModelError: It is missing or no text.
    """
    try:
        return np.asarray(_checked(state, name, (None,)), np.uint8).tobytes().decode()
    except (UnicodeDecodeError, OverflowError) as error:
        raise ModelError(f"the array '{name}' of the model is no text: {error}") from error


def as_bytes(words: str) -> npt.NDArray[np.uint8]:
    """Return a text as an array, for `text`."""
    return np.frombuffer(words.encode(), np.uint8).copy()


def _checked(state: Arrays, name: str, shape: Sequence[int | None]) -> npt.NDArray[Any]:
    if name not in state:
        raise ModelError(f"the array '{name}' of the model is missing")
    found = np.asarray(state[name])
    if found.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, found.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise ModelError(f"the array '{name}' of the model has shape {found.shape}; ({expected}) is expected")
    if not (np.issubdtype(found.dtype, np.number) or found.dtype == np.bool_):
        raise ModelError(f"the array '{name}' of the model holds {found.dtype}; numbers are expected")
    return found
