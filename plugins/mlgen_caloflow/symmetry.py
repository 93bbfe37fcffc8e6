"""Mirror images and turns of showers: which of them the voxels have, and whether a sample agrees."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.showers import Geometry, Layer, PolarLayer
from mlgen.stages import FloatArray, IntArray

#: A symmetry is refused where the sample would look like that with less than this probability if it had it.
_LEAST_PROBABILITY = 1e-3


def symmetries(geometry: Geometry) -> list[IntArray]:
    """Orders of the voxels ``(n_voxels,)`` that are mirror images or turns of the calorimeter, the identity first.

    Rectangular layers can be mirrored in x and y, and turned by a right angle where all of them are squares of squares;
    polar ones are turned by one slice, and mirrored.
    """
    polar = [layer for layer in geometry.layers if isinstance(layer, PolarLayer)]
    images: list[tuple[IntArray, ...]] = []
    if len(polar) == len(geometry.layers):
        slices = int(np.gcd.reduce([layer.n_angular for layer in polar if layer.n_angular > 1] or [1]))
        for turn, mirror in itertools.product(range(slices), (False, True)):
            images.append(tuple(_polar_image(layer, turn, slices, mirror) for layer in polar))
    else:
        for across, along, swap in itertools.product((False, True), repeat=3):
            found = [_plane_image(layer, across, along, swap) for layer in geometry.layers]
            if all(image is not None for image in found):
                images.append(tuple(image for image in found if image is not None))
    offsets = geometry.layer_offsets
    orders = [np.concatenate([part + offset for part, offset in zip(image, offsets, strict=False)]) for image in images]
    different = {order.tobytes(): order for order in orders}
    return list(different.values())


def agreeing(
    orders: list[IntArray], voxels: npt.NDArray[np.floating[Any]], groups: IntArray
) -> tuple[list[IntArray], list[str]]:
    """Those symmetries that a sample has, as far as its statistics tell, and a remark where it lacks some.

    Looked at are the differences between each shower and its image, of the square roots of voxel energies: with these,
    the few hottest voxels do not decide alone.

    Args:
        orders: The symmetries, the identity first.
        voxels: ``(n, n_voxels)``.
        groups: Layer of each voxel, ``(n_voxels,)``.
    """
    sample = np.sqrt(voxels.astype(np.float64))
    kept, refused = orders[:1], 0
    for order in orders[1:]:
        if _p_value(sample, order, groups) > _LEAST_PROBABILITY:
            kept.append(order)
        else:
            refused += 1
    if not refused:
        return kept, []
    # What is left has to be a group, or images of images would be others than those that were looked at.
    if not _is_group(kept):
        kept = orders[:1]
    return kept, [f"mirror images: the training showers lack {refused} of {len(orders) - 1} symmetries of the voxels"]


def _p_value(sample: FloatArray, order: IntArray, groups: IntArray) -> float:
    """Probability of so large a difference between showers and their images in any layer, if they were alike."""
    from scipy.stats import norm

    difference = sample - sample[:, order]
    half = len(sample) // 2
    smallest, layers = 1.0, 0
    for group in np.unique(groups):
        here = groups == group
        # The pattern from one half is looked for in the other: unbiased, and one number for each layer.
        direction = difference[:half, here].mean(axis=0)
        values = difference[half:, here] @ direction
        error = values.std() / np.sqrt(max(1, len(values)))
        if error > 0:
            layers += 1
            smallest = min(smallest, float(norm.sf(values.mean() / error)))
    # Of several layers the most significant is taken (Bonferroni).
    return min(1.0, layers * smallest) if layers else 1.0


def _is_group(orders: list[IntArray]) -> bool:
    known = {order.tobytes() for order in orders}
    return all(first[second].tobytes() in known for first in orders for second in orders)


def _polar_image(layer: PolarLayer, turn: int, slices: int, mirror: bool) -> IntArray:
    order = np.arange(layer.n_voxels).reshape(layer.n_angular, -1)
    if layer.n_angular > 1:
        # One turn is that of the layer with the fewest slices.
        order = np.roll(order, turn * (layer.n_angular // slices), axis=0)
    return (order[::-1] if mirror else order).ravel()


def _plane_image(layer: Layer, across: bool, along: bool, swap: bool) -> IntArray | None:
    """Image of one layer; None where it has not that symmetry."""
    if isinstance(layer, PolarLayer):
        return np.arange(layer.n_voxels) if layer.n_angular == 1 else None
    order: npt.NDArray[np.int64] = np.arange(layer.n_voxels).reshape(layer.shape)
    x, y = np.asarray(layer.x_edges), np.asarray(layer.y_edges)
    if across:
        if not np.allclose(x, -x[::-1]):
            return None
        order = order[::-1]
    if along:
        if not np.allclose(y, -y[::-1]):
            return None
        order = order[:, ::-1]
    if swap:
        if x.shape != y.shape or not np.allclose(x, y):
            return None
        order = order.T
    return order.ravel()
