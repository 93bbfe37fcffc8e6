"""A check of the arrays of a state, for ``from_state`` of a plugin of any stage."""

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
        ModelError: It does not fit. Says which arrays are missing, which nobody asked for, and which have another
            number of dimensions.

    Example:
        A model of two layers, whose ``from_state`` begins with::

            check_arrays("mine", state, {"weight": 2, "bias": 1})
    """
    found = {name: np.ndim(array) for name, array in state.items()}
    both = sorted(found.keys() & expected.keys())
    problems = [
        f"{title} {', '.join(names)}"
        for title, names in (
            ("missing:", sorted(expected.keys() - found.keys())),
            ("too many:", sorted(found.keys() - expected.keys())),
            (
                "of another number of dimensions:",
                [f"{name} ({found[name]}, not {expected[name]})" for name in both if found[name] != expected[name]],
            ),
        )
        if names
    ]
    if problems:
        raise ModelError(f"the arrays of this model are not those of {what}; {'; '.join(problems)}")
    for name, array in state.items():
        if not np.all(np.isfinite(array)):
            raise ModelError(f"{what} needs finite numbers; its array '{name}' holds others")
