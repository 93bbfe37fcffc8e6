r"""A nuisance parameter of the training: one model for all values of it.

Named weights of the file say what an event weighs at :math:`a = \pm 1`; between and beyond, the weight is
:math:`w(a) = w\,r_\pm^{|a|}` with the ratio :math:`r_\pm = w_\pm / w`, or :math:`w (1 + |a| (r_\pm - 1))` where a ratio
is not positive. The model sees a for each event, drawn evenly between -1.5 and 1.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mlgen.events import FloatArray
from mlgen.generation.families import FloatArray32

#: Largest value of the parameter that is trained for: `up` and `down` are at one.
LARGEST = 1.5


@dataclass(frozen=True)
class Nuisance:
    """The ratios of weights at +1 and -1 to the nominal ones.

    Args:
        up: ``(n,)``; None without a nuisance parameter.
        down: Likewise.

    References:
        Eq. (4.98) and (4.99) of Plehn et al., arXiv:2211.01421.
    """

    up: Tensor | None = None
    down: Tensor | None = None

    @classmethod
    def of(cls, variations: FloatArray, device: torch.device) -> Nuisance:
        """Make it of named weights relative to the nominal one, ``(names, n)``: none, up, or up and down."""
        if not len(variations):
            return cls()
        up = variations[0]
        down = variations[1] if len(variations) > 1 else 2 - up
        return cls(*(torch.from_numpy(ratio.astype(np.float32)).to(device) for ratio in (up, down)))

    @property
    def size(self) -> int:
        """Numbers that the model is given for it: 1, or 0 without."""
        return 0 if self.up is None else 1

    def drawn(self, chosen: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Values for the events ``(n,)`` as a model sees them, ``(n, size)``, and factors of the weights, ``(n,)``."""
        if self.up is None or self.down is None:
            return torch.zeros(len(chosen), 0, device=chosen.device), torch.ones(len(chosen), device=chosen.device)
        values = rng.uniform(-LARGEST, LARGEST, len(chosen)).astype(np.float32)
        a = torch.from_numpy(values).to(chosen.device)
        return a[:, None], self.factor(chosen, a)

    def factor(self, chosen: Tensor, a: Tensor) -> Tensor:
        """Factor of the weights of events at values ``(n,)`` of the parameter."""
        if self.up is None or self.down is None:
            return torch.ones_like(a)
        ratio = torch.where(a > 0, self.up[chosen], self.down[chosen])
        size = a.abs()
        return torch.where(ratio > 0, ratio.clamp(min=1e-6) ** size, 1 + size * (ratio - 1))


def nominal(n: int, size: int, value: float = 0.0) -> FloatArray32:
    """What the model is given for `n` events at one value of the parameter, ``(n, size)``."""
    return np.full((n, size), value, np.float32)
