"""Torch as a plugin may use it: repeatable, and left as it was found. Only what uses torch imports it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

from mlgen.errors import TrainingError


@contextlib.contextmanager
def seeded(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and of `device` from `rng`, and put their own states back afterwards."""
    devices = [device] if device.type == "cuda" else []
    seed = int(rng.integers(2**63))
    with torch.random.fork_rng(devices=devices):
        # Not torch.manual_seed, which would seed all other devices too, whose state is not kept.
        torch.default_generator.manual_seed(seed)
        for one in devices:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        yield


def device_for(name: str) -> torch.device:
    """Return the device of the setting `name`.

    Raises:
        TrainingError: It is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type != "cuda":
        return device
    # With its number, as the devices of tensors have it.
    index = device.index or 0
    if index >= torch.cuda.device_count():
        raise TrainingError(
            f"device = '{name}' was asked for, but torch sees {torch.cuda.device_count()} such devices; "
            "choose 'cpu' or 'auto'"
        )
    return torch.device("cuda", index)
