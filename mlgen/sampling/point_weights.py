"""The weights of points that a sampler drew."""

from __future__ import annotations

import numpy as np

from mlgen.stages import FloatArray, Integrand, PhaseSpaceSampler, Points


def point_weights(sampler: PhaseSpaceSampler, integrand: Integrand, points: Points) -> FloatArray:
    r"""Return :math:`\alpha_c f_c / p(x, c)` of each point, ``(n,)``: their mean estimates the integral.

    Args:
        sampler: The trained sampler that drew the points; its channel weights :math:`\alpha` are used.
        integrand: Any integrand with the channels that the sampler was trained for.
        points: The points, ``(n,)``.
    """
    evaluated = integrand(points.x, points.channel)
    shares = sampler.channel_weights(evaluated.features, evaluated.prior)
    share = shares[np.arange(len(points.x)), points.channel]
    return np.asarray(share * evaluated.value / points.density, np.float64)
