"""Parameters of the flows as they are kept: without weights that are never used, in single or half precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mlgen.errors import ModelError
from mlgen_caloflow.causal import CausalMixing

_WEIGHT = ".weight"


def stored_parameters(network: nn.Module, *, half: bool) -> dict[str, npt.NDArray[Any]]:
    """Return all parameters and buffers as named arrays."""
    stored = {}
    mixings = _mixings(network)
    for name, tensor in network.state_dict().items():
        kept = mixings[name].packed() if name in mixings else tensor.detach()
        stored[name] = kept.cpu().numpy().astype(np.float16 if half else np.float32)
    return stored


def load_parameters(network: nn.Module, stored: Mapping[str, npt.NDArray[Any]]) -> None:
    """Put stored arrays into a network.

    Raises:
        ModelError: One is missing, is too many, or has another shape.
    """
    mixings = _mixings(network)
    own = network.state_dict()
    if different := set(own) ^ set(stored):
        name = min(different)
        trouble = "is missing" if name in own else "belongs to no network with these settings"
        raise ModelError(f"the array '{name}' of the model {trouble}")
    tensors = {}
    for name, parameter in own.items():
        found = torch.from_numpy(np.asarray(stored[name], np.float32))
        expected = mixings[name].packed().shape if name in mixings else parameter.shape
        if found.shape != expected:
            raise ModelError(
                f"the array '{name}' of the model has the shape {tuple(found.shape)}; {tuple(expected)} is expected "
                "with these settings"
            )
        tensors[name] = mixings[name].unpacked(found) if name in mixings else found
    network.load_state_dict(tensors)


def round_parameters(network: nn.Module) -> None:
    """Round parameters and buffers to half precision; they stay numbers of single precision."""
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(tensor.half())


def _mixings(network: nn.Module) -> dict[str, CausalMixing]:
    """Layers with weights that are never used, by the names of their weights."""
    return {name + _WEIGHT: part for name, part in network.named_modules() if isinstance(part, CausalMixing)}
