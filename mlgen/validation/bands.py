"""The uncertainty band that named weights span."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from mlgen.validation.observable import FloatArray

#: ``mlgen.bnn.stat.3``: one of several equally likely samples of a network.
_REPLICA = re.compile(r"^(?P<stem>.+)\.\d+$")
#: ``mlgen.bnn.syst.up`` and ``.down``: one standard deviation to each side.
_SIDED = re.compile(r"^(?P<stem>.+)\.(?P<side>up|down)$")


def band(nominal: FloatArray, varied: Mapping[str, FloatArray]) -> FloatArray | None:
    """Combine named weights into one band.

    Weights ``stem.0``, ``stem.1``, ... are replicas: their standard deviation around the nominal value counts to both
    sides. ``stem.up`` and ``stem.down``, and likewise all weights of other names together, span an envelope. Stems are
    independent sources and are added in quadrature.

    Args:
        nominal: Nominal content of each bin, ``(bins,)``.
        varied: Content by named weight, each ``(bins,)``.

    Returns:
        Lower and upper end ``(2, bins)``; None without named weights.
    """
    if not varied:
        return None
    sources: dict[tuple[str, str], list[FloatArray]] = {}
    for name, values in varied.items():
        if sided := _SIDED.match(name):
            key = ("envelope", sided["stem"])
        elif replica := _REPLICA.match(name):
            key = ("replicas", replica["stem"])
        else:
            key = ("envelope", "")
        sources.setdefault(key, []).append(values - nominal)
    up = np.zeros_like(nominal)
    down = np.zeros_like(nominal)
    for (combination, _), shifts in sources.items():
        if combination == "replicas" and len(shifts) > 1:
            variance = np.mean(np.square(shifts), axis=0)
            up += variance
            down += variance
        else:
            up += np.maximum(np.max(shifts, axis=0), 0) ** 2
            down += np.minimum(np.min(shifts, axis=0), 0) ** 2
    return np.stack([nominal - np.sqrt(down), nominal + np.sqrt(up)])
