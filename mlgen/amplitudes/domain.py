"""The region of phase space that a surrogate was trained in, and whether a point is outside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.amplitudes.checks import FEWEST_POINTS
from mlgen.errors import ModelError, TrainingError
from mlgen.stages import AmplitudeProcess, FloatArray, State

BoolArray = npt.NDArray[np.bool_]

#: Points nearest to an edge whose mean distance from the next one is the scale there. Their mean is known to 18 %;
#: many more would reach from a steep edge into the bulk.
_EDGE_POINTS = 30

#: Smallest scale of a logarithm. A quantity that does not vary in the training (the energy of a lepton collider) would
#: have none, and rounding would be outside.
_SMALLEST_SCALE = 1e-3

#: How far beyond the outermost training point, in scales of that edge, is still inside whatever the held-out points
#: say: room for the rounding of momenta that were boosted or written to a file.
_TOLERANCE = 0.1

#: Principal components with less variance than this share of the largest are left out of the distance. Momentum
#: conservation binds the invariants: what is left along such directions is the curvature of these relations, with long
#: tails that would raise the threshold and blunt the distance along the others.
_SMALLEST_VARIANCE = 1e-2

#: Points that are looked at together: the arrays of a block stay in the cache of a core.
_BLOCK = 1024

#: Logarithms are taken of this at least, in GeV^2: rounding can make the product of collinear momenta zero or negative.
_SMALLEST_INVARIANT = 1e-300


class Domain:
    r"""The region that a surrogate was trained in: two questions to a point, and one score.

    All that is looked at are Lorentz invariants :math:`x_j`: logarithms of all :math:`2 p_a \cdot p_b`, which has the
    partonic energy; of the transverse masses of the outgoing particles, since cuts act on them, :math:`m_T^2 =
    p_T^2 + m^2 = 2 (p_1 \cdot k)(p_2 \cdot k) / (p_1 \cdot p_2)` for massless beams; and of the distance of each
    resonance from its mass shell, :math:`1 + [(q^2 - M^2) / (M \Gamma)]^2`, so that a resonance that was cut out of
    the middle of a range is noticed too. Invariants that become each other when like particles change places are
    replaced by their sorted values. So neither the frame nor the order of like particles matters.

    The first question is whether an invariant is beyond its range in the training. The distance from the outermost
    training point is measured in units of the mean excess of the points nearest to that edge, which is the scale of the
    tail if there is one (the mean excess of an exponential tail is its decay length) and tiny at a hard cut: 18 GeV is
    far beyond a cut at 20 GeV, while an energy somewhat above the largest of 10,000 is not. Ranges are those of the
    invariants themselves, not of their ratios to the partonic energy: that is where cuts make edges, and ratios have
    long tails of their own, whose alarms would have to be paid for with a higher threshold.

    The second question is the Mahalanobis distance from the training points, over the principal components that vary
    (of linearly dependent invariants only the independent part), for points that are within all ranges and in an
    unusual combination. Ratios to the partonic energy are linear in the logarithms, and need no terms of their own.

    Each answer has a threshold from `held_out` points, which had no part in ranges, scales and distance: the
    :math:`\lceil (n + 1) (1 - q/2) \rceil`-th smallest of the :math:`n` held-out answers. Whatever the distribution, a
    new point of the same distribution is above it with probability :math:`q/2` at most, and above one of the two with
    :math:`q` at most. This holds on average over held-out samples; for one of them the share scatters around its mean
    by about :math:`\sqrt{q / n}`. With fewer than :math:`2/q - 1` held-out points the threshold is the largest
    answer, and :math:`q` becomes :math:`2 / (n + 1)`. The threshold of the ranges is never inside the training's own.

    A hole within the region, where no invariant is beyond its range, is seen poorly. So is any method that may raise an
    alarm for one point in a thousand only: the density of the training has to be lower in the hole than it is for the
    rarest of the training points.

    Use `fit` or `from_state` to make one.

    References:
        Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018), arXiv:1604.04173, sec. 2.2 (thresholds from held-out points);
        Davison and Smith, J. R. Stat. Soc. B 52, 393 (1990) (mean excess as the scale of a tail).
    """

    def __init__(self, process: AmplitudeProcess, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._invariants = _Invariants(process)
        self._arrays = {name: np.array(array, np.float64) for name, array in arrays.items()}
        columns = {name: array[:, None] for name, array in self._arrays.items() if array.ndim == 1}
        self._low, self._high = columns["low"], columns["high"]
        self._per_low_scale, self._per_high_scale = 1 / columns["low_scale"], 1 / columns["high_scale"]
        self._whitening = self._arrays["whitening"]
        self._white_centre = self._whitening @ columns["centre"]
        self._thresholds = (float(self._arrays["range_threshold"]), float(self._arrays["distance_threshold"]))

    @classmethod
    def fit(
        cls, process: AmplitudeProcess, momenta: FloatArray, held_out: FloatArray, *, quantile: float = 1e-3
    ) -> Self:
        """Learn the region from training points, and the thresholds from others of the same distribution.

        Args:
            process: What the points belong to.
            momenta: Of the training, ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, incoming particles
                first, in any frame.
            held_out: Points that were drawn like those of the training and are not among them, ``(m, particles, 4)``.
            quantile: Largest share of such points that may be called outside.

        Raises:
            TrainingError: The points do not allow it: not finite, of the wrong shape, too few.
            ValueError: `quantile` is not between 0 and 1.
        """
        if not 0 < quantile < 1:
            raise ValueError(f"the share of points outside is {quantile}; more than 0 and less than 1 is expected")
        invariants = _Invariants(process)
        for points, what, least in ((momenta, "training", FEWEST_POINTS), (held_out, "held-out", 1)):
            _require_points(points, invariants.particles, what, least)
        rows = np.concatenate(list(invariants.blocks(momenta)), axis=1)
        centre, whitening = _whitening(rows)
        arrays = {
            **_edges(rows),
            "centre": centre,
            "whitening": whitening,
            "range_threshold": np.asarray(1.0),
            "distance_threshold": np.asarray(1.0),
            "quantile": np.asarray(float(quantile)),
            "held_out": np.asarray(float(len(held_out))),
        }
        beyond, distance = cls(process, arrays)._parts(held_out)
        arrays["range_threshold"] = np.maximum(1 + _TOLERANCE, _conformal_threshold(beyond, quantile / 2))
        # Where nothing varies, every distance is zero.
        arrays["distance_threshold"] = np.maximum(_SMALLEST_SCALE, _conformal_threshold(distance, quantile / 2))
        return cls(process, arrays)

    def score(self, momenta: FloatArray) -> FloatArray:
        """Return how far out each point is, ``(n,)``: at most 1 inside the region, above 1 outside.

        The larger of the two answers, each in units of its threshold; infinite where a momentum is not finite.

        Args:
            momenta: ``(n, particles, 4)``, as in the training; any frame, like particles in any order.

        Raises:
            ValueError: The array has another shape.
        """
        self._require_shape(momenta)
        beyond, distance = self._parts(momenta)
        score = np.maximum(beyond / self._thresholds[0], distance / self._thresholds[1])
        # Infinite momenta end as NaN or infinity, depending on the sign.
        return np.where(np.isnan(score), np.inf, score)

    def outside(self, momenta: FloatArray) -> BoolArray:
        """Return whether each point is outside the region, ``(n,)``.

        Args:
            momenta: ``(n, particles, 4)``, as for `score`.

        Raises:
            ValueError: The array has another shape.
        """
        return np.asarray(self.score(momenta) > 1)

    def reason(self, momenta: FloatArray) -> str:
        """Say in words what is farthest outside.

        Args:
            momenta: Of one point, ``(particles, 4)``.

        Raises:
            ValueError: The array has another shape.
        """
        point = np.asarray(momenta)[None]
        score = float(self.score(point)[0])
        if not np.isfinite(score):
            return "its momenta are not finite, or too large to be multiplied"
        if score <= 1:
            return "it is inside the region of the training"
        beyond, distance = (float(part[0]) for part in self._parts(point))
        if distance / self._thresholds[1] > beyond / self._thresholds[0]:
            return f"its distance from the training points is {_number(score)} times what {self._most_held_out()} have"
        row, _ = np.unravel_index(
            np.argmax(self._beyond_each(next(self._invariants.blocks(point)))), (len(self._low), 1)
        )
        low, high = float(self._low[row, 0]), float(self._high[row, 0])
        return self._invariants.describe(int(row), point, low, high)

    def state(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return all that was learned, as named arrays, for `from_state`."""
        return {name: array.copy() for name, array in self._arrays.items()}

    @classmethod
    def from_state(cls, process: AmplitudeProcess, state: State) -> Self:
        """Make the domain that `state` came from; arrays with other names are left alone.

        Raises:
            ModelError: Arrays are missing, have the wrong shape, or hold numbers that make no sense.
        """
        features = len(_Invariants(process).names)
        names = ("low", "high", "low_scale", "high_scale", "centre")
        single = ("range_threshold", "distance_threshold", "quantile", "held_out")
        expected: dict[str, tuple[int | None, ...]] = dict.fromkeys(names, (features,))
        expected |= {"whitening": (None, features)} | dict.fromkeys(single, ())
        arrays = {}
        for name, shape in expected.items():
            if name not in state:
                raise ModelError(f"the domain of a surrogate needs the array '{name}'; there are {sorted(state)}")
            found = np.shape(state[name])
            if len(found) != len(shape) or any(b is not None and a != b for a, b in zip(found, shape, strict=True)):
                raise ModelError(f"the domain of a surrogate needs '{name}' of shape {shape}; it has {found}")
            if state[name].dtype.kind not in "fiu" or not np.all(np.isfinite(state[name])):
                raise ModelError(f"the domain of a surrogate needs finite numbers; '{name}' holds others")
            arrays[name] = state[name]
        for name in ("low_scale", "high_scale", "range_threshold", "distance_threshold", "quantile", "held_out"):
            if not np.all(arrays[name] > 0):
                raise ModelError(f"the domain of a surrogate needs positive numbers; '{name}' holds others")
        if np.any(arrays["low"] > arrays["high"]):
            raise ModelError("the domain of a surrogate needs ranges; an array 'low' exceeds 'high'")
        return cls(process, arrays)

    def _beyond_each(self, rows: FloatArray) -> FloatArray:
        """Return how far each invariant ``(features, n)`` is beyond its range: 1 at the outermost training point.

        From there it grows by one in each scale of the edge.
        """
        above = (rows - self._high) * self._per_high_scale
        below = (self._low - rows) * self._per_low_scale
        np.maximum(above, below, out=above)
        above += 1
        return above

    def _parts(self, momenta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return how far the worst invariant of each point is beyond its range, and the distance; each ``(n,)``."""
        beyond, distance = np.empty(len(momenta)), np.empty(len(momenta))
        start = 0
        # Of momenta that are not finite comes NaN or infinity, and `score` says what it means.
        with np.errstate(all="ignore"):
            for rows in self._invariants.blocks(momenta):
                block = slice(start, start + rows.shape[1])
                white = self._whitening @ rows
                white -= self._white_centre
                np.einsum("ij,ij->j", white, white, out=distance[block])
                self._beyond_each(rows).max(axis=0, out=beyond[block])
                start = block.stop
            np.maximum(beyond, 0, out=beyond)
            np.sqrt(distance, out=distance)
        return beyond, distance

    def _require_shape(self, momenta: FloatArray) -> None:
        particles = self._invariants.particles
        if np.shape(momenta)[1:] != (particles, 4):
            raise ValueError(f"the momenta have the shape {np.shape(momenta)}; (points, {particles}, 4) is expected")

    def _most_held_out(self) -> str:
        """Name the held-out points that are within the threshold."""
        held_out, share = int(self._arrays["held_out"]), 1 - float(self._arrays["quantile"]) / 2
        if math.ceil((held_out + 1) * share) > held_out:
            return f"all {held_out:,} held-out points"
        return f"{100 * share:.6g} % of held-out points"


@dataclass(frozen=True, slots=True)
class _Family:
    """Invariants that become each other when like particles change places: they are used in ascending order.

    Args:
        members: Particles of each.
        resonance: Mass and width in GeV, for the distances of a resonance from its mass shell.
    """

    members: tuple[tuple[int, ...], ...]
    resonance: tuple[float, float] | None = None


class _Invariants:
    """The invariants of a process, as logarithms: pairs, then transverse masses, then resonances.

    Attributes:
        particles: Number of particles.
        names: For each invariant its family and its rank within it.
    """

    def __init__(self, process: AmplitudeProcess) -> None:
        self.particles = len(process.pdg_ids)
        self._masses_squared = np.square(process.masses)
        kind = np.arange(self.particles)
        for slots in process.like_particles:
            kind[list(slots)] = slots[0]
        self._kind = tuple(int(k) for k in kind)
        self._pairs = self._orbits(tuple(combinations(range(self.particles), 2)))
        self._transverse = self._orbits(tuple((slot,) for slot in range(2, self.particles)))
        self._resonances = self._resonant(process)
        families = (*self._pairs, *self._transverse, *self._resonances)
        self.names = tuple((family, rank) for family in families for rank in range(len(family.members)))
        self._slices = _slices(families)
        self._prepare()

    def _prepare(self) -> None:
        """Set the rows that `_block` takes and the matrices that it multiplies with."""
        pairs = [pair for family in self._pairs for pair in family.members]
        row = {pair: index for index, pair in enumerate(pairs)}
        self._first, self._second = (np.array(slots) for slots in zip(*pairs, strict=True))
        self._count = len(pairs)
        self._energy = row[0, 1]
        outgoing = [slot for family in self._transverse for (slot,) in family.members]
        self._with_beam = tuple(np.array([row[beam, slot] for slot in outgoing]) for beam in (0, 1))
        resonant = [(family.resonance, slots) for family in self._resonances for slots in family.members]
        # The momenta of a line are all outgoing, or the two incoming: its q^2 is the sum of masses and products.
        self._sums = np.array([[set(pair) <= set(slots) for pair in pairs] for _, slots in resonant], np.float64)
        self._offset = np.array(
            [
                self._masses_squared[list(slots)].sum() - resonance[0] ** 2
                for resonance, slots in resonant
                if resonance is not None
            ]
        )[:, None]
        self._per_width = np.array([1 / (r[0] * r[1]) for r, _ in resonant if r is not None])[:, None]

    def _orbits(self, members: tuple[tuple[int, ...], ...]) -> tuple[_Family, ...]:
        """Return families of the particles `members`: one for each combination of kinds."""
        families: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for slots in members:
            families.setdefault(tuple(sorted(self._kind[slot] for slot in slots)), []).append(slots)
        return tuple(_Family(tuple(family)) for family in families.values())

    def _resonant(self, process: AmplitudeProcess) -> tuple[_Family, ...]:
        """Return families of the lines with a width that can be on their mass shell.

        A line with one incoming particle on each side has spacelike momentum.
        """
        found: dict[tuple[tuple[int, ...], float, float], _Family] = {}
        everything = set(range(self.particles))
        for line in process.inner_lines:
            slots = set(line.slots)
            if line.width <= 0 or line.mass <= 0 or len(slots & {0, 1}) == 1:
                continue
            outgoing = everything - slots if {0, 1} <= slots else slots
            if len(outgoing) < 2:
                continue
            slots = {0, 1} if len(outgoing) == self.particles - 2 else outgoing
            kinds = tuple(sorted(self._kind[slot] for slot in slots))
            if (kinds, line.mass, line.width) not in found:
                # All of the same kinds, also where the process names only some of them.
                chosen = [
                    combinations(
                        [slot for slot in range(self.particles) if self._kind[slot] == kind], kinds.count(kind)
                    )
                    for kind in dict.fromkeys(kinds)
                ]
                members = tuple(tuple(sorted(sum(parts, ()))) for parts in product(*chosen))
                found[kinds, line.mass, line.width] = _Family(members, (line.mass, line.width))
        return tuple(found.values())

    def blocks(self, momenta: FloatArray) -> Iterator[FloatArray]:
        """Give the invariants ``(features, k)`` of all points ``(n, particles, 4)``, some points at a time."""
        for start in range(0, len(momenta), _BLOCK):
            rows = self._block(momenta[start : start + _BLOCK])
            for family in self._slices:
                _sort_rows(rows[family])
            yield rows

    def _block(self, momenta: FloatArray) -> FloatArray:
        """Return the invariants ``(features, n)`` of a few points, not sorted."""
        px, py, pz, energy = np.ascontiguousarray(np.asarray(momenta, np.float64).transpose(2, 1, 0))
        first, second = self._first, self._second
        rows = np.empty((len(self.names), len(momenta)))
        products = rows[: self._count]
        with np.errstate(all="ignore"):
            np.multiply(energy[first], energy[second], out=products)
            for component in (px, py, pz):
                products -= component[first] * component[second]
            products *= 2
            resonant = rows[self._count + len(self._with_beam[0]) :]
            if len(resonant):
                np.matmul(self._sums, products, out=resonant)
                resonant += self._offset
                resonant *= self._per_width
                np.square(resonant, out=resonant)
                np.log1p(resonant, out=resonant)
            np.maximum(products, _SMALLEST_INVARIANT, out=products)
            np.log(products, out=products)
            transverse = rows[self._count : len(rows) - len(resonant)]
            np.add(products[self._with_beam[0]], products[self._with_beam[1]], out=transverse)
            transverse -= products[self._energy]
        return rows

    def describe(self, index: int, point: FloatArray, low: float, high: float) -> str:
        """Say what an invariant is at a point ``(1, particles, 4)`` and what range it had in the training.

        Args:
            index: Number of the invariant.
            point: Momenta.
            low: Smallest value in the training, as the logarithm.
            high: Largest value, likewise.
        """
        family, rank = self.names[index]
        values = self._block(point)[index - rank : index - rank + len(family.members), 0]
        member = int(np.argsort(values, kind="stable")[rank])
        name, unit, to_size = self._in_words(family, family.members[member])
        if len(family.members) > 1:
            name += f", {_ordinal(rank, len(family.members))} among like ones,"
        size, smallest, largest = (to_size(value) for value in (float(values[member]), low, high))
        return (
            f"{name} is {_number(size)}{unit}, the training reached from {_number(smallest)} to "
            f"{_number(largest)}{unit}"
        )

    def _in_words(self, family: _Family, slots: tuple[int, ...]) -> tuple[str, str, Callable[[float], float]]:
        """Return the name of an invariant, its unit, and what makes a size in that unit of its logarithm."""
        numbers = " and ".join(", ".join(str(slot + 1) for slot in part) for part in (slots[:-1], slots[-1:]) if part)
        masses_squared = float(self._masses_squared[list(slots)].sum())
        if family.resonance is not None:
            mass = _number(family.resonance[0])
            name = f"the distance |m^2 - M^2| / (M Gamma) of particles {numbers} from the resonance at M = {mass} GeV"
            return name, "", lambda value: math.sqrt(math.expm1(value))
        if len(slots) == 1:
            name = f"the transverse momentum of particle {numbers}"
            return name, " GeV", lambda value: math.sqrt(max(math.exp(value) - masses_squared, 0.0))
        if slots[0] < 2 <= slots[1]:
            return f"the product 2 p.p of particles {numbers}", " GeV^2", math.exp
        name = f"the invariant mass of particles {numbers}" + (", the partonic energy," if slots == (0, 1) else "")
        return name, " GeV", lambda value: math.sqrt(math.exp(value) + masses_squared)


def _require_points(momenta: FloatArray, particles: int, what: str, least: int) -> None:
    """Refuse points that a domain cannot be made of.

    Raises:
        TrainingError: They are too few, not finite or of the wrong shape.
    """
    if np.shape(momenta)[1:] != (particles, 4):
        raise TrainingError(
            f"the {what} momenta have the shape {np.shape(momenta)}; (points, {particles}, 4) is expected"
        )
    if len(momenta) < least:
        raise TrainingError(f"there are {len(momenta)} {what} points; the domain of a surrogate needs {least} or more")
    finite = np.isfinite(momenta).all(axis=(1, 2))
    if not finite.all():
        raise TrainingError(f"the momenta of {what} point {np.argmin(finite) + 1} are not finite")


def _edges(rows: FloatArray) -> dict[str, npt.NDArray[np.float64]]:
    """Return the range of each of the invariants ``(features, n)`` and the scale of both its edges, ``(features,)``."""
    k = _EDGE_POINTS
    ordered = np.partition(rows, (k, rows.shape[1] - k - 1), axis=1)
    lowest, highest = ordered[:, :k], ordered[:, -k:]
    return {
        "low": lowest.min(axis=1),
        "high": highest.max(axis=1),
        "low_scale": np.maximum(ordered[:, k] - lowest.mean(axis=1), _SMALLEST_SCALE),
        "high_scale": np.maximum(highest.mean(axis=1) - ordered[:, -k - 1], _SMALLEST_SCALE),
    }


def _whitening(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean of the invariants ``(features, n)`` and the matrix ``(components, features)`` that whitens them.

    The components are the principal ones of the standardised invariants, those with the smallest variance left out;
    each has unit variance. The square of the whitened vector is the Mahalanobis distance squared.
    """
    centre = rows.mean(axis=1)
    deviation = rows - centre[:, None]
    covariance = deviation @ deviation.T / rows.shape[1]
    scale = np.maximum(np.sqrt(np.diag(covariance)), _SMALLEST_SCALE)
    variance, direction = np.linalg.eigh(covariance / np.outer(scale, scale))
    # The first bound leaves out all of them where nothing varies but by rounding.
    kept = variance > max(_SMALLEST_SCALE, _SMALLEST_VARIANCE * variance[-1])
    return centre, np.ascontiguousarray((direction[:, kept] / np.sqrt(variance[kept])).T / scale)


def _conformal_threshold(answers: FloatArray, share: float) -> float:
    """Return what a new answer exceeds with probability `share` at most, from held-out answers ``(n,)``.

    Where they are too few for that, their maximum.
    """
    rank = min(math.ceil((len(answers) + 1) * (1 - share)), len(answers))
    return float(np.partition(answers, rank - 1)[rank - 1])


def _slices(families: tuple[_Family, ...]) -> tuple[slice, ...]:
    """Return the rows of each family that has to be sorted."""
    ends = np.cumsum([len(family.members) for family in families]).tolist()
    return tuple(slice(end - len(f.members), end) for f, end in zip(families, ends, strict=True) if len(f.members) > 1)


def _sort_rows(rows: FloatArray) -> None:
    """Sort each column of ``(k, n)`` in place; NaN spreads.

    Neighbours are compared in turn, all columns at once: with few rows that is many times faster than `numpy.sort`.

    References:
        Habermann, Parallel Neighbor-Sort, Carnegie Mellon University (1972).
    """
    for turn in range(len(rows)):
        first, second = rows[turn % 2 : -1 : 2], rows[turn % 2 + 1 :: 2]
        smaller = np.minimum(first, second)
        np.maximum(first, second, out=second)
        first[...] = smaller


def _number(value: float) -> str:
    """Write a number with four digits, and all those before the point."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _ordinal(rank: int, count: int) -> str:
    """Say which of `count` sorted values the one with the given rank, from 0, is."""
    if rank == 0:
        return "the smallest"
    return "the largest" if rank == count - 1 else f"number {rank + 1} of {count} by size"
