"""Scale and couplings of events: constants, functions of the momenta or of each other, or further coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError
from mlgen.events import FloatArray
from mlgen.representation.arrays import as_bytes, floats, integers, text
from mlgen.representation.couplings import CouplingTable, coupling_tables

#: Numbers of an event beside its momenta.
EVENT_NUMBERS = ("scale", "alpha_qed", "alpha_qcd")
#: Largest relative error with which a function of the momenta must give the file's scales.
EXACT = 1e-4


@dataclass(frozen=True)
class EventNumbers:
    """How the scale and the couplings of one topology's events come about.

    The scale is a constant, or a factor times a function of the momenta; where no function gives it exactly, the
    logarithm of the ratio is a coordinate. Each coupling is a table of another number, or again has the logarithm of
    its ratio to such a table as a coordinate.

    Args:
        scale_function: Name of the function of the momenta, ``constant`` for none.
        scale_factor: The factor, GeV for ``constant``.
        tables: The table of each coupling.
        coordinates: Which of `EVENT_NUMBERS` have a coordinate.
    """

    scale_function: str
    scale_factor: float
    tables: Mapping[str, CouplingTable]
    coordinates: tuple[str, ...]

    @classmethod
    def fit(
        cls,
        functions: Mapping[str, FloatArray],
        numbers: Mapping[str, FloatArray],
        known: Mapping[str, CouplingTable],
    ) -> Self:
        """Find out how the numbers of events come about.

        Args:
            functions: Values of functions of the momenta, ``(n,)`` each, from `scale_functions`.
            numbers: Each of `EVENT_NUMBERS`, ``(n,)``.
            known: Tables that hold for other events of the file, to compare with.
        """
        scale = numbers["scale"]
        function, factor, exact = _scale_rule(functions, scale)
        coordinates = [] if exact else ["scale"]
        tables = coupling_tables(numbers)
        for name in ("alpha_qcd", "alpha_qed"):
            if name not in tables:
                coordinates.append(name)
                constant = CouplingTable("scale", scale[:1], np.array([np.median(numbers[name])]))
                tables[name] = known.get(name, constant)
        return cls(function, factor, tables, tuple(coordinates))

    def encode(self, functions: Mapping[str, FloatArray], numbers: Mapping[str, FloatArray]) -> FloatArray:
        """Coordinates of events, ``(n, coordinates)``; arguments as in `fit`."""
        columns = []
        for name in self.coordinates:
            if name == "scale":
                expected = self._expected_scale(functions, len(numbers["scale"]))
            else:
                expected = self.tables[name].at(numbers[self.tables[name].argument])
            with np.errstate(divide="ignore", invalid="ignore"):
                columns.append(np.log(numbers[name] / expected))
        return np.stack(columns, axis=1) if columns else np.zeros((len(numbers["scale"]), 0))

    def decode(self, functions: Mapping[str, FloatArray], values: FloatArray) -> dict[str, FloatArray]:
        """Numbers of events from the functions of their momenta and their coordinates ``(n, coordinates)``."""
        ratio = {name: np.exp(values[:, i]) for i, name in enumerate(self.coordinates)}
        numbers = {"scale": self._expected_scale(functions, len(values)) * ratio.get("scale", 1.0)}
        for name in ("alpha_qcd", "alpha_qed"):
            expected = self.tables[name].at(numbers[self.tables[name].argument])
            numbers[name] = expected * ratio[name] if name in ratio else expected
        return numbers

    @property
    def needs_functions(self) -> tuple[str, ...]:
        """Names of the functions of the momenta that `decode` asks for."""
        return () if self.scale_function == "constant" else (self.scale_function,)

    def _expected_scale(self, functions: Mapping[str, FloatArray], n: int) -> FloatArray:
        if self.scale_function == "constant":
            return np.full(n, self.scale_factor)
        return self.scale_factor * functions[self.scale_function]

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything as named arrays."""
        rule = f"{self.scale_function}\n{','.join(self.coordinates)}"
        state: dict[str, npt.NDArray[Any]] = {
            "rule": as_bytes(rule),
            "factor": np.array([self.scale_factor]),
        }
        for name, table in self.tables.items():
            state[f"{name}.argument"] = np.array([EVENT_NUMBERS.index(table.argument)])
            state[f"{name}.values"], state[f"{name}.coupling"] = table.values, table.coupling
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Inverse of `state`.

        Raises:
            ModelError: The arrays do not fit.
        """
        function, _, coordinates = text(state, "rule").partition("\n")
        names = tuple(name for name in coordinates.split(",") if name)
        if not set(names) <= set(EVENT_NUMBERS) or (function != "constant" and function not in SCALE_FUNCTIONS):
            raise ModelError(f"the model's scale follows '{function}' with coordinates {names}, which is not known")
        tables = {}
        for name in ("alpha_qcd", "alpha_qed"):
            argument = EVENT_NUMBERS[int(integers(state, f"{name}.argument", (1,), 0, len(EVENT_NUMBERS))[0])]
            values = floats(state, f"{name}.values", (None,))
            coupling = floats(state, f"{name}.coupling", (len(values),))
            if len(values) == 0 or argument not in ("scale", "alpha_qcd") or argument == name:
                raise ModelError(f"the table of '{name}' of the model is empty, or follows {argument}")
            tables[name] = CouplingTable(argument, values, coupling)
        return cls(function, float(floats(state, "factor", (1,))[0]), tables, names)


def _scale_rule(functions: Mapping[str, FloatArray], scale: FloatArray) -> tuple[str, float, bool]:
    """Function, factor, and whether these give the scale exactly."""
    if np.ptp(scale) <= EXACT * 1e-3 * abs(float(scale[0])):
        return "constant", float(scale[0]), True
    if not np.all(scale > 0):
        return "constant", 1.0, False
    best = ("constant", float(np.exp(np.median(np.log(scale)))), float(np.std(np.log(scale))))
    for name, values in functions.items():
        if not np.all(values > 0):
            continue
        logarithm = np.log(scale / values)
        factor = float(np.exp(np.median(logarithm)))
        # A factor like 1/2 is meant as such.
        nice = round(factor * 24) / 24
        if nice > 0 and abs(nice / factor - 1) < EXACT:
            factor = nice
        if np.all(np.abs(logarithm - np.log(factor)) <= EXACT):
            return name, factor, True
        spread = float(np.std(logarithm))
        if spread < best[2]:
            best = (name, factor, spread)
    return best[0], best[1], False


def scale_functions(
    momenta: FloatArray, outgoing: list[int], top: FloatArray, names: tuple[str, ...] | None = None
) -> dict[str, FloatArray]:
    """Functions of the momenta that scales are usually made of, ``(n,)`` each, in GeV.

    Args:
        momenta: ``(n, particles, 4)``.
        outgoing: Rows of the outgoing particles.
        top: Momenta of what the hard scattering made, before decays, ``(nodes, n, 4)``.
        names: Which of them; all where None.
    """
    final = momenta[:, outgoing].transpose(1, 0, 2)
    chosen = SCALE_FUNCTIONS if names is None else {name: SCALE_FUNCTIONS[name] for name in names}
    return {name: function(final, top) for name, function in chosen.items()}


def _transverse_mass(momenta: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.maximum(momenta[..., 3] ** 2 - momenta[..., 2] ** 2, 0.0)))


def _pt(momenta: FloatArray) -> FloatArray:
    return np.asarray(np.hypot(momenta[..., 0], momenta[..., 1]))


def _mass(total: FloatArray) -> FloatArray:
    squared = total[..., 3] ** 2 - np.square(total[..., :3]).sum(axis=-1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _two_heaviest(top: FloatArray) -> FloatArray:
    order = np.argsort(-_mass(top), axis=0, kind="stable")[:2]
    return np.asarray(np.take_along_axis(top, order[:, :, None], axis=0))


def _heaviest(top: FloatArray) -> FloatArray:
    mass = _mass(top)
    return np.asarray(np.take_along_axis(top, np.argmax(mass, axis=0)[None, :, None], axis=0)[0])


SCALE_FUNCTIONS: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "sum of transverse masses": lambda final, top: np.asarray(_transverse_mass(final).sum(axis=0)),
    "sum of transverse masses before decays": lambda final, top: np.asarray(_transverse_mass(top).sum(axis=0)),
    "collision energy": lambda final, top: _mass(final.sum(axis=0)),
    "sum of transverse momenta": lambda final, top: np.asarray(_pt(final).sum(axis=0)),
    "sum of transverse momenta before decays": lambda final, top: np.asarray(_pt(top).sum(axis=0)),
    "geometric mean of transverse masses": lambda final, top: np.exp(
        np.log(np.maximum(_transverse_mass(final), 1e-300)).mean(axis=0)
    ),
    "geometric mean of transverse masses before decays": lambda final, top: np.exp(
        np.log(np.maximum(_transverse_mass(top), 1e-300)).mean(axis=0)
    ),
    "quadratic mean of transverse masses": lambda final, top: np.sqrt(np.square(_transverse_mass(final)).mean(axis=0)),
    "quadratic mean of transverse masses before decays": lambda final, top: np.sqrt(
        np.square(_transverse_mass(top)).mean(axis=0)
    ),
    "largest transverse mass": lambda final, top: np.asarray(_transverse_mass(top).max(axis=0)),
    "smallest transverse mass": lambda final, top: np.asarray(_transverse_mass(top).min(axis=0)),
    "largest transverse momentum": lambda final, top: np.asarray(_pt(final).max(axis=0)),
    "smallest transverse momentum": lambda final, top: np.asarray(_pt(final).min(axis=0)),
    "geometric mean of transverse masses of the two heaviest": lambda final, top: np.exp(
        np.log(np.maximum(_transverse_mass(_two_heaviest(top)), 1e-300)).mean(axis=0)
    ),
    "mass of the heaviest": lambda final, top: _mass(_heaviest(top)),
    "transverse mass of the heaviest": lambda final, top: _transverse_mass(_heaviest(top)),
    "transverse momentum of the heaviest": lambda final, top: _pt(_heaviest(top)),
}
