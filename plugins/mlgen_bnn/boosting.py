"""Boosting: points that are badly learned, or that matter most, count more."""

from __future__ import annotations

import torch
from torch import Tensor

from mlgen_bnn.settings import BnnSettings


class PointCounts:
    """How often each training point counts, n_j of eq. (1.101) of Plehn et al., arXiv:2211.01421.

    With loss-based boosting, the points with the largest pulls count more from one pass over the points to the next;
    with process-based boosting, those with the largest amplitudes do, always.

    Args:
        values: |M|^2 of the training points, ``(n,)``, or a function that grows with it.
        settings: Which kind, which share of the points, and how much more.

    References:
        Badger et al., SciPost Phys. Core 6, 034 (2023), arXiv:2206.14831, sec. 4.
    """

    def __init__(self, values: Tensor, settings: BnnSettings) -> None:
        self._number = max(1, round(settings.boosting_share * len(values)))
        self._factor = settings.boosting_factor
        self._by_loss = settings.boosting in ("loss", "both")
        self._fixed = torch.ones_like(values)
        if settings.boosting in ("process", "both"):
            self._fixed[torch.topk(values, self._number).indices] = self._factor
        self._counts = self._fixed.clone()
        self._pulls = torch.zeros_like(values)

    def __getitem__(self, chosen: Tensor) -> Tensor:
        """Return the counts of the chosen points."""
        return self._counts[chosen]

    def seen(self, chosen: Tensor, pulls: Tensor) -> None:
        """Take note of the pulls of the chosen points."""
        if self._by_loss:
            self._pulls[chosen] = pulls.detach().abs()

    def next_pass(self) -> None:
        """Choose the points that count more in the next pass."""
        if self._by_loss and self._pulls.any():
            self._counts = self._fixed.clone()
            self._counts[torch.topk(self._pulls, self._number).indices] *= self._factor
