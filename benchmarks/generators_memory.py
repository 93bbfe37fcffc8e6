"""Whether a generator repeats what it learned from: nearest neighbours among training and held-out events."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from generators_classifiers import Samples
from generators_output import Output
from generators_tables import FloatArray, Table, mass, phi, pt, rapidity
from scipy.spatial import cKDTree

#: Distance of standardised coordinates below which two events are the same up to rounding.
_SAME = 1e-5
_FEWEST_EVENTS = 100


def coordinates(table: Table) -> FloatArray:
    """Coordinates of the final particles in the order of the file, up to a rotation around the beams.

    ln pT, rapidity, and azimuth relative to the first particle as cosine and sine; ln m of the first two.
    """
    final = table.integers[:, :, 1] == 1
    number = int(final[0].sum())
    places = np.argsort(~final, axis=1, kind="stable")[:, :number]
    p = np.take_along_axis(table.momenta, places[:, :, None], axis=1)
    azimuth = phi(p) - phi(p[:, 0])[:, None]
    columns = [np.log(np.maximum(pt(p), 1e-3)), rapidity(p), np.cos(azimuth[:, 1:]), np.sin(azimuth[:, 1:])]
    return np.concatenate([*columns, np.log(mass(p[:, 0] + p[:, 1]))[:, None]], axis=1)


def show_memory(name: str, samples: Samples, events: int, output: Output) -> None:
    """Print how many events are nearer to a training event than to a held-out one.

    Args:
        name: Of the generator.
        samples: The tables.
        events: Events that are looked at, at most.
        output: Where it goes.
    """
    output.title(f"{name}: nearest neighbours; 0.5 are nearer to a training event when nothing is remembered")
    rows = []
    for multiplicity in np.unique(samples.train.multiplicity):
        train, heldout, generated = (
            table[table.multiplicity == multiplicity] for table in (samples.train, samples.heldout, samples.generated)
        )
        # Two thirds of what was held out are compared with, the rest is the floor.
        number = min(len(train), 2 * len(heldout) // 3)
        if number < _FEWEST_EVENTS or len(generated) < _FEWEST_EVENTS:
            continue
        learned = coordinates(train)
        centre, scale = learned.mean(axis=0), learned.std(axis=0)
        scale[scale < 1e-9] = 1.0

        def standardised(table: Table, centre: FloatArray = centre, scale: FloatArray = scale) -> FloatArray:
            return np.asarray((coordinates(table) - centre) / scale, np.float64)

        known, other = cKDTree(standardised(train[:number])), cKDTree(standardised(heldout[:number]))
        everything = cKDTree(standardised(train))
        for label, table in (("generated", generated[:events]), ("held out", heldout[number:][:events])):
            points = standardised(table)
            near, far = _nearest(known, points), _nearest(other, points)
            share = float(np.mean(near < far))
            error = _error(near < far)
            copies = int(np.sum(_nearest(everything, points) < _SAME))
            pairs = _repeated(points)
            output.keep(
                name, "memory", str(multiplicity), label, share=share, error=error, copies=copies, repeated=pairs,
                events=len(points), compared_with=number, median_to_training=float(np.median(near)),
                median_to_heldout=float(np.median(far)),
            )  # fmt: skip
            rows.append([
                str(multiplicity), label, f"{len(points):,}", f"{number:,}", f"{share:.4f} +- {error:.4f}",
                f"{np.median(near):.4f}, {np.median(far):.4f}", str(copies), str(pairs),
            ])  # fmt: skip
    output.table(
        ["final particles", "sample", "events", "compared with", "nearer to training", "median distances",
         "copies of training events", "repeated in itself"],
        rows,
    )  # fmt: skip


def _nearest(tree: Any, points: FloatArray) -> FloatArray:
    return np.asarray(tree.query(points)[0], np.float64)


def _repeated(points: FloatArray) -> int:
    """Events that occur before in the same sample."""
    rounded: npt.NDArray[Any] = np.round(points / _SAME)
    return len(points) - len(np.unique(rounded, axis=0))


def _error(nearer: npt.NDArray[np.bool_]) -> float:
    """Binomial error. That events share neighbours does not show: halves of one truth have pulls of width one."""
    share = float(np.mean(nearer))
    return math.sqrt(max(share * (1 - share), 0.25 / len(nearer)) / len(nearer))
