"""Torch as a plugin may use it: repeatable, and left as it was found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from mlgen.errors import TrainingError


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: sums in another order would change the last bits of every point."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def seeded(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch from `rng`, and put its own random state back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


def device_for(name: str) -> torch.device:
    """Return the device of the setting `name`.

    Raises:
        TrainingError: It is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TrainingError(
            f"device = '{name}' was asked for, but torch sees {torch.cuda.device_count()} such devices; "
            "choose 'cpu' or 'auto'"
        )
    return device
