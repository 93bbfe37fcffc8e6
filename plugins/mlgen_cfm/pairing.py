"""Which noise belongs to which event."""

from __future__ import annotations

import torch
from torch import Tensor

#: Events within which pairs are sought: the work grows with the third power, and nothing is gained by more.
_GROUP = 256


def paired(points: Tensor, latent: Tensor, context: Tensor) -> Tensor:
    """Reorder noise so that the squared distances to its events are smallest in sum, within groups of a batch.

    Ways from noise to events then cross less, and a network learns straighter ones. Only events of which the same is
    given may exchange their noise: otherwise what is given would tell something of the noise. So nothing is exchanged
    where continuous numbers are given.

    Args:
        points: ``(n, d)``.
        latent: Noise, ``(n, d)``.
        context: What is given, ``(n, context)``.

    References:
        Tong et al., arXiv:2302.00482; Pooladian et al., arXiv:2304.14772.
    """
    from scipy.optimize import linear_sum_assignment

    result = latent.clone()
    groups = torch.unique(context, dim=0, return_inverse=True)[1] if context.shape[1] else torch.zeros(len(points))
    for group in torch.unique(groups):
        members = torch.nonzero(groups == group)[:, 0]
        for part in torch.split(members, _GROUP):
            cost = torch.cdist(points[part], latent[part]).square()
            _, columns = linear_sum_assignment(cost.detach().cpu().numpy())
            result[part] = latent[part[torch.from_numpy(columns).to(part.device)]]
    return result
