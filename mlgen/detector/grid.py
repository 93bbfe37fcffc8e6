"""A fixed grid of cells in pseudorapidity and azimuth, in which overlapping showers add up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import CardError

CellSize = tuple[float, float]
Columns = Mapping[str, npt.NDArray[Any]]


class CellGrid:
    r"""Cells of a size of its own in each layer.

    Cell :math:`(i, j)` of a layer covers :math:`i \Delta\eta \le \eta < (i + 1) \Delta\eta`, and in azimuth the
    :math:`j`-th of the :math:`n_\phi` even parts of the circle, from -pi on, where :math:`n_\phi` is the whole number
    next to :math:`2 \pi / \Delta\phi`. Its number is :math:`i\, n_\phi + j`, which is negative where :math:`\eta` is.
    Its centre lies at the depth of the layer's middle behind the front face.

    Args:
        size: Size in pseudorapidity and azimuth, of all layers or by the number of the layer.
        depths: Depth of the middle of each layer behind the front face, mm, by its number.
        radius: Of the front face, mm.

    Raises:
        CardError: A layer has no size, or there is a size for a layer that is not there.
    """

    def __init__(self, size: CellSize | Mapping[str, CellSize], depths: Mapping[int, float], radius: float) -> None:
        if isinstance(size, Mapping):
            names = {str(number) for number in depths}
            if set(size) != names:
                raise CardError(
                    f"[calorimeter] cell_size is given for the layers {', '.join(sorted(size))}; the model's "
                    f"calorimeter has the layers {', '.join(sorted(names))}"
                )
            sizes = {number: size[str(number)] for number in depths}
        else:
            sizes = dict.fromkeys(depths, size)
        self._eta = {number: eta for number, (eta, _) in sizes.items()}
        self._n_phi = {number: max(1, round(2 * math.pi / phi)) for number, (_, phi) in sizes.items()}
        self._distance = {number: radius + depth for number, depth in depths.items()}

    def merged(self, event: npt.NDArray[Any], cells: Columns) -> tuple[npt.NDArray[Any], dict[str, npt.NDArray[Any]]]:
        """Add up the cells of each event that fall into one cell of the grid.

        Args:
            event: Event of each cell, ``(k,)``.
            cells: Columns of `mlgen.cells.CELL_COLUMNS`, each ``(k,)``.

        Returns:
            Event of each cell of the grid that has energy, ascending, and the columns. ``particle`` is the one that
            gave most of the cell's energy, the first of them where several did.

        Raises:
            CardError: There are more cells than can be numbered.
        """
        layers, layer_place = np.unique(cells["layer"], return_inverse=True)
        numbers = layers.tolist()
        size = np.array([self._eta[number] for number in numbers], np.float64)[layer_place]
        n_phi = np.array([self._n_phi[number] for number in numbers], np.int64)[layer_place]
        distance = np.array([self._distance[number] for number in numbers], np.float64)[layer_place]
        row = np.floor(cells["eta"] / size).astype(np.int64)
        turn = (cells["phi"] + math.pi) / (2 * math.pi)
        column = np.minimum(np.floor(turn * n_phi).astype(np.int64), n_phi - 1)
        voxel = row * n_phi + column
        if len(voxel) and np.abs(voxel).max() > np.iinfo(np.int32).max:
            raise CardError("[calorimeter] cell_size: there are more cells than 32 bits can number; take larger ones")
        keys = np.stack([event, cells["layer"], voxel], axis=1)
        _, first, place = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        place = place.ravel()
        energy = np.bincount(place, weights=cells["energy"], minlength=len(first))
        eta = (row[first] + 0.5) * size[first]
        phi = (column[first] + 0.5) * 2 * math.pi / n_phi[first] - math.pi
        merged = {
            "energy": energy,
            "layer": cells["layer"][first],
            "voxel": voxel[first].astype(np.int32),
            "eta": eta,
            "phi": phi,
            "x": distance[first] * np.cos(phi),
            "y": distance[first] * np.sin(phi),
            "z": distance[first] * np.sinh(eta),
            "particle": _largest_part(place, cells["particle"], cells["energy"]),
        }
        return event[first], merged


def _largest_part(place: npt.NDArray[Any], particle: npt.NDArray[Any], energy: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The particle that gave most of the energy in each place, of those from 0 to the last."""
    pairs, inverse = np.unique(np.stack([place, particle], axis=1), axis=0, return_inverse=True)
    given = np.bincount(inverse.ravel(), weights=energy, minlength=len(pairs))
    # By place, then the largest energy, then the first particle: the first of each place is the one.
    order = np.lexsort((pairs[:, 1], -given, pairs[:, 0]))
    _, first = np.unique(pairs[order, 0], return_index=True)
    return np.asarray(pairs[order][first, 1], particle.dtype)
