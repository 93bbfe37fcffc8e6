"""The trained amplitude of a process: a surrogate for each matrix element, with the region that it was trained in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.amplitudes.checks import check_momenta
from mlgen.amplitudes.domain import Domain
from mlgen.errors import ModelError, ProcessError
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.subprocess import Subprocess
from mlgen.hookspecs import Plugin
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import PluginManager, Registered
from mlgen.stages import (
    Amplitude,
    AmplitudeProcess,
    AmplitudeSurrogate,
    Contract,
    FloatArray,
    InnerLine,
    Settings,
    Stage,
    State,
)

#: Strong coupling that surrogates are trained at; their values are scaled with its power.
REFERENCE_ALPHA_S = 0.118
STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class AmplitudePart:
    """The surrogate of one matrix element.

    Args:
        process: What it belongs to.
        subprocesses: All that have the same |M|^2, as PDG ids in the order of the momenta.
        surrogate: Trained, at the coupling `alpha_s`.
        domain: Where it was trained.
        alpha_s: Strong coupling of its training values.
        power: Power of the strong coupling in |M|^2.
        registered: The plugin, for messages.
    """

    process: AmplitudeProcess
    subprocesses: tuple[tuple[int, ...], ...]
    surrogate: AmplitudeSurrogate
    domain: Domain
    alpha_s: float
    power: int
    registered: Registered[Plugin]

    @property
    def members(self) -> int:
        """Number of sampled networks."""
        return self.surrogate.members

    def predict(self, momenta: FloatArray, alpha_s: FloatArray) -> Amplitude:
        """Return |M|^2 at ``alpha_s (n,)`` for ``momenta (n, particles, 4)``.

        Raises:
            mlgen.errors.PluginFailure: The plugin failed, or gave something else than its contract says.
        """
        with plugin_errors(self.registered):
            predicted = self.surrogate.predict(momenta)
            check_amplitude(predicted, len(momenta))
        factor = self._coupling(alpha_s)
        return Amplitude(predicted.value * factor, predicted.systematic * factor, predicted.statistical * factor)

    def predict_members(self, momenta: FloatArray, alpha_s: FloatArray) -> FloatArray:
        """Return |M|^2 of each sampled network, ``(n, members)``.

        Raises:
            mlgen.errors.PluginFailure: As `predict`.
        """
        with plugin_errors(self.registered):
            columns = np.asarray(self.surrogate.predict_members(momenta))
            if columns.shape != (len(momenta), self.members) or not np.isfinite(columns).all():
                raise ValueError(
                    f"predict_members() gave {columns.dtype} of shape {columns.shape}; finite numbers of shape "
                    f"{(len(momenta), self.members)} are expected"
                )
        return np.asarray(columns * self._coupling(alpha_s)[:, None])

    def _coupling(self, alpha_s: FloatArray) -> FloatArray:
        return np.asarray((np.asarray(alpha_s) / self.alpha_s) ** self.power)


def check_amplitude(amplitude: object, n: int) -> None:
    """Check what a surrogate predicted for `n` points.

    Raises:
        ValueError: It is no `Amplitude` of finite numbers of the right shape, or an error is negative.
    """
    if not isinstance(amplitude, Amplitude):
        raise ValueError(f"predict() gave {type(amplitude).__name__}; an Amplitude is expected")
    for name in ("value", "systematic", "statistical"):
        array = np.asarray(getattr(amplitude, name))
        if array.shape != (n,) or array.dtype.kind != "f":
            raise ValueError(f"predict() gave a {name} of {array.dtype}, shape {array.shape}; {(n,)} is expected")
        if not np.isfinite(array).all():
            raise ValueError(f"predict() gave a {name} that is not finite")
        if name != "value" and np.any(array < 0):
            raise ValueError(f"predict() gave a {name} standard deviation that is negative")


class AmplitudeModel(Contract):
    """|M|^2 of all subprocesses of a process, as it is kept in a model folder.

    Args:
        settings: The plugin's settings.
        parts: One for each matrix element.
    """

    stage = Stage.AMPLITUDE

    def __init__(self, settings: Settings, parts: Sequence[AmplitudePart]) -> None:
        super().__init__(settings)
        self.parts = tuple(parts)

    def predict(self, pdg_ids: Sequence[int], momenta: FloatArray, alpha_s: FloatArray) -> Amplitude:
        """Return |M|^2 of points of one subprocess, checked to be such points.

        Args:
            pdg_ids: Of the subprocess, incoming particles first; the outgoing ones in any order.
            momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, in the order of `pdg_ids`.
            alpha_s: Strong coupling, ``(n,)``.

        Raises:
            ProcessError: The model does not have the subprocess; names those that it has.
            mlgen.amplitudes.checks.KinematicsError: The momenta are none of the process.
        """
        part, order = self.find(pdg_ids)
        ordered = check_momenta(np.asarray(momenta)[:, order], part.process)
        return part.predict(ordered, alpha_s)

    def outside(self, pdg_ids: Sequence[int], momenta: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which points are outside the region of the training, ``(n,)``; the arguments are those of `predict`.

        Raises:
            ProcessError: The model does not have the subprocess.
            mlgen.amplitudes.checks.KinematicsError: The momenta are none of the process.
        """
        part, order = self.find(pdg_ids)
        return part.domain.outside(check_momenta(np.asarray(momenta)[:, order], part.process))

    def find(self, pdg_ids: Sequence[int]) -> tuple[AmplitudePart, list[int]]:
        """Return the part for a subprocess, and for each of its particles the slot of that particle in `pdg_ids`.

        Raises:
            ProcessError: There is none; names those that there are.
        """
        wanted = tuple(pdg_ids)
        for part in self.parts:
            for known in part.subprocesses:
                if known[:2] == wanted[:2] and sorted(known[2:]) == sorted(wanted[2:]):
                    left = list(range(len(wanted)))
                    order: list[int] = []
                    for pdg_id in known:
                        slot = next(slot for slot in left if wanted[slot] == pdg_id and (slot < 2) == (len(order) < 2))
                        left.remove(slot)
                        order.append(slot)
                    return part, order
        known_ones = [spell(Subprocess.of(known)) for part in self.parts for known in part.subprocesses]
        raise ProcessError(
            f"the surrogate has no {spell(Subprocess.of(wanted))}; it was trained for {', '.join(known_ones[:10])}"
            + (f" and {len(known_ones) - 10} others" if len(known_ones) > 10 else "")
        )

    def state(self) -> State:
        """Return everything that was learned, as named arrays."""
        about = {
            "version": STATE_VERSION,
            "parts": [
                {
                    "process": dataclasses.asdict(part.process),
                    "subprocesses": part.subprocesses,
                    "alpha_s": part.alpha_s,
                    "power": part.power,
                }
                for part in self.parts
            ],
        }
        state: dict[str, npt.NDArray[Any]] = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8).copy()}
        for number, part in enumerate(self.parts):
            with plugin_errors(part.registered):
                learned = part.surrogate.state()
            for kind, arrays in (("surrogate", learned), ("domain", part.domain.state())):
                state.update({f"{number}.{kind}.{name}": array for name, array in arrays.items()})
        return state

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Not to be called: a state does not say of which plugin it is. Use `restored`."""
        raise ModelError("the amplitude of a process is restored with its plugin")

    @classmethod
    def restored(cls, registered: Registered[Plugin], settings: Settings, state: State) -> Self:
        """Make the amplitude that `state` came from.

        Raises:
            ModelError: The arrays do not fit.
        """
        surrogate_class = PluginManager.plugin_class(registered)
        parts = []
        for number, entry in enumerate(_parts(state)):
            with plugin_errors(registered):
                surrogate = surrogate_class.from_state(settings, _part_of(state, f"{number}.surrogate."))
            domain = Domain.from_state(entry["process"], _part_of(state, f"{number}.domain."))
            parts.append(AmplitudePart(surrogate=surrogate, domain=domain, registered=registered, **entry))
        return cls(settings, parts)


def _parts(state: State) -> list[dict[str, Any]]:
    if "about" not in state:
        raise ModelError("the array 'about' of the model is missing; these are not the arrays of an amplitude")
    try:
        about = json.loads(np.asarray(state["about"], np.uint8).tobytes())
        version, parts = about["version"], list(about["parts"])
        if version != STATE_VERSION:
            raise ModelError(f"the model has version {version}; this mlgen reads version {STATE_VERSION}")
        return [
            {
                "process": _process(part["process"]),
                "subprocesses": tuple(tuple(pdg_ids) for pdg_ids in part["subprocesses"]),
                "alpha_s": float(part["alpha_s"]),
                "power": int(part["power"]),
            }
            for part in parts
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the array 'about' of the model cannot be read: {error}") from error


def _process(content: dict[str, Any]) -> AmplitudeProcess:
    lines = tuple(InnerLine(tuple(line["slots"]), line["mass"], line["width"]) for line in content["inner_lines"])
    return AmplitudeProcess(tuple(content["pdg_ids"]), tuple(content["masses"]), lines)


def _part_of(state: State, prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
