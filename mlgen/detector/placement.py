r"""From a shower's own frame to the detector.

A shower is made at normal incidence: its z axis goes along the particle's flight direction :math:`\hat d` at the front
face. Across it lie :math:`\hat\phi = \hat z \times \hat d / |\hat z \times \hat d|`, along growing azimuth, and
:math:`\hat\eta = \hat d \times \hat\phi`, along growing pseudorapidity. (:math:`\hat\eta, \hat\phi, \hat d` are a
left-handed frame, as pseudorapidity, azimuth and radius are.)
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mlgen.errors import CardError
from mlgen.showers import Geometry, RectangularLayer

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]


def axes(direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the unit vectors along growing pseudorapidity and azimuth, each ``(n, 3)``, for flight directions.

    The directions, ``(n, 3)``, are unit vectors that are not along the beams.
    """
    transverse = np.hypot(direction[:, 0], direction[:, 1])
    azimuth = np.stack([-direction[:, 1], direction[:, 0], np.zeros(len(direction))], axis=1) / transverse[:, None]
    return np.cross(direction, azimuth), azimuth


class VoxelPlaces:
    """Where the voxels of a geometry are in a shower's frame.

    Args:
        geometry: The geometry.
        layer_depths: Depth of the middle of each layer behind the front face, mm, where the geometry does not say it;
            None: at the front face.
        x_axis: The direction that the x axis of the geometry has in the detector; None: phi where all layers are
            rectangular, as the CaloGAN's images are (its strips of 5 mm, the bins in y, are narrow in eta), else eta,
            as in the CaloChallenge.

    Attributes:
        layer: Number of each voxel's layer, as the geometry has it, ``(n_voxels,)``.
        depths: Depth of the middle of each layer, mm, by its number.
        x_axis: The direction that the x axis has.

    Raises:
        CardError: There are depths for another number of layers, or the geometry has its own.
    """

    def __init__(
        self,
        geometry: Geometry,
        layer_depths: tuple[float, ...] | None = None,
        x_axis: Literal["eta", "phi"] | None = None,
    ) -> None:
        known = [layer.depth is not None for layer in geometry.layers]
        if layer_depths is not None:
            if len(layer_depths) != len(geometry.layers):
                raise CardError(
                    f"[calorimeter] layer_depths has {len(layer_depths)} entries, but the model's calorimeter has "
                    f"{len(geometry.layers)} layers: one depth for each is expected"
                )
            if any(known):
                raise CardError(
                    "[calorimeter] layer_depths: the model's calorimeter knows the depths of its layers; leave it out"
                )
        middles = [
            0.5 * sum(layer.depth) if layer.depth is not None else layer_depths[number] if layer_depths else 0.0
            for number, layer in enumerate(geometry.layers)
        ]
        sizes = [layer.n_voxels for layer in geometry.layers]
        numbers = [layer.layer_id for layer in geometry.layers]
        self.layer = np.repeat(np.array(numbers, np.int32), sizes)
        self.depths = dict(zip(numbers, middles, strict=True))
        self._depth = np.repeat(np.array(middles, np.float64), sizes)
        centres = geometry.centres
        if x_axis is None:
            x_axis = "phi" if all(isinstance(layer, RectangularLayer) for layer in geometry.layers) else "eta"
        self.x_axis = x_axis
        self._eta, self._phi = centres.T if x_axis == "eta" else centres.T[::-1]

    def positions(self, face: FloatArray, direction: FloatArray, shower: IntArray, voxel: IntArray) -> FloatArray:
        """Return where voxels are in the detector, mm, ``(k, 3)``.

        Args:
            face: Where each shower begins, mm, ``(n, 3)``.
            direction: Flight direction there, ``(n, 3)``.
            shower: The shower of each voxel, ``(k,)``.
            voxel: Its number in the geometry, ``(k,)``.
        """
        eta, phi = axes(direction)
        place = face[shower] + self._depth[voxel, None] * direction[shower]
        place += self._eta[voxel, None] * eta[shower]
        place += self._phi[voxel, None] * phi[shower]
        return place
