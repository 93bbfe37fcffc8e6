"""One order of like particles: a function of sorted particles does not depend on how they were given."""

from __future__ import annotations

import numpy as np

from mlgen.stages import AmplitudeProcess, FloatArray, IntArray


def in_canonical_order(process: AmplitudeProcess, momenta: FloatArray) -> FloatArray:
    """Return the same points with like particles in an order that follows from the momenta alone.

    Like outgoing particles fall in energy, as seen from the centre of mass. Two like incoming ones: the first has the
    smaller scalar product with the first outgoing particle, after those have been sorted. All keys are invariants, so
    that the order does not depend on the frame.

    Args:
        process: Which particles are alike.
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.

    Returns:
        ``(n, particles, 4)``; the array itself where no two particles are alike.
    """
    groups = process.like_particles
    if not groups or not len(momenta):
        return momenta
    order = np.broadcast_to(np.arange(momenta.shape[1]), momenta.shape[:2]).copy()
    outgoing = [np.array(group) for group in groups if group[0] >= 2]
    if outgoing:
        # Where there are but two outgoing particles, both have the same energy: their order would be that of rounding.
        reference = _covariant(momenta[:, 0] if momenta.shape[1] == 4 else momenta[:, 0] + momenta[:, 1])
        for slots in outgoing:
            key = np.einsum("nia,na->ni", momenta[:, slots], reference)
            order[:, slots] = slots[np.argsort(-key, axis=1, kind="stable")]
    if any(group[0] < 2 for group in groups):
        first = _covariant(momenta[np.arange(len(momenta)), order[:, 2]])
        products = np.einsum("nia,na->ni", momenta[:, :2], first)
        exchanged = products[:, 1] < products[:, 0]
        order[exchanged, 0], order[exchanged, 1] = 1, 0
    return _taken(momenta, order)


def _covariant(momentum: FloatArray) -> FloatArray:
    return np.asarray(momentum * np.array([-1.0, -1.0, -1.0, 1.0]))


def _taken(momenta: FloatArray, order: IntArray) -> FloatArray:
    return np.asarray(np.take_along_axis(momenta, order[:, :, None], axis=1))
