"""A small third-party package: one correct plugin of each stage, as simple as the contract allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from mlgen.errors import ModelError, TrainingError, UserError, WeightError
from mlgen.events import EventBatch
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.run_info import RunInfo
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import (
    Amplitude,
    AmplitudeSurrogate,
    Capability,
    EventGenerator,
    Exactness,
    PhaseSpaceSampler,
    Points,
    Progress,
    Settings,
    ShowerSurrogate,
    Stage,
    TrainingReport,
    Unweighted,
    Unweighter,
    UnweightingReport,
    no_progress,
)


class ToySettings(Settings):
    width: int = 64


def fitted(state: Mapping[str, Any], dimensions: Mapping[str, int]) -> dict[str, Any]:
    found = {name: np.ndim(array) for name, array in state.items()}
    if found != dict(dimensions):
        raise ModelError(f"arrays with dimensions {dict(dimensions)} are expected; there are {found}")
    return {name: np.array(array) for name, array in state.items()}


def text_array(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8).copy()


class Toy:
    """State is a dict of arrays; `dimensions` says which."""

    dimensions: ClassVar[Mapping[str, int]] = {}

    def __init__(self, settings: ToySettings) -> None:
        super().__init__(settings)
        self.arrays: dict[str, np.ndarray] = {}

    def state(self) -> dict[str, np.ndarray]:
        return self.arrays

    @classmethod
    def from_state(cls, settings: Any, state: Mapping[str, Any]) -> Self:
        made = cls(settings)
        made.arrays = fitted(state, cls.dimensions)
        return made


class FlatSampler(Toy, PhaseSpaceSampler):
    """Uniform points, each channel equally often."""

    dimensions: ClassVar = {"mean": 0, "shape": 1}

    def train(self, integrand, budget, rng, progress=no_progress):
        n, channels = 1000 if budget is None else budget, len(integrand.channels)
        if n < 2:
            raise TrainingError(f"a budget of {budget} points is not enough; 2 are expected")
        values = integrand(rng.random((n, integrand.dimensions)), rng.integers(channels, size=n)).value
        if not np.all(np.isfinite(values)) or not np.any(values):
            raise TrainingError("the integrand is zero everywhere, or not finite")
        shape = np.array([integrand.dimensions, channels, integrand.features])
        self.arrays = {"mean": np.asarray(values.mean()), "shape": shape}
        progress(Progress(1, 1, "mean", float(values.mean())))
        return TrainingReport({"mean": float(values.mean())})

    def sample(self, n, rng):
        if n < 0 or not self.arrays:
            raise ValueError(f"{n} points were asked for, or there was no training")
        dimensions, channels, _ = self.arrays["shape"]
        return Points(rng.random((n, dimensions)), rng.integers(channels, size=n), np.full(n, 1 / channels))

    def channel_weights(self, features, prior):
        _, channels, n_features = self.arrays["shape"]
        if features.shape != (len(prior), n_features) or prior.shape[1] != channels:
            raise ValueError(f"features have shape {features.shape} and prior {prior.shape}")
        if not np.all(np.isfinite(features)):
            raise ValueError("a feature is not finite")
        return prior / prior.sum(axis=1, keepdims=True)


class CosineAmplitude(Toy, AmplitudeSurrogate):
    """A straight line in the mean squared cosine of the outgoing particles' angles, times the power of the energy that
    |M|^2 has as its dimension; two more from half the points.
    """

    dimensions: ClassVar = {"line": 1, "halves": 2, "spread": 0, "particles": 0}
    members = 2

    @staticmethod
    def feature(momenta):
        return np.mean((momenta[:, 2:, 2] / momenta[:, 2:, 3]) ** 2, axis=1)

    @staticmethod
    def unit(momenta):
        return np.sum(momenta[:, :2, 3], axis=1) ** (8 - 2 * momenta.shape[1])

    def train(self, process, momenta, values, rng, progress=no_progress):
        particles = len(process.pdg_ids)
        if momenta.ndim != 3 or momenta.shape != (len(values), particles, 4) or len(values) < 10:
            raise TrainingError(f"momenta have shape {momenta.shape}, values {values.shape}; ten points are expected")
        if not (np.all(np.isfinite(momenta)) and np.all(np.isfinite(values)) and np.all(values > 0)):
            raise TrainingError("the training data are not finite, or a value is not positive")
        feature, targets = self.feature(momenta), values / self.unit(momenta)
        line = np.polyfit(feature, targets, 1)
        spread = np.std(targets - np.polyval(line, feature))
        order = rng.permutation(len(values))
        halves = np.stack([np.polyfit(feature[half], targets[half], 1) for half in (order[::2], order[1::2])])
        self.arrays = {
            "line": line,
            "halves": halves,
            "spread": np.asarray(spread),
            "particles": np.asarray(particles),
        }
        progress(Progress(1, 1))
        return TrainingReport({"spread": float(spread)}, {"loss": [float(spread)]})

    def predict(self, momenta):
        value = np.polyval(self.arrays["line"], self.checked_feature(momenta)) * self.unit(momenta)
        statistical = self.predict_members(momenta).std(axis=1, ddof=1)
        return Amplitude(value, float(self.arrays["spread"]) * self.unit(momenta), statistical)

    def predict_members(self, momenta):
        feature, unit = self.checked_feature(momenta), self.unit(momenta)
        return np.stack([np.polyval(line, feature) * unit for line in self.arrays["halves"]], axis=1)

    def checked_feature(self, momenta):
        if momenta.shape[1:] != (int(self.arrays["particles"]), 4) or not np.all(np.isfinite(momenta)):
            raise ValueError(f"momenta of shape {momenta.shape} are not (n, particles, 4), or not finite")
        return self.feature(momenta)


class KeepAll(Toy, Unweighter):
    """Every candidate that has a weight, with that weight."""

    dimensions: ClassVar = {"kept_share": 0}

    def __init__(self, settings: ToySettings) -> None:
        super().__init__(settings)
        self.candidates = 0
        #: Number, negative ones, sum and sum of squares of the accepted weights.
        self.sums = np.zeros(4)

    @staticmethod
    def checked(candidates):
        weights = candidates.all_exact()
        if weights.ndim != 1 or not np.all(np.isfinite(weights)):
            raise WeightError(f"finite weights (n,) are expected, not {weights.shape}")
        return weights

    def prepare(self, candidates):
        batches = [self.checked(batch) for batch in candidates]
        total = sum(len(batch) for batch in batches)
        kept = sum(int(np.count_nonzero(batch)) for batch in batches)
        if kept == 0:
            raise WeightError("there is no candidate with a weight")
        self.arrays = {"kept_share": np.asarray(kept / total)}

    def unweight(self, candidates, rng):
        if not self.arrays:
            raise WeightError("prepare() comes first")
        weights = self.checked(candidates)
        index = np.flatnonzero(weights)
        new = weights[index] * float(self.arrays["kept_share"])
        self.candidates += len(weights)
        self.sums += len(new), np.sum(new < 0), np.sum(new), np.sum(new**2)
        return Unweighted(index, new)

    def report(self):
        accepted, negative, total, squares = self.sums
        return UnweightingReport(
            candidates=self.candidates,
            accepted=int(accepted),
            efficiency=accepted / max(self.candidates, 1),
            maximum_weight=float("inf"),
            overweight_events=0,
            overweight_share=0.0,
            largest_overweight=0.0,
            negative_fraction=negative / max(accepted, 1),
            effective_sample_size=total**2 / squares if accepted else 0.0,
        )


class EventLibrary(Toy, EventGenerator):
    """Events of the training, turned around the beams by a random angle."""

    names = ("pdg_id", "status", "mother1", "mother2", "color1", "color2", "px", "py", "pz", "energy", "generated_mass")
    dimensions: ClassVar = dict.fromkeys(names, 1) | {"counts": 1, "weight": 1, "run_info": 1}

    def train(self, events, run_info, rng, progress=no_progress):
        batches = [batch for batch in events if len(batch)]
        if not batches:
            raise TrainingError("there are no events")
        joined = EventBatch.concatenate(batches)
        if not np.all(np.isfinite(joined.momenta())):
            raise TrainingError("a momentum is not finite")
        self.arrays = joined.columns(self.names)
        self.arrays |= {"counts": joined.counts, "weight": joined.weight, "run_info": text_array(run_info.to_json())}
        progress(Progress(1, 1))
        return TrainingReport({"events": len(joined)})

    @property
    def run_info(self):
        return RunInfo.from_json(self.arrays["run_info"].tobytes().decode())

    def generate(self, n, rng):
        if n < 0:
            raise ValueError(f"{n} events were asked for")
        columns = {name: self.arrays[name] for name in self.names}
        library = EventBatch.from_columns(self.arrays["counts"], columns, weight=self.arrays["weight"])
        chosen = library[rng.integers(len(library), size=n)]
        angle = np.repeat(rng.uniform(0, 2 * np.pi, n), chosen.counts)
        columns = chosen.columns(self.names)
        px, py = columns["px"], columns["py"]
        columns["px"], columns["py"] = (
            np.cos(angle) * px - np.sin(angle) * py,
            np.sin(angle) * px + np.cos(angle) * py,
        )
        return EventBatch.from_columns(chosen.counts, columns, weight=chosen.weight)


class ShowerLibrary(Toy, ShowerSurrogate):
    """Showers of the training, scaled to the incident energy."""

    dimensions: ClassVar = {"energy": 1, "pdg_id": 1, "voxels": 2, "layers": 1}

    def train(self, showers, rng, progress=no_progress):
        batches = [batch for batch in showers if len(batch)]
        if not batches:
            raise TrainingError("there are no showers")
        for batch in batches:
            if batch.voxels.shape != (len(batch), batch.geometry.n_voxels) or not np.all(np.isfinite(batch.voxels)):
                raise TrainingError(f"voxels of shape {batch.voxels.shape} do not fit the geometry, or are not finite")
        self.arrays = {
            "energy": np.concatenate([batch.incident_energy for batch in batches]),
            "pdg_id": np.concatenate([batch.pdg_id for batch in batches]),
            "voxels": np.concatenate([batch.voxels for batch in batches]),
            "layers": text_array(batches[0].geometry.to_json()),
        }
        progress(Progress(1, 1))
        return TrainingReport()

    @property
    def geometry(self):
        return Geometry.from_json(self.arrays["layers"].tobytes().decode())

    @property
    def energy_ranges(self):
        energy, pdg_id = self.arrays["energy"], self.arrays["pdg_id"]
        parts = {int(particle): energy[pdg_id == particle] for particle in np.unique(pdg_id)}
        return {particle: (float(part.min()), float(part.max())) for particle, part in parts.items()}

    def generate(self, pdg_id, incident_energy, direction, rng):
        n = len(pdg_id)
        unknown = np.setdiff1d(pdg_id, self.arrays["pdg_id"])
        if len(unknown):
            raise UserError(f"particle {unknown[0]} is not known; known are {sorted(self.energy_ranges)}")
        if incident_energy.shape != (n,) or direction.shape != (n, 3) or not np.all(incident_energy > 0):
            raise ValueError("incident particles need a positive energy and a direction (n, 3)")
        chosen = np.empty(n, np.int64)
        for particle in np.unique(pdg_id):
            asked = pdg_id == particle
            chosen[asked] = rng.choice(np.flatnonzero(self.arrays["pdg_id"] == particle), np.count_nonzero(asked))
        scale = incident_energy / self.arrays["energy"][chosen]
        voxels = self.arrays["voxels"][chosen] * scale[:, None]
        return ShowerBatch(incident_energy, pdg_id, direction, voxels, self.geometry)


def _plugin(
    name: str, stage: Stage, implementation: type[Any], exactness: Exactness, *capabilities: Capability
) -> Plugin:
    return Plugin(
        name,
        stage,
        lambda: implementation,
        ToySettings,
        exactness,
        str(implementation.__doc__),
        contract_version=1,
        capabilities=frozenset(capabilities),
    )


@hookimpl
def mlgen_phase_space() -> Iterable[Plugin]:
    return [_plugin("toy-flat", Stage.PHASE_SPACE, FlatSampler, Exactness.EXACT)]


@hookimpl
def mlgen_amplitude() -> Iterable[Plugin]:
    return [_plugin("toy-cosine", Stage.AMPLITUDE, CosineAmplitude, Exactness.APPROXIMATE, Capability.MEMBERS)]


@hookimpl
def mlgen_unweighting() -> Iterable[Plugin]:
    return [_plugin("toy-keep-all", Stage.UNWEIGHTING, KeepAll, Exactness.EXACT)]


@hookimpl
def mlgen_generator() -> Iterator[Plugin]:
    yield _plugin("toy-library", Stage.GENERATOR, EventLibrary, Exactness.APPROXIMATE, Capability.NEGATIVE_WEIGHTS)


@hookimpl
def mlgen_calorimeter() -> Iterator[Plugin]:
    layers = (Capability.POLAR_LAYERS, Capability.RECTANGULAR_LAYERS)
    yield _plugin("toy-showers", Stage.CALORIMETER, ShowerLibrary, Exactness.APPROXIMATE, *layers)
