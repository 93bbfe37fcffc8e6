"""A learned generator as named arrays, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from mlgen.errors import ModelError
from mlgen.generation.discriminator import Discriminator
from mlgen.generation.families import find_families
from mlgen.generation.learning import Learned, LearnedFamily
from mlgen.generation.topology_labels import TopologyLabels
from mlgen.representation import Topology
from mlgen.run_info import RunInfo
from mlgen.stages import State

if TYPE_CHECKING:
    from mlgen.generation.learned_generator import LearnedGenerator

STATE_VERSION = 2


def generator_state(learned: Learned, run_info: RunInfo, weight: float) -> State:
    """Return everything as named arrays."""
    about = {
        "version": STATE_VERSION,
        "run_info": run_info.to_json(),
        "weight": weight,
        "topologies": len(learned.topologies),
        "extra": learned.extra,
        "discriminators": sorted(learned.discriminators),
        "members": [len(family.members) for family in learned.families],
    }
    state: dict[str, npt.NDArray[Any]] = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8).copy()}
    for k, (topology, labels) in enumerate(zip(learned.topologies, learned.labels, strict=True)):
        state |= {f"topology{k}.{name}": array for name, array in topology.state().items()}
        state |= {f"labels{k}.{name}": array for name, array in labels.state().items()}
    for k, discriminator in learned.discriminators.items():
        state |= {f"discriminator{k}.{name}": array for name, array in discriminator.state().items()}
    for k, family in enumerate(learned.families):
        state[f"family{k}.totals"] = family.totals
        for name, parameter in family.density.named_parameters():
            state[f"family{k}.density.{name}"] = parameter.detach().cpu().numpy().copy()
            if family.members:
                drawn = torch.stack([member[name] for member in family.members])
                state[f"family{k}.members.{name}"] = drawn.detach().cpu().numpy().copy()
    return state


def generator_from_state(generator: LearnedGenerator, state: State) -> tuple[Learned, RunInfo, float]:
    """Inverse of `generator_state`, with the networks of a generator of the same settings.

    Raises:
        ModelError: The arrays do not fit.
    """
    about = _about(state, generator.name)
    try:
        return _learned(generator, state, about), RunInfo.from_json(about["run_info"]), float(about["weight"])
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"the arrays of the model do not fit each other: {error}") from error


def _learned(generator: LearnedGenerator, state: State, about: Mapping[str, Any]) -> Learned:
    topologies = [Topology.from_state(_part(state, f"topology{k}")) for k in range(about["topologies"])]
    share = np.concatenate([topology.labels.share for topology in topologies]).astype(np.float64)
    if not (np.isfinite(share).all() and (share >= 0).all() and share.sum() > 0):
        raise ModelError("the arrays 'labels.share' of the model are no frequencies")
    extra = int(about["extra"])
    learned = Learned(topologies, [], [], {}, extra)
    for k, (family, members) in enumerate(zip(find_families(topologies), about["members"], strict=True)):
        density = generator.family_density(family, extra)
        part = _part(state, f"family{k}")
        values = _parameters(density, part, "density", (), generator.name)
        with torch.no_grad():
            for name, parameter in density.named_parameters():
                parameter.copy_(torch.from_numpy(values[name]))
        density.to(generator.torch_device)
        drawn: list[dict[str, torch.Tensor]] = []
        if members:
            arrays = _parameters(density, part, "members", (members,), generator.name)
            drawn = [
                {name: torch.from_numpy(array[i]).to(generator.torch_device) for name, array in arrays.items()}
                for i in range(members)
            ]
        totals = part.get("totals")
        if totals is None or totals.shape != (2, len(family.topologies)) or totals.dtype.kind != "f":
            raise ModelError(f"the array 'family{k}.totals' of the model is missing or has another shape")
        learned.families.append(LearnedFamily(family, density, drawn, totals))
    for k, topology in enumerate(topologies):
        part = _part(state, f"labels{k}")
        learned.labels.append(TopologyLabels.from_state(part, topology, topology.dimension + extra))
    for k in about["discriminators"]:
        learned.discriminators[int(k)] = Discriminator.from_state(_part(state, f"discriminator{k}"))
    return learned


def _about(state: State, plugin: str) -> dict[str, Any]:
    if "about" not in state:
        raise ModelError(f"the array 'about' of the model is missing; these are not the arrays of a {plugin} generator")
    try:
        about = json.loads(np.asarray(state["about"], np.uint8).tobytes())
        version = about["version"]
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the array 'about' of the model cannot be read: {error}") from error
    if version != STATE_VERSION:
        raise ModelError(f"the model has version {version}; this {plugin} generator reads version {STATE_VERSION}")
    missing = {"run_info", "weight", "topologies", "extra", "discriminators", "members"} - set(about)
    if missing:
        raise ModelError(f"the array 'about' of the model says nothing of {', '.join(sorted(missing))}")
    return dict(about)


def _part(state: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    begin = f"{prefix}."
    return {name.removeprefix(begin): array for name, array in state.items() if name.startswith(begin)}


def _parameters(
    density: torch.nn.Module,
    state: Mapping[str, npt.NDArray[Any]],
    kind: str,
    before: tuple[int, ...],
    plugin: str,
) -> dict[str, npt.NDArray[np.float32]]:
    found = _part(state, kind)
    expected = {name: (*before, *parameter.shape) for name, parameter in density.named_parameters()}
    surplus = set(found) - set(expected)
    wrong = [name for name, shape in expected.items() if name not in found or found[name].shape != shape]
    if surplus or wrong:
        name = min(surplus) if surplus else wrong[0]
        trouble = "is not part of" if surplus else "is missing, or has another shape than, in"
        raise ModelError(
            f"the array '{kind}.{name}' of the model {trouble} a {plugin} generator with these settings; load it with "
            "the settings that it was trained with, or train it again if the plugin's code has changed since"
        )
    return {name: np.array(found[name], np.float32) for name in expected}
