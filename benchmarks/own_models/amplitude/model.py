"""The regression for |M|^2: the one file to edit. Invariants, errors and checks are in the modules beside it.

Any regression will do that has the methods of `Model`, a network for instance. One that was trained elsewhere is read
in `fit`, from a file that a setting names.
"""

from __future__ import annotations

import numpy as np
import torch
from mlgen.stages import FloatArray, Progress, ProgressCallback, State, TrainingReport
from torch import nn

from own_five import PluginSettings


class Model:
    r"""Linear regressions on random Fourier features, each with other weights of the training points.

    The features :math:`\cos(w x + b)` with normal :math:`w` make ridge regression one with a Gaussian kernel. They are
    averaged over all exchanges of like particles, so that the prediction does not depend on their order. The members
    differ by the exponential weights of a Bayesian bootstrap.

    Args:
        inputs: Number of inputs of a point, f.
        settings: The settings of the card.

    References:
        Rahimi and Recht, NIPS 20 (2007); Rubin, Ann. Stat. 9, 130 (1981).
    """

    # YOUR MODEL: what it is made with, such as its layers. `fit` or `load` follows.
    def __init__(self, inputs: int, settings: PluginSettings) -> None:
        self._settings = settings
        self._networks = []
        for _ in range(settings.members):
            pairs = [(inputs, settings.units), (settings.units, settings.units), (settings.units, 1)]
            layers = [nn.Linear(i, o, device="meta", dtype=torch.float64).to_empty(device="cpu") for i, o in pairs]
            self._networks.append(nn.Sequential(layers[0], nn.GELU(), layers[1], nn.GELU(), layers[2]))

    # YOUR MODEL: the training. All randomness comes from `rng`.
    def fit(
        self, inputs: FloatArray, targets: FloatArray, rng: np.random.Generator, progress: ProgressCallback
    ) -> TrainingReport:
        """Learn targets ``(n,)``, of order one, from inputs ``(n, exchanges, f)``, of order one."""
        settings = self._settings
        x, y, errors = torch.from_numpy(inputs), torch.from_numpy(targets), []
        for number, network in enumerate(self._networks):
            with torch.no_grad():
                for parameter in network.parameters():
                    start = rng.standard_normal(tuple(parameter.shape)) / np.sqrt(parameter.shape[-1])
                    parameter.copy_(torch.from_numpy(start))
            optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
            for _ in range(settings.steps):
                batch = torch.from_numpy(rng.integers(0, len(y), settings.batch_size))
                loss = (network(x[batch]).mean(dim=1)[:, 0] - y[batch]).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            errors.append(float(loss.detach().sqrt()))
            progress(Progress(number + 1, settings.members, "root mean square error", errors[-1]))
        return TrainingReport(curves={"root mean square error of each member": errors})

    # YOUR MODEL: the prediction. Of a single network it is ``(n, 1)``; MEMBERS is no capability then (`__init__.py`).
    def predict(self, inputs: FloatArray) -> FloatArray:
        """Return the prediction of each member, ``(n, members)``, for inputs ``(n, exchanges, f)``."""
        with torch.no_grad():
            columns = [network(torch.from_numpy(inputs)).mean(dim=1).numpy() for network in self._networks]
        return np.concatenate(columns, axis=1)

    # YOUR MODEL: all that was learned, as named arrays, whatever their number.
    def state(self) -> State:
        """Return what was learned."""
        return {f"{i}.{k}": v.numpy() for i, one in enumerate(self._networks) for k, v in one.state_dict().items()}

    # YOUR MODEL: the way back.
    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        for i, one in enumerate(self._networks):
            one.load_state_dict({k: torch.from_numpy(state[f"{i}.{k}"]) for k in one.state_dict()})
