"""The distribution of the last layer's weights that the training data allow, once all else is fixed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mlgen.stages import FloatArray
from mlgen_bnn.networks import Network
from mlgen_bnn.training import Points

CorrectedErrors = Callable[[torch.Tensor, torch.Tensor], FloatArray]
#: Points that are looked at together.
_CHUNK = 20_000


def set_last_widths(network: Network, training: Points, corrected: CorrectedErrors, prior_width: float) -> None:
    r"""Give the weights behind the mean the widths that make the loss of a Bayesian network smallest.

    For given hidden units :math:`h` and errors :math:`\sigma`, the loss (1.92) depends on the width of a weight as
    :math:`\sum_j h_j^2 \sigma_q^2 / 2 \sigma_j^2 + \sigma_q^2 / 2 \sigma_p^2 - \log \sigma_q`, which is smallest for

    .. math:: \sigma_q^{-2} = \sigma_p^{-2} + \sum_j h_j^2 / \sigma_j^2 .

    Widths that are only stepped towards it are still those of the start after a short training.

    Args:
        network: Trained, on the CPU.
        training: The training points.
        corrected: Returns the logarithms of the errors that count, from the inputs and those of the network.
        prior_width: Width of the prior, :math:`\sigma_p`.

    References:
        Eq. (1.92) of Plehn et al., arXiv:2211.01421.
    """
    precision = torch.full_like(network.mean.weight.double(), prior_width**-2)
    with torch.no_grad():
        for start in range(0, len(training), _CHUNK):
            inputs = training.inputs[start : start + _CHUNK].cpu()
            hidden = network.last_hidden(inputs)
            log_error = torch.from_numpy(corrected(inputs, network.error(hidden)[:, 0]))
            precision += (hidden.double().square() * torch.exp(-2 * log_error)[:, None]).sum(dim=0)[:, None]
    network.mean.set_widths(precision)
