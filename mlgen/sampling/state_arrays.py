"""Checks of a sampler's state, for ``from_state``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mlgen.errors import ModelError
from mlgen.stages import State


def check_arrays(what: str, state: State, expected: Mapping[str, int]) -> None:
    """Refuse a state that lacks an array, or has one of another dimension, or numbers that are not finite.

    Args:
        what: Name of the plugin, for the message.
        state: The state.
        expected: Name of each array, with its number of dimensions.

    Raises:
        ModelError: It does not fit.
    """
    found = {name: np.ndim(array) for name, array in state.items()}
    if found != dict(expected):
        raise ModelError(f"{what} needs arrays with dimensions {dict(expected)}; there are {found}")
    for name, array in state.items():
        if not np.all(np.isfinite(array)):
            raise ModelError(f"{what} needs finite numbers; its array '{name}' holds others")
