"""How the kit states a rule: a condition, or a refusal, with the sentence that is shown when it is broken."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import MlgenError

Arrays = Mapping[str, npt.NDArray[Any]]


def require(condition: object, rule: str) -> None:
    """Fail with `rule` unless the condition holds."""
    if not condition:
        raise AssertionError(rule)


def require_array(array: object, shape: tuple[int, ...], kinds: str, what: str) -> None:
    """Fail unless `array` is a NumPy array of the shape, with a dtype of one of the kinds, and finite.

    Args:
        array: What was given.
        shape: What it should have.
        kinds: Letters of `numpy.dtype.kind`; ``f`` asks for 64 bits.
        what: Its name in the message.
    """
    if not isinstance(array, np.ndarray):
        raise AssertionError(f"{what} is {type(array).__name__}; a NumPy array is expected")
    require(array.shape == shape, f"{what} has shape {array.shape}; {shape} is expected")
    expected = "float64" if kinds == "f" else "integers"
    right_type = array.dtype == np.float64 if kinds == "f" else array.dtype.kind in kinds
    require(right_type, f"{what} has type {array.dtype}; {expected} are expected")
    require(np.all(np.isfinite(array)), f"{what} holds NaN or infinity")


def require_same(first: Arrays, second: Arrays, rule: str) -> None:
    """Fail with `rule` unless both hold the same arrays, bit for bit."""
    if difference := _difference(first, second):
        raise AssertionError(f"{rule}: {difference}")


def same(first: Arrays, second: Arrays) -> bool:
    """Whether both hold the same arrays, bit for bit."""
    return not _difference(first, second)


def require_different(first: Arrays, second: Arrays, rule: str) -> None:
    """Fail with `rule` if both hold the same arrays."""
    require(_difference(first, second), rule)


def require_refusal(action: Callable[[], object], what: str, errors: Sequence[type[Exception]] = ()) -> None:
    """Fail unless the action raises an error that tells a user something.

    Args:
        action: What should be refused.
        what: What is wrong with it, for the message.
        errors: The errors that are right; an `MlgenError` or `ValueError` when empty.
    """
    accepted = tuple(errors) or (MlgenError, ValueError)
    names = " or ".join(error.__name__ for error in accepted)
    try:
        action()
    except accepted as error:
        require(str(error).strip(), f"{what}: {type(error).__name__} was raised without a message")
    except Exception as error:
        raise AssertionError(f"{what}: {names} with a message is expected, not {error!r}") from error
    else:
        raise AssertionError(f"{what}: {names} is expected, but it was accepted")


def require_agreement(estimates: npt.NDArray[np.float64], expected: float, rule: str) -> None:
    """Fail unless the mean of the estimates is within five of its standard errors of what is expected."""
    mean = float(np.mean(estimates))
    standard_error = float(np.std(estimates, ddof=1) / np.sqrt(len(estimates)))
    # Where nothing is random, the estimates differ from what is expected by rounding alone.
    allowed = 5 * standard_error + 1e-9 * abs(expected)
    require(
        abs(mean - expected) <= allowed,
        f"{rule}: {mean:.6g} +- {standard_error:.2g} was found, {expected:.6g} is expected",
    )


@contextlib.contextmanager
def unchanged(arrays: Arrays, rule: str) -> Iterator[None]:
    """Fail with `rule` if what runs inside changes one of the arrays."""
    before = {name: array.copy() for name, array in arrays.items()}
    yield
    require_same(before, arrays, rule)


@contextlib.contextmanager
def touched_global_randomness() -> Iterator[list[str]]:
    """Collect the libraries (Python, NumPy, torch where it is loaded) whose global generator is drawn from inside."""
    before = _global_states()
    touched: list[str] = []
    yield touched
    after = _global_states()
    touched += [library for library, state in before.items() if after[library] != state]


def _global_states() -> dict[str, bytes]:
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - it is what must not be used
    states = {
        "Python": repr(random.getstate()).encode(),
        "NumPy": np.asarray(numpy_state[1]).tobytes() + repr(numpy_state[2:]).encode(),
    }
    # A plugin may use torch, the kit must not need it.
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state().numpy().tobytes()
    return states


def _difference(first: Arrays, second: Arrays) -> str:
    if set(first) != set(second):
        return f"one has {sorted(first)}, the other {sorted(second)}"
    for name, array in first.items():
        other = second[name]
        if array.dtype != other.dtype or array.shape != other.shape:
            return f"'{name}' is {array.dtype} {array.shape} in one and {other.dtype} {other.shape} in the other"
        if array.tobytes() != other.tobytes():
            return f"'{name}' has other values"
    return ""
