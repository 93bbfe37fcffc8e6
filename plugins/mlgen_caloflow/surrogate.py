"""`CaloFlow`: a calorimeter surrogate from two normalizing flows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError, ModelError, PluginError
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import (
    FloatArray,
    IntArray,
    ProgressCallback,
    Settings,
    ShowerSurrogate,
    State,
    TrainingReport,
    no_progress,
)
from mlgen.torch_settings import device_for, seeded
from mlgen_caloflow.collected import collect
from mlgen_caloflow.conditions import Particles
from mlgen_caloflow.flows import ShowerFlows
from mlgen_caloflow.learning import learn
from mlgen_caloflow.parameters import load_parameters, round_parameters, stored_parameters
from mlgen_caloflow.settings import CaloFlowSettings

STATE_VERSION = 1
_ORDER, _PARTICLES, _NETWORK = "order", "particles.", "network."
#: Showers that are made at a time; what is kept of the earlier voxels grows with it.
_AT_A_TIME = 1000
#: Voxels of the showers that are made at a time, at most.
_VOXELS_AT_A_TIME = 1_000_000


class CaloFlow(ShowerSurrogate):
    """Learns showers of one calorimeter and of any number of particles, and makes others like them.

    Two flows: layer energies given the incident energy, then voxels given both. A teacher makes voxels one by one, and
    a student, which learned from the teacher, makes them in a few groups.

    References:
        Krause and Shih, arXiv:2106.05285 (CaloFlow) and arXiv:2110.11377 (teacher and student);
        Plehn et al., arXiv:2211.01421, sec. 4.3.4.
    """

    settings: CaloFlowSettings

    def __init__(self, settings: CaloFlowSettings) -> None:
        super().__init__(settings)
        self._device = device_for(settings.device)
        self._flows: ShowerFlows | None = None

    @property
    def geometry(self) -> Geometry:
        """See `ShowerSurrogate`."""
        return self._trained.geometry

    @property
    def energy_ranges(self) -> Mapping[int, tuple[float, float]]:
        """See `ShowerSurrogate`."""
        return self._trained.particles.ranges()

    @property
    def _trained(self) -> ShowerFlows:
        if self._flows is None:
            raise PluginError("this caloflow surrogate is not trained yet")
        return self._flows

    def train(
        self, showers: Iterable[ShowerBatch], rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """See `ShowerSurrogate`."""
        settings = self.settings
        collected = collect(showers, settings.training_showers, settings.threshold, rng)
        self._flows, report = learn(collected, settings, self._device, rng, progress)
        if settings.stored == "half":
            # Now, so that a model that was loaded makes the same showers.
            round_parameters(self._flows)
        return report

    def generate(
        self, pdg_id: IntArray, incident_energy: FloatArray, direction: FloatArray, rng: np.random.Generator
    ) -> ShowerBatch:
        """See `ShowerSurrogate`; the direction changes nothing, since flows are trained at one incidence."""
        flows = self._trained
        n = len(pdg_id)
        if np.shape(incident_energy) != (n,) or np.shape(direction) != (n, 3):
            raise InputError(
                "caloflow",
                f"{n} particles with incident energies of shape {np.shape(incident_energy)} and directions of shape "
                f"{np.shape(direction)}; ({n},) and ({n}, 3) are expected",
            )
        energy = np.asarray(incident_energy, np.float64)
        if not (np.isfinite(energy).all() and (energy > 0).all()):
            raise InputError("caloflow", "an incident energy is not positive, or not finite; MeV are expected")
        if not np.isfinite(direction).all():
            raise InputError("caloflow", "a direction is not finite; unit vectors are expected")
        number = flows.particles.numbers(np.asarray(pdg_id))
        teacher = self.settings.sampler == "teacher"
        at_a_time = max(1, min(_AT_A_TIME, _VOXELS_AT_A_TIME // flows.geometry.n_voxels))
        parts = [
            flows.sample(number[start : start + at_a_time], energy[start : start + at_a_time], rng, teacher=teacher)
            for start in range(0, n, at_a_time)
        ]
        voxels = np.concatenate(parts) if parts else np.zeros((0, flows.geometry.n_voxels))
        return ShowerBatch(incident_energy, pdg_id, direction, voxels, flows.geometry)

    def state(self) -> State:
        """See `Contract`."""
        flows = self._trained
        about = {"version": STATE_VERSION, "geometry": flows.geometry.to_json()}
        state: dict[str, npt.NDArray[Any]] = {
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8).copy(),
            _ORDER: flows.order,
        }
        state |= {_PARTICLES + name: array for name, array in flows.particles.state().items()}
        parameters = stored_parameters(flows, half=self.settings.stored == "half")
        return state | {_NETWORK + name: array for name, array in parameters.items()}

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """See `Contract`."""
        assert isinstance(settings, CaloFlowSettings)
        made = cls(settings)
        try:
            about = json.loads(np.asarray(state["about"], np.uint8).tobytes())
            if about["version"] != STATE_VERSION:
                raise ModelError(f"the model has version {about['version']}; caloflow reads version {STATE_VERSION}")
            geometry = Geometry.from_json(about["geometry"], "the model")
            particles = Particles(
                np.asarray(state[_PARTICLES + "pdg_id"], np.int64),
                *(np.asarray(state[_PARTICLES + name], np.float64) for name in ("lowest", "highest", "response")),
            )
            order = np.asarray(state[_ORDER], np.int64)
            if not np.array_equal(np.sort(order), np.arange(geometry.n_voxels)):
                raise ModelError(f"the array '{_ORDER}' of the model is no order of {geometry.n_voxels:,} voxels")
            with seeded(np.random.default_rng(0), made._device):
                flows = ShowerFlows(geometry, particles, order, settings)
            arrays = {
                name.removeprefix(_NETWORK): np.array(array)
                for name, array in state.items()
                if name.startswith(_NETWORK)
            }
            if settings.student_passes and not any(name.startswith("student.") for name in arrays):
                raise ModelError("the model has no student; say student_passes = 0 and sampler = 'teacher'")
            load_parameters(flows, arrays)
        except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, InputError) as error:
            raise ModelError(f"these arrays are no caloflow model with these settings: {error}") from error
        made._flows = flows.to(made._device).eval()
        return made
