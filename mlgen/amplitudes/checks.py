"""Momenta and amplitudes are checked before a surrogate sees them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from mlgen.errors import TrainingError, UserError
from mlgen.stages import AmplitudeProcess, FloatArray

#: Points that a training needs at least.
FEWEST_POINTS = 100
#: Largest imbalance of a component of the four-momentum, relative to the total energy. The eleven digits of a file of
#: hard events leave 1e-10, single precision 1e-7.
CONSERVATION_TOLERANCE = 1e-6
#: Largest distance of p^2 from m^2, relative to the squared energy: what rounding leaves is relative to that.
MASS_SHELL_TOLERANCE = 1e-6
#: Points that are looked at together: what is worked out for them stays in the processor's cache.
_BATCH = 2048

BoolArray = npt.NDArray[np.bool_]


class KinematicsError(UserError):
    """Momenta are not those of the process: number of particles, conservation, mass shells, order."""


def check_momenta(momenta: npt.ArrayLike, process: AmplitudeProcess, *, what: str = "the momenta") -> FloatArray:
    """Check that momenta are points of the process.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, incoming particles first.
        process: What they should be points of.
        what: What they are called in messages.

    Returns:
        The same numbers in double precision and C order: the array itself where it is like this.

    Raises:
        KinematicsError: They have another shape, are not finite, an energy is not positive, four-momentum is not
            conserved, or a particle is off its mass shell. Names the first such point, from 1, and how many there are.
    """
    array = _array(momenta, process, what)
    rules = _rules(process)
    for start in range(0, len(array), _BATCH):
        if not rules.judge(array[start : start + _BATCH]).good:
            _refuse(array, process, rules, what)
    return array


def check_training(momenta: npt.ArrayLike, values: npt.ArrayLike, process: AmplitudeProcess) -> None:
    """Check that points allow a training.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, incoming particles first.
        values: |M|^2, ``(n,)``.
        process: What they belong to.

    Raises:
        KinematicsError: As `check_momenta`.
        TrainingError: There are fewer than `FEWEST_POINTS`, or the values are not one positive, finite number for each
            point. Names the first that is not, from 1, and how many there are.
    """
    points = len(check_momenta(momenta, process, what="the training momenta"))
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TrainingError(f"the training amplitudes are of the type {array.dtype}; real numbers are expected")
    if array.shape != (points,):
        raise TrainingError(
            f"the training amplitudes have the shape {array.shape}; {(points,)} is expected, one |M|^2 for each point"
        )
    if points < FEWEST_POINTS:
        raise TrainingError(f"there are {points} training points; {FEWEST_POINTS} at least are needed, better 10,000")
    finite = np.isfinite(array)
    for allowed, wanted in ((finite, "finite"), (finite & (array > 0), "positive")):
        if not allowed.all():
            first, count = _first_bad(allowed)
            raise TrainingError(
                f"the training amplitudes: |M|^2 of point {first + 1:,} is {array[first]:.6g}; it has to be {wanted}"
                f" ({_share(count, points)})"
            )


@dataclass(frozen=True, slots=True)
class _Judged:
    """Which parts of which points obey which rule.

    Args:
        positive: Energies, ``(n, particles)``.
        conserved: Components of the four-momentum, ``(n, 4)``.
        on_shell: Particles, ``(n, particles)``.
    """

    positive: BoolArray
    conserved: BoolArray
    on_shell: BoolArray

    @property
    def good(self) -> bool:
        """Whether all points obey all rules."""
        # Without an axis: along a short one a reduction takes longer than all that went before.
        return bool(self.positive.all() and self.conserved.all() and self.on_shell.all())


@dataclass(frozen=True, slots=True)
class _Rules:
    """What the points of a process obey, as matrices on the ``4 * particles`` components of a point.

    Args:
        balance: Incoming minus outgoing four-momentum of the components, ``(4 * particles, 4)``.
        masses: Invariant masses squared of the components squared, ``(4 * particles, particles)``.
        mass_squared: What these should be, ``(particles,)``, in GeV^2.
        incoming: The two slots that come in.
    """

    balance: FloatArray
    masses: FloatArray
    mass_squared: FloatArray
    incoming: tuple[int, int]

    def judge(self, momenta: FloatArray) -> _Judged:
        """Judge momenta ``(n, particles, 4)``. A particle with a number that is not finite is not on its mass shell."""
        flat = momenta.reshape(len(momenta), -1)
        energy = flat[:, 3::4]
        first, second = self.incoming
        with np.errstate(invalid="ignore", over="ignore"):
            squares = flat * flat
            distance = squares @ self.masses
            distance -= self.mass_squared
            np.abs(distance, out=distance)
            imbalance = flat @ self.balance
            np.abs(imbalance, out=imbalance)
            total = energy[:, first] + energy[:, second]
            return _Judged(
                energy > 0,
                # Not <=: that would let infinity pass.
                imbalance < CONSERVATION_TOLERANCE * total[:, None],
                distance < MASS_SHELL_TOLERANCE * squares[:, 3::4],
            )

    def judge_all(self, momenta: FloatArray) -> _Judged:
        """Judge any number of points, in the same batches as `check_momenta`, so that no rounding differs."""
        parts = [self.judge(momenta[start : start + _BATCH]) for start in range(0, len(momenta), _BATCH)]
        return _Judged(
            np.concatenate([part.positive for part in parts]),
            np.concatenate([part.conserved for part in parts]),
            np.concatenate([part.on_shell for part in parts]),
        )


@functools.lru_cache(maxsize=64)
def _rules(process: AmplitudeProcess, incoming: tuple[int, int] = (0, 1)) -> _Rules:
    particles = len(process.pdg_ids)
    sign = np.where(np.isin(np.arange(particles), incoming), 1.0, -1.0)
    return _Rules(
        np.asarray(np.kron(sign[:, None], np.eye(4)), dtype=np.float64),
        np.asarray(np.kron(np.eye(particles), [[-1.0], [-1.0], [-1.0], [1.0]]), dtype=np.float64),
        np.square(np.asarray(process.masses, dtype=np.float64)),
        incoming,
    )


def _array(momenta: npt.ArrayLike, process: AmplitudeProcess, what: str) -> FloatArray:
    """Return the momenta in double precision and C order, once their shape is right."""
    try:
        given = np.asarray(momenta)
    except ValueError:
        given = np.empty(0, dtype=object)
    if given.dtype.kind not in "fiu":
        raise KinematicsError(f"{what}: an array of real numbers is expected, not of the type {given.dtype}")
    particles = len(process.pdg_ids)
    if given.ndim != 3 or given.shape[1:] != (particles, 4):
        raise KinematicsError(
            f"{what}: the shape {given.shape} is not (points, {particles}, 4), which the process with the PDG ids"
            f" {_ids(process)} needs{_shape_hint(given.shape, particles)}"
        )
    return np.ascontiguousarray(given, dtype=np.float64)


def _shape_hint(shape: tuple[int, ...], particles: int) -> str:
    if shape == (particles, 4):
        return "; a single point needs an axis of points as well: momenta[None]"
    if len(shape) != 3:
        return ""
    if shape[1] == particles - 2:
        return f"; the two incoming particles count among the {particles}, and stand first"
    if shape[1] != particles:
        return f"; there are {shape[1]} particles instead of {particles}, counting the two incoming ones"
    if shape[2] == 3:
        return "; three-momenta are not enough: (px, py, pz, energy) is expected"
    return ""


def _refuse(array: FloatArray, process: AmplitudeProcess, rules: _Rules, what: str) -> NoReturn:
    """Say what is wrong with momenta that are known to break a rule."""
    finite = np.isfinite(array.reshape(len(array), -1))
    if not finite.all():
        first, count = _first_bad(finite)
        slot = int(np.argmax(~np.isfinite(array[first]).all(axis=1)))
        problem = f"{_particle(process, slot)} has the momentum {_vector(array[first, slot])}, which is not finite"
        raise KinematicsError(_message(what, first, problem, count, len(array)))
    judged = rules.judge_all(array)
    if not judged.positive.all():
        first, count = _first_bad(judged.positive)
        problem = _energy_problem(array[first], process)
    elif not judged.conserved.all():
        first, count = _first_bad(judged.conserved)
        problem = _conservation_problem(array[first])
    else:
        first, count = _first_bad(judged.on_shell)
        problem = _mass_problem(array[first], process, rules)
    hint = _hint(array, process, rules)
    raise KinematicsError(_message(what, first, problem, count, len(array)) + (f"\n{hint}" if hint else ""))


def _energy_problem(point: FloatArray, process: AmplitudeProcess) -> str:
    slot = int(np.argmax(point[:, 3] <= 0))
    problem = f"{_particle(process, slot)} has the energy {point[slot, 3]:.6g} GeV; every energy has to be positive"
    return f"{problem}, those of incoming particles too" if slot < 2 else problem


def _conservation_problem(point: FloatArray) -> str:
    imbalance = point[:2].sum(axis=0) - point[2:].sum(axis=0)
    return (
        f"four-momentum is not conserved: incoming minus outgoing is {_vector(imbalance)} GeV, where"
        f" {CONSERVATION_TOLERANCE:g} of the total energy of {point[0, 3] + point[1, 3]:.6g} GeV is allowed"
    )


def _mass_problem(point: FloatArray, process: AmplitudeProcess, rules: _Rules) -> str:
    mass_squared = _mass_squared(point)
    slot = int(np.argmax(np.abs(mass_squared - rules.mass_squared) / point[:, 3] ** 2))
    if mass_squared[slot] < 0:
        has = f"a negative squared mass, {mass_squared[slot]:.6g} GeV^2"
    else:
        has = f"the mass {np.sqrt(mass_squared[slot]):.6g} GeV"
    return (
        f"{_particle(process, slot)} of {point[slot, 3]:.6g} GeV has {has}; {process.masses[slot]:.6g} GeV is expected,"
        f" within {MASS_SHELL_TOLERANCE:g} E^2 in m^2"
    )


def _hint(array: FloatArray, process: AmplitudeProcess, rules: _Rules) -> str:
    """Say how all the points would do, if they would in another order."""
    if rules.judge_all(np.ascontiguousarray(np.roll(array, -1, axis=2))).good:
        return "The components seem to be (energy, px, py, pz); (px, py, pz, energy) is expected."
    expected = f"the order of the PDG ids {_ids(process)} is expected, incoming particles first."
    judged = rules.judge_all(array)
    if not judged.conserved.all():
        for first, second in combinations(range(array.shape[1]), 2):
            if _rules(process, (first, second)).judge_all(array).conserved.all():
                return f"It is conserved with particles {first + 1} and {second + 1} incoming: {expected}"
        return ""
    if not judged.on_shell.all():
        order = _order_by_mass(array[_first_bad(judged.on_shell)[0]], process)
        if rules.judge_all(np.ascontiguousarray(array[:, order])).on_shell.all():
            return f"The masses fit in another order of the particles: {expected}"
    return ""


def _order_by_mass(point: FloatArray, process: AmplitudeProcess) -> npt.NDArray[np.intp]:
    """Return which particle goes to each slot when the masses of the point are sorted like those of the process."""
    order = np.empty(len(point), dtype=np.intp)
    order[np.argsort(process.masses, kind="stable")] = np.argsort(_mass_squared(point), kind="stable")
    return order


def _mass_squared(point: FloatArray) -> FloatArray:
    squares: FloatArray = point**2
    result: FloatArray = squares[:, 3] - squares[:, :3].sum(axis=1)
    return result


def _first_bad(obeyed: BoolArray) -> tuple[int, int]:
    """Return the index of the first point that disobeys, and how many do; ``(n,)`` or ``(n, parts)``."""
    bad = np.logical_not(obeyed.reshape(len(obeyed), -1).all(axis=1))
    return int(np.argmax(bad)), int(np.count_nonzero(bad))


def _message(what: str, first: int, problem: str, count: int, points: int) -> str:
    return f"{what}: point {first + 1:,}: {problem} ({_share(count, points)})"


def _share(count: int, points: int) -> str:
    return f"so in {count:,} of {points:,} points"


def _particle(process: AmplitudeProcess, slot: int) -> str:
    return f"particle {slot + 1} (PDG id {process.pdg_ids[slot]})"


def _ids(process: AmplitudeProcess) -> str:
    return " ".join(map(str, process.pdg_ids))


def _vector(components: Sequence[float] | FloatArray) -> str:
    return f"({', '.join(f'{component:.6g}' for component in components)})"
