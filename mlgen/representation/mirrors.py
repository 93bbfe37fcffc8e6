"""Mirror images of events that are as likely as the events themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlgen.events import FloatArray
from mlgen.representation.classes import IntArray

#: Standard deviations by which an odd quantity may differ from zero in a sample that has the symmetry.
LARGEST_PULL = 5.0


@dataclass(frozen=True)
class Mirror:
    """A mirror image.

    Args:
        turns_y: Whether the components along y change their sign: the mirror is a plane through the beams. At tree
            level |M|^2 of given helicities is the same, up to absorptive parts such as those of widths (naive time
            reversal and a rotation).
        exchanges_beams: Whether those along z do, and the incoming particles change places: equal beams.
    """

    turns_y: bool
    exchanges_beams: bool


def mirrors_of(
    momenta: FloatArray, counts: IntArray, weight: FloatArray, beams: Sequence[tuple[int, float]]
) -> tuple[Mirror, ...]:
    """Find the mirror images that a sample has as often as its events.

    Equal beams are asked for where incoming particles change places, and that no odd quantity of the sample
    contradicts: longitudinal momenta, and the handedness of pairs of particles around the beams.

    Args:
        momenta: Shape ``(n, particles, 4)``, zeros behind the last particle of an event.
        counts: Particles of each event, ``(n,)``.
        weight: Signed weights, ``(n,)``.
        beams: PDG id and energy of both beams; empty when unknown.
    """
    y = all(_pull(values, weight) < LARGEST_PULL for values in _handed(momenta))
    equal = len(beams) == 2 and beams[0] == beams[1]
    z = equal and all(_pull(values, weight) < LARGEST_PULL for values in _forward(momenta))
    found = []
    if y:
        found.append(Mirror(True, False))
    if z:
        found.append(Mirror(False, True))
    if y and z:
        found.append(Mirror(True, True))
    return tuple(found)


def mirrored(momenta: FloatArray, incoming: tuple[int, int], mirror: Mirror) -> FloatArray:
    """Return the mirror image of events ``(n, particles, 4)``."""
    image = momenta.copy()
    if mirror.turns_y:
        image[:, :, 1] *= -1
    if mirror.exchanges_beams:
        image[:, :, 2] *= -1
    if mirror.exchanges_beams:
        image[:, list(incoming)] = image[:, list(incoming[::-1])]
    return image


def _pull(values: FloatArray, weight: FloatArray) -> float:
    weighted = values * weight
    error = float(np.sqrt(np.square(weighted).sum()))
    return abs(float(weighted.sum())) / error if error > 0 else 0.0


def _handed(momenta: FloatArray) -> list[FloatArray]:
    """Odd under y -> -y, even under rotations around z: the sense in which one particle follows another.

    Neighbouring particles of the event; with the sign of a longitudinal difference too, which alone could hide it.
    """
    x, y, z = momenta[:, :, 0], momenta[:, :, 1], momenta[:, :, 2]
    quantities = []
    for a in range(momenta.shape[1]):
        for b in range(a + 1, momenta.shape[1]):
            sense = np.sign(x[:, a] * y[:, b] - y[:, a] * x[:, b])
            if sense.any():
                quantities += [sense, sense * np.sign(z[:, a] - z[:, b])]
    return quantities


def _forward(momenta: FloatArray) -> list[FloatArray]:
    """Odd under z -> -z."""
    z = momenta[:, 2:, 2]
    return [np.sign(momenta[:, :, 2].sum(axis=1)), *np.sign(z).T]
