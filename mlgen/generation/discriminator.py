"""A network that tells generated events from true ones, and what follows from it: the ratio of their densities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlgen.errors import ModelError
from mlgen.events import FloatArray, invariant_mass
from mlgen.generation.density import CHUNK
from mlgen.representation import Topology
from mlgen.torch_training import set_parameters

BoolArray = npt.NDArray[np.bool_]

_WIDTH, _DEPTH = 96, 3
#: Events in a step at most; fewer where that leaves an epoch less than so many steps.
_LARGEST_BATCH, _STEPS_OF_EPOCH = 1024, 40
_LEARNING_RATE, _WEIGHT_DECAY = 2e-3, 1e-2
_MEMORY = 100
_PATIENCE = 4
#: Largest logarithm of a ratio of densities.
_LARGEST = 3.0


class Discriminator:
    r"""Estimates :math:`w_D = D / (1 - D) \to p_\mathrm{data} / p_\mathrm{model}` from points and derived observables.

    Args:
        centre: Mean of the inputs, ``(inputs,)``.
        scale: Their standard deviation.

    References:
        Eq. (4.92) to (4.94) of Plehn et al., arXiv:2211.01421; arXiv:2110.13632.
    """

    def __init__(self, centre: FloatArray, scale: FloatArray) -> None:
        self.centre, self.scale = centre, scale
        self.network = _network(len(centre))
        #: Mean weight of what is left of generated events after a rejection, as those above the largest ratio keep one.
        self.mean_weight = 1.0

    @classmethod
    def make(cls, inputs: FloatArray, rng: np.random.Generator) -> Self:
        """Make one for such inputs ``(n, inputs)``, which says one half of everything."""
        scale = inputs.std(axis=0)
        made = cls(inputs.mean(axis=0), np.where(scale > 0, scale, 1.0))
        with torch.no_grad():
            for layer in made.network:
                if isinstance(layer, nn.Linear):
                    bound = math.sqrt(3 / layer.in_features)
                    last = layer.out_features == 1
                    values = rng.uniform(-bound, bound, tuple(layer.weight.shape)) * (0.0 if last else 1.0)
                    layer.weight.copy_(torch.from_numpy(values))
                    layer.bias.zero_()
        return made

    def train(
        self,
        true: FloatArray,
        weight: FloatArray,
        generated: FloatArray,
        held_out: tuple[BoolArray, BoolArray],
        epochs: int,
        rng: np.random.Generator,
        report: Callable[[int, float], None] | None = None,
    ) -> float:
        """Go on training with the weighted cross entropy; keeps what is best for the held-out events.

        Args:
            true: Inputs of true events, ``(n, inputs)``.
            weight: Their signed weights, ``(n,)``.
            generated: Inputs of generated events, ``(m, inputs)``, of weight one.
            held_out: Which true and which generated events are held out, ``(n,)`` and ``(m,)``.
            epochs: Passes through the larger of the two sets at most.
            rng: Source of all randomness.
            report: Called with the epochs done and the cross entropy.

        Returns:
            Cross entropy of the held-out events, ln 2 where nothing tells them apart.
        """
        x = torch.from_numpy(np.concatenate([self._scaled(true), self._scaled(generated)]))
        label = torch.from_numpy(np.r_[np.ones(len(true)), np.zeros(len(generated))].astype(np.float32))
        # Both classes weigh the same, and the mean of all weights is one.
        events = len(true) + len(generated)
        size = np.r_[weight * (events / 2 / weight.sum()), np.full(len(generated), events / 2 / len(generated))]
        w = torch.from_numpy(size.astype(np.float32))
        check = torch.from_numpy(np.flatnonzero(np.concatenate(held_out)))
        training = np.flatnonzero(~np.concatenate(held_out))
        parameters = list(self.network.parameters())
        optimiser = torch.optim.AdamW(parameters, _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        batch = int(np.clip(len(training) // _STEPS_OF_EPOCH, 32, _LARGEST_BATCH))
        steps_of_epoch = max(1, len(training) // batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * steps_of_epoch)
        average = [parameter.detach().clone() for parameter in parameters]
        best, best_loss, best_epoch = [p.clone() for p in average], self._entropy(x[check], label[check], w[check]), 0
        step = 0
        for epoch in range(1, epochs + 1):
            order = torch.from_numpy(rng.permutation(training))
            for chosen in torch.split(order, batch)[:steps_of_epoch]:
                loss = nn.functional.binary_cross_entropy_with_logits(
                    self.network(x[chosen])[:, 0], label[chosen], w[chosen]
                )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                step += 1
                with torch.no_grad():
                    torch._foreach_lerp_(average, list[Tensor](parameters), 1 / max(2.0, min(_MEMORY, step / 2)))
            own = [parameter.detach().clone() for parameter in parameters]
            set_parameters(parameters, average)
            value = self._entropy(x[check], label[check], w[check])
            if value < best_loss:
                best, best_loss, best_epoch = [mean.clone() for mean in average], value, epoch
            set_parameters(parameters, own)
            if report is not None:
                report(epoch, value)
            if epoch - best_epoch >= _PATIENCE:
                break
        set_parameters(parameters, best)
        return best_loss

    def ratio(self, inputs: FloatArray) -> FloatArray:
        """Return the ratio of the densities, true over generated, ``(n,)``."""
        x = torch.from_numpy(self._scaled(inputs))
        with torch.no_grad():
            parts = [self.network(part)[:, 0] for part in torch.split(x, CHUNK)]
        logits = torch.cat(parts).double().clamp(-_LARGEST, _LARGEST) if parts else torch.zeros(0).double()
        return np.asarray(torch.exp(logits).numpy())

    def normalise(self, generated: FloatArray, largest: float) -> None:
        """Make the mean ratio of generated events one, as it is for the true ratio; sets `mean_weight` too.

        Args:
            generated: Inputs of generated events, ``(n, inputs)``.
            largest: Ratio by which events are rejected.
        """
        last = list(self.network.parameters())[-1]
        with torch.no_grad():
            last.sub_(float(np.log(self.ratio(generated).mean())))
        ratio = self.ratio(generated) / largest
        self.mean_weight = float(ratio.mean() / np.minimum(ratio, 1.0).mean())

    def _scaled(self, inputs: FloatArray) -> npt.NDArray[np.float32]:
        return np.clip((inputs - self.centre) / self.scale, -8, 8).astype(np.float32)

    def _entropy(self, x: Tensor, label: Tensor, weight: Tensor) -> float:
        with torch.no_grad():
            logits = torch.cat([self.network(part)[:, 0] for part in torch.split(x, CHUNK)])
            return float(nn.functional.binary_cross_entropy_with_logits(logits, label, weight))

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        return {
            "centre": self.centre,
            "scale": self.scale,
            "mean_weight": np.array([self.mean_weight]),
            **{f"network.{name}": values.numpy().copy() for name, values in self.network.state_dict().items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Inverse of `state`.

        Raises:
            ModelError: The arrays do not fit.
        """
        try:
            centre, scale = (np.asarray(state[name], np.float64) for name in ("centre", "scale"))
            if centre.ndim != 1 or not len(centre) or scale.shape != centre.shape:
                raise ModelError(f"the arrays 'centre' and 'scale' have shapes {centre.shape} and {scale.shape}")
            made = cls(centre, scale)
            made.mean_weight = float(np.asarray(state["mean_weight"], np.float64).reshape(1)[0])
            made.network.load_state_dict(
                {
                    name: torch.from_numpy(np.array(state[f"network.{name}"], np.float32))
                    for name in made.network.state_dict()
                }
            )
        except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(f"the arrays of the model's discriminator do not fit: {error}") from error
        return made


