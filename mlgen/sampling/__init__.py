"""What the author of a phase-space sampler needs, beside the contract itself.

A sampler that first draws a channel and then a position within it derives from `ChannelSampler`, which draws the points
of a sample, computes their density and keeps the channel probabilities. What is left to write is ``place``, which moves
uniform points to where the sampler wants them, and ``train``, in four steps::

    check_integrand(integrand)                                           # refuse what makes no sense
    moments = WeightMoments(len(integrand.channels))
    for batch in evaluated_batches(integrand, counts, self.place, rng):  # new points of each channel, checked
        moments.add(batch.channel, batch.weight)                         # and whatever else it learns from them
    self.set_channels(integrand, moments.probabilities(moments.contributes, integrand.groups, 0.05))

The plugin `flat` is this and little more. A sampler of another kind can use the pieces one by one:

- `evaluate` and `check_integrand`: errors in words for an integrand that breaks its contract;
- `systematic_counts`, `proportional_to`, `WeightMoments`: how often each channel is drawn;
- `prior_of_drawn`: prior channel weights without the channels that are never drawn;
- `point_weights`, `unweighting_efficiency`, `maximum_at_overweight_share`: how good the points are;
- `remark_on_dropped`: for the training's report;
- `check_arrays`: for ``from_state``, that of `mlgen.state_arrays`, which is for plugins of all stages.
"""

from __future__ import annotations

from mlgen.sampling.channel_probabilities import BoolArray, proportional_to, systematic_counts
from mlgen.sampling.channel_sampler import ChannelSampler
from mlgen.sampling.dropped_channels import remark_on_dropped
from mlgen.sampling.efficiency import OVERWEIGHT_SHARE, maximum_at_overweight_share, unweighting_efficiency
from mlgen.sampling.evaluation import EvaluatedBatch, check_integrand, evaluate, evaluated_batches
from mlgen.sampling.point_weights import point_weights
from mlgen.sampling.prior_weights import prior_of_drawn
from mlgen.sampling.weight_moments import WeightMoments
from mlgen.state_arrays import check_arrays

__all__ = [
    "OVERWEIGHT_SHARE",
    "BoolArray",
    "ChannelSampler",
    "EvaluatedBatch",
    "WeightMoments",
    "check_arrays",
    "check_integrand",
    "evaluate",
    "evaluated_batches",
    "maximum_at_overweight_share",
    "point_weights",
    "prior_of_drawn",
    "proportional_to",
    "remark_on_dropped",
    "systematic_counts",
    "unweighting_efficiency",
]
