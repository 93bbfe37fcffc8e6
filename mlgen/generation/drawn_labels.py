"""Labels of single events. Without torch, so that generators without it can use what takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DrawnLabels:
    """Labels of events, ``(n,)`` each, as `mlgen.representation.Labels` numbers them."""

    flavour: IntArray
    color: IntArray
    spin: IntArray

    def of(self, chosen: npt.NDArray[Any]) -> DrawnLabels:
        """Those of some events."""
        return DrawnLabels(self.flavour[chosen], self.color[chosen], self.spin[chosen])
