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
        exchanges_beams: Whether those along z do, and the incoming particles change places: equal beams. With
            `turns_y` that is half a turn around an axis across the beams (and one around the beams), which changes
            nothing at all; without it, it is that and the mirror above.
    """

    turns_y: bool
    exchanges_beams: bool


def mirrors_of(
    momenta: FloatArray, counts: IntArray, weight: FloatArray, beams: Sequence[tuple[int, float]]
) -> tuple[Mirror, ...]:
    """Find the mirror images that a sample has as often as its events.

    Equal beams are asked for where incoming particles change places, and that no odd quantity of the sample
    contradicts: longitudinal momenta, and the handedness of pairs of particles around the beams. Where the sample has a
    handedness, the half turn remains.

    Args:
        momenta: Shape ``(n, particles, 4)``, zeros behind the last particle of an event.
        counts: Particles of each event, ``(n,)``.
        weight: Signed weights, ``(n,)``.
        beams: PDG id and energy of both beams; empty when unknown.
    """
    senses, differences = _handed(momenta)
    plane = _vanish([*senses, *(s * d for s, d in zip(senses, differences, strict=True))], weight)
    equal = len(beams) == 2 and beams[0] == beams[1]
    half_turn = equal and _vanish([*_forward(momenta), *senses], weight)
    found = []
    if plane:
        found.append(Mirror(True, False))
    if plane and half_turn:
        found.append(Mirror(False, True))
    if half_turn:
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


def _vanish(quantities: Sequence[FloatArray], weight: FloatArray) -> bool:
    """Whether the means of all quantities ``(n,)`` may be zero."""
    return all(_pull(values, weight) < LARGEST_PULL for values in quantities)


def _pull(values: FloatArray, weight: FloatArray) -> float:
    weighted = values * weight
    error = float(np.sqrt(np.square(weighted).sum()))
    return abs(float(weighted.sum())) / error if error > 0 else 0.0


def _handed(momenta: FloatArray) -> tuple[list[FloatArray], list[FloatArray]]:
    """Quantities of each pair of particles, even under rotations around z, ``(n,)`` each.

    Returns:
        The sense in which one particle follows the other, odd under y -> -y; and the sign of the difference of their
        longitudinal momenta, odd under z -> -z.
    """
    x, y, z = momenta[:, :, 0], momenta[:, :, 1], momenta[:, :, 2]
    senses, differences = [], []
    for a in range(momenta.shape[1]):
        for b in range(a + 1, momenta.shape[1]):
            sense = np.sign(x[:, a] * y[:, b] - y[:, a] * x[:, b])
            if sense.any():
                senses.append(sense)
                differences.append(np.sign(z[:, a] - z[:, b]))
    return senses, differences


def _forward(momenta: FloatArray) -> list[FloatArray]:
    """Odd under z -> -z."""
    z = momenta[:, 2:, 2]
    return [np.sign(momenta[:, :, 2].sum(axis=1)), *np.sign(z).T]