def discriminator_inputs(topology: Topology, points: FloatArray, momenta: FloatArray) -> FloatArray:
    """What a discriminator sees: points, and observables that are hard to make of them, ``(n, inputs)``.

    Transverse momentum and rapidity of each outgoing particle; invariant mass, distance and azimuthal distance of each
    pair; rapidity and energy of the whole event.

    References:
        Eq. (4.93) of Plehn et al., arXiv:2211.01421.
    """
    outgoing = momenta[:, topology.outgoing]
    tiny = 1e-9
    pt = np.hypot(outgoing[..., 0], outgoing[..., 1])
    rapidity = 0.5 * np.log((outgoing[..., 3] + outgoing[..., 2] + tiny) / (outgoing[..., 3] - outgoing[..., 2] + tiny))
    azimuth = np.arctan2(outgoing[..., 1], outgoing[..., 0])
    columns = [points, np.log(pt + tiny), rapidity]
    for a in range(outgoing.shape[1]):
        for b in range(a + 1, outgoing.shape[1]):
            turn = np.abs(np.mod(azimuth[:, a] - azimuth[:, b] + np.pi, 2 * np.pi) - np.pi)
            apart = np.hypot(rapidity[:, a] - rapidity[:, b], turn)
            mass = invariant_mass(*(outgoing[:, a] + outgoing[:, b]).T)
            columns += [np.column_stack([np.log(np.maximum(mass, 1e-3)), apart, turn])]
    total = outgoing.sum(axis=1)
    columns.append(np.column_stack([np.arctanh(total[:, 2] / total[:, 3]), np.log(invariant_mass(*total.T))]))
    return np.hstack(columns)


def _network(inputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    size = inputs
    for _ in range(_DEPTH):
        layers += [torch.nn.utils.skip_init(nn.Linear, size, _WIDTH), nn.SiLU()]  # type: ignore[no-untyped-call]
        size = _WIDTH
    return nn.Sequential(*layers, torch.nn.utils.skip_init(nn.Linear, size, 1))  # type: ignore[no-untyped-call]
