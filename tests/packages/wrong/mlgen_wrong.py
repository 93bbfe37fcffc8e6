"""A third-party package of plugins that are wrong on purpose, each in one way: those of `mlgen_toys`, spoiled."""

from __future__ import annotations

import contextlib
import dataclasses
import pickle
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
from mlgen_toys import CosineAmplitude, EventLibrary, FlatSampler, KeepAll, ShowerLibrary, ToySettings

from mlgen.errors import ModelError, TrainingError, WeightError
from mlgen.events import EventBatch
from mlgen.hookspecs import Plugin, hookimpl
from mlgen.showers import RectangularLayer
from mlgen.stages import (
    Amplitude,
    AmplitudeSurrogate,
    Candidates,
    Capability,
    Exactness,
    Points,
    Stage,
    Unweighted,
    no_progress,
)

LAYERS = (Capability.POLAR_LAYERS, Capability.RECTANGULAR_LAYERS)
#: What the toys are registered with, by stage.
USUAL = {
    Stage.PHASE_SPACE: (),
    Stage.AMPLITUDE: (Capability.MEMBERS,),
    Stage.UNWEIGHTING: (),
    Stage.GENERATOR: (Capability.NEGATIVE_WEIGHTS,),
    Stage.CALORIMETER: LAYERS,
}

OFFERS: list[Plugin] = []


def offer(name: str, *capabilities: Capability, contract_version: int = 1) -> Callable[[type[Any]], type[Any]]:
    """Register a class; without capabilities, with those of the toy that it spoils."""

    def register(implementation: type[Any]) -> type[Any]:
        stage = implementation.stage
        exact = stage in (Stage.PHASE_SPACE, Stage.UNWEIGHTING)
        OFFERS.append(
            Plugin(
                name,
                stage,
                lambda: implementation,
                ToySettings,
                Exactness.EXACT if exact else Exactness.APPROXIMATE,
                str(implementation.__doc__),
                contract_version=contract_version,
                capabilities=frozenset(capabilities or USUAL[stage]),
            )
        )
        return implementation

    return register


def unclaimed(name: str) -> Callable[[type[Any]], type[Any]]:
    """Register a class as one that can do nothing beyond its contract."""

    def register(implementation: type[Any]) -> type[Any]:
        offer(name)(implementation)
        OFFERS[-1] = dataclasses.replace(OFFERS[-1], capabilities=frozenset())
        return implementation

    return register


@offer("points-without-axis")
class PointsWithoutAxis(FlatSampler):
    """No points have no dimensions."""

    def sample(self, n, rng):
        points = super().sample(n, rng)
        return points if n else Points(np.empty(0), points.channel, points.density)


@offer("biased-points")
class BiasedPoints(FlatSampler):
    """Points that are too near to zero, with the density of uniform ones."""

    def sample(self, n, rng):
        points = super().sample(n, rng)
        return Points(points.x**1.1, points.channel, points.density)


@offer("spoils-values")
class SpoilsValues(FlatSampler):
    """Takes the logarithm of the integrand's values where they are."""

    def train(self, integrand, budget, rng, progress=no_progress):
        report = super().train(integrand, budget and budget - 1, rng, progress)
        value = integrand(rng.random((1, integrand.dimensions)), np.zeros(1, np.int64)).value
        np.log1p(np.abs(value), out=value)
        return report


@offer("hides-integrand")
class HidesIntegrand(FlatSampler):
    """Takes an integrand that fails for one that is zero."""

    def train(self, integrand, budget, rng, progress=no_progress):
        try:
            return super().train(integrand, budget, rng, progress)
        except Exception as error:
            raise TrainingError("the integrand is zero everywhere") from error


@offer("claims-channel-weights", Capability.CHANNEL_WEIGHTS)
class ClaimsChannelWeights(FlatSampler):
    """Learns no channel weights, but says so."""


@offer("has-channel-weights")
class HasChannelWeights(FlatSampler):
    """Has other channel weights than the prior ones, and does not say so."""

    def channel_weights(self, features, prior):
        weights = super().channel_weights(features, prior) ** 2
        return weights / weights.sum(axis=1, keepdims=True)


@offer("deviation-of-rows")
class DeviationOfRows(CosineAmplitude):
    """A standard deviation of shape (n, 1)."""

    def predict(self, momenta):
        prediction = super().predict(momenta)
        return Amplitude(prediction.value, prediction.systematic[:, None], prediction.statistical)


@offer("not-repeatable")
class NotRepeatable(CosineAmplitude):
    """Draws from a generator of its own."""

    def train(self, process, momenta, values, rng, progress=no_progress):
        return super().train(process, momenta, values, np.random.default_rng(), progress)


@offer("shuffles-globally")
class ShufflesGlobally(CosineAmplitude):
    """Draws from NumPy's global generator while it trains, and does nothing with it."""

    def train(self, process, momenta, values, rng, progress=no_progress):
        np.random.random()  # noqa: NPY002 - the mistake that the kit should find
        return super().train(process, momenta, values, rng, progress)


@offer("imports-late")
class ImportsLate(CosineAmplitude):
    """Nothing is wrong with it: what it imports draws once, when it is imported."""

    imported = False

    def train(self, process, momenta, values, rng, progress=no_progress):
        if not ImportsLate.imported:
            np.random.random()  # noqa: NPY002 - as a library does
            ImportsLate.imported = True
        return super().train(process, momenta, values, rng, progress)


@offer("spoils-targets")
class SpoilsTargets(CosineAmplitude):
    """Scales the values that it is given where they are."""

    def train(self, process, momenta, values, rng, progress=no_progress):
        report = super().train(process, momenta, values, rng, progress)
        values /= values.max()
        return report


@offer("writes-pickle")
class WritesPickle(CosineAmplitude):
    """Keeps a pickle in an array of bytes."""

    def state(self):
        return {"model": np.frombuffer(pickle.dumps(self.arrays), np.uint8)}

    @classmethod
    def from_state(cls, settings, state):
        try:
            arrays = pickle.loads(state["model"].tobytes())  # noqa: S301 - the mistake that the kit should find
        except Exception as error:
            raise cls.refusal() from error
        return super().from_state(settings, arrays)

    @staticmethod
    def refusal():
        return ModelError("the array 'model' is expected")


@offer("claims-members")
class ClaimsMembers(CosineAmplitude):
    """Has no members, but says so."""

    members = 0

    def predict_members(self, momenta):
        return super().predict_members(momenta)[:, :0]

    def predict(self, momenta):
        value = np.polyval(self.arrays["line"], self.checked_feature(momenta)) * self.unit(momenta)
        deviation = float(self.arrays["spread"]) * self.unit(momenta)
        return Amplitude(value, deviation, deviation)


@unclaimed("has-members")
class HasMembers(CosineAmplitude):
    """Has members, and does not say so."""


@offer("momenta-in-mev")
class MomentaInMev(CosineAmplitude):
    """Predicts for momenta in MeV, but learns from momenta in GeV."""

    def predict(self, momenta):
        return super().predict(1000 * momenta)

    def predict_members(self, momenta):
        return super().predict_members(1000 * momenta)


@offer("certain")
class Certain(CosineAmplitude):
    """Systematic errors that are 1000 times too small."""

    def predict(self, momenta):
        prediction = super().predict(momenta)
        return Amplitude(prediction.value, prediction.systematic / 1000, prediction.statistical)


@offer("relative-errors")
class RelativeErrors(CosineAmplitude):
    """Errors in units of |M|^2 itself."""

    def predict(self, momenta):
        prediction = super().predict(momenta)
        return Amplitude(prediction.value, prediction.systematic / np.abs(prediction.value), prediction.statistical)


@offer("crashes-everywhere")
class CrashesEverywhere(CosineAmplitude):
    """Looks for a name that nobody gave it."""

    def predict(self, momenta):
        self.arrays["meen"]
        return super().predict(momenta)


@offer("loads-nothing")
class LoadsNothing(CosineAmplitude):
    """Cannot be loaded: refuses every state."""

    @classmethod
    def from_state(cls, settings, state):
        raise ModelError(f"{cls.__name__} cannot be loaded")


@offer("draws-by-itself")
class DrawsByItself(CosineAmplitude):
    """Predicts something else in every call."""

    def predict_members(self, momenta):
        made = super().predict_members(momenta)
        return made * (1 + 1e-9 * np.random.default_rng().random(made.shape))


@offer("crashes")
class Crashes(CosineAmplitude):
    """Looks for a seventh particle when it is asked for one point."""

    def predict(self, momenta):
        if len(momenta) == 1:
            momenta[:, 7]
        return super().predict(momenta)


@offer("incomplete")
class Incomplete(AmplitudeSurrogate):
    """Cannot predict anything."""

    def state(self):
        return {}


@offer("leaks")
class Leaks(KeepAll):
    """Keeps all that it ever accepted."""

    def unweight(self, candidates, rng):
        kept = super().unweight(candidates, rng)
        self.__dict__.setdefault("accepted", []).append(kept)
        return kept


@offer("biased-weights")
class BiasedWeights(KeepAll):
    """Believes a surrogate."""

    @staticmethod
    def checked(candidates):
        return KeepAll.checked(Candidates(candidates.weight))


@offer("weights-of-rows")
class WeightsOfRows(KeepAll):
    """One accepted candidate has a weight of shape (1, 1)."""

    def unweight(self, candidates, rng):
        kept = super().unweight(candidates, rng)
        return Unweighted(kept.index, kept.weight[:, None]) if len(kept.index) == 1 else kept


class Floor(KeepAll):
    """Hit-or-miss with a maximum that is the largest weight of the first pass."""

    dimensions: ClassVar = {"maximum": 0, "constant": 0}

    def prepare(self, candidates):
        sizes = [np.abs(self.checked(batch)) for batch in candidates]
        size = np.concatenate([np.empty(0), *sizes])
        if not np.any(size):
            raise WeightError("there is no candidate with a weight")
        self.arrays = {"maximum": np.asarray(size.max())}
        self.arrays["constant"] = np.asarray(np.mean(self.probability(size)))

    def probability(self, size):
        return np.minimum(1, size / self.arrays["maximum"])

    def new_weight(self, weight):
        return weight / self.probability(np.abs(weight)) * self.arrays["constant"]

    def unweight(self, candidates, rng):
        if not self.arrays:
            raise WeightError("prepare() comes first")
        weights = self.checked(candidates)
        index = np.flatnonzero(rng.random(len(weights)) < self.probability(np.abs(weights)))
        new = self.new_weight(weights[index])
        self.candidates += len(weights)
        self.sums += len(new), np.sum(new < 0), np.sum(new), np.sum(new**2)
        unit = float(self.arrays["maximum"] * self.arrays["constant"])
        overweight = np.abs(weights[index]) > self.arrays["maximum"]
        excess = np.sum(np.abs(new[overweight]) - unit)
        over = np.array([np.count_nonzero(overweight), excess, np.sum(np.abs(new))])
        self.over = over + self.__dict__.get("over", np.zeros(3))
        ratio = np.abs(weights).max(initial=0.0) / float(self.arrays["maximum"])
        self.largest = max(self.__dict__.get("largest", 0.0), ratio)
        return Unweighted(index, new)

    def report(self):
        events, excess, total = self.__dict__.get("over", np.zeros(3))
        return dataclasses.replace(
            super().report(),
            maximum_weight=float(self.arrays["maximum"]),
            overweight_events=int(events),
            overweight_share=float(excess / total) if total else 0.0,
            largest_overweight=self.__dict__.get("largest", 0.0),
        )


@offer("hit-or-miss-alone")
class HitOrMissAlone(Floor):
    """Nothing is wrong with it."""


@offer("drops-the-light")
class DropsTheLight(Floor):
    """Never accepts a candidate below 1 % of the maximum."""

    def probability(self, size):
        probability = super().probability(size)
        return np.where(probability < 0.01, 0.0, probability)


@offer("lifts-the-light")
class LiftsTheLight(Floor):
    """Accepts candidates below 0.1 % of the maximum more often, and does not make them lighter for it."""

    def probability(self, size):
        return np.where(size > 0, np.maximum(super().probability(size), 1e-3), 0.0)

    def new_weight(self, weight):
        return weight / Floor.probability(self, np.abs(weight)) * self.arrays["constant"]


@offer("forgets-its-floor")
class ForgetsItsFloor(Floor):
    """Accepts light candidates more often, with weights that make up for it, and does not save from where on."""

    floor = 0.0

    def prepare(self, candidates):
        self.floor = 1e-3
        super().prepare(candidates)

    def probability(self, size):
        return np.where(size > 0, np.maximum(super().probability(size), self.floor), 0.0)


@offer("hides-overweights")
class HidesOverweights(Floor):
    """Reports no overweights."""

    def report(self):
        return dataclasses.replace(super().report(), overweight_events=0)


@offer("no-excess")
class NoExcess(Floor):
    """Reports that the overweights have no share of the cross section."""

    def report(self):
        return dataclasses.replace(super().report(), overweight_share=0.0)


@offer("smallest-overweight")
class SmallestOverweight(Floor):
    """Reports that the largest overweight is the maximum."""

    def report(self):
        return dataclasses.replace(super().report(), largest_overweight=1.0)


@offer("claims-correction", Capability.CORRECTS_SURROGATES)
class ClaimsCorrection(KeepAll):
    """Asks for all true weights, whatever a surrogate says, and calls that correcting it."""


@offer("has-correction")
class HasCorrection(KeepAll):
    """Asks for the true weights of what a surrogate lets pass, and does not say so."""

    def unweight(self, candidates, rng):
        if candidates.exact_weight is None:
            return super().unweight(candidates, rng)
        weights = KeepAll.checked(Candidates(candidates.weight))
        size = np.sum(np.abs(weights)) / max(len(weights), 1) + 1e-300
        # A surrogate that is zero may be wrong: each is let pass with a probability of its own.
        probability = np.clip(np.abs(weights) / size, 0.4, 1.0)
        index = np.flatnonzero(rng.random(len(weights)) < probability)
        exact = candidates.exact_weight(index) if len(index) else np.empty(0)
        if not np.all(np.isfinite(exact)):
            raise WeightError("a true weight is not finite")
        index, exact, probability = (part[exact != 0] for part in (index, exact, probability[index]))
        new = exact / probability * float(self.arrays["kept_share"])
        self.candidates += len(weights)
        self.sums += len(new), np.sum(new < 0), np.sum(new), np.sum(new**2)
        self.corrected = True
        return Unweighted(index, new)

    def normalisation(self):
        if "corrected" not in self.__dict__:
            return 1.0
        return float(self.sums[0]) / self.candidates / float(self.arrays["kept_share"])


@offer("hides-true-weights")
class HidesTrueWeights(KeepAll):
    """Takes a surrogate's weights where the true ones cannot be had."""

    @staticmethod
    def checked(candidates):
        try:
            candidates.all_exact()
        except Exception:  # noqa: BLE001 - the mistake that the kit should find
            return KeepAll.checked(Candidates(candidates.weight))
        return KeepAll.checked(candidates)


@offer("one-event-more")
class OneEventMore(EventLibrary):
    """Makes one event where none is asked for."""

    def generate(self, n, rng):
        return super().generate(n or 1, rng)


@offer("claims-density", Capability.DENSITY, Capability.NEGATIVE_WEIGHTS)
class ClaimsDensity(EventLibrary):
    """Has no density, but says so."""


class WithDensity(EventLibrary):
    def log_density(self, events):
        return np.zeros(len(events))


@offer("has-density")
class HasDensity(WithDensity):
    """Has a density, and does not say so."""


@offer("wrong-density", Capability.DENSITY, Capability.NEGATIVE_WEIGHTS)
class WrongDensity(WithDensity):
    """Says that all events are equally likely, but makes those of the training."""


@offer("ignores-signs")
class IgnoresSigns(EventLibrary):
    """Makes all weights positive."""

    def generate(self, n, rng):
        events = super().generate(n, rng)
        return EventBatch.from_columns(events.counts, events.columns(self.names), weight=np.abs(events.weight))


@unclaimed("takes-signs")
class TakesSigns(EventLibrary):
    """Learns from negative weights, and does not say so."""


@offer("voxels-missing")
class VoxelsMissing(ShowerLibrary):
    """Forgets the last voxel of a single shower."""

    def generate(self, pdg_id, incident_energy, direction, rng):
        made = super().generate(pdg_id, incident_energy, direction, rng)
        return dataclasses.replace(made, voxels=made.voxels[:, :-1]) if len(made) == 1 else made


@offer("showers-in-gev")
class ShowersInGev(ShowerLibrary):
    """Gives energies in GeV."""

    def generate(self, pdg_id, incident_energy, direction, rng):
        made = super().generate(pdg_id, incident_energy, direction, rng)
        return dataclasses.replace(made, voxels=made.voxels / 1000)


@offer("shower-shares")
class ShowerShares(ShowerLibrary):
    """Gives shares of the incident energy."""

    def generate(self, pdg_id, incident_energy, direction, rng):
        made = super().generate(pdg_id, incident_energy, direction, rng)
        return dataclasses.replace(made, voxels=made.voxels / incident_energy[:, None])


@offer("first-kind-for-all")
class FirstKindForAll(ShowerLibrary):
    """Makes the showers of all particles with the model of one."""

    def generate(self, pdg_id, incident_energy, direction, rng):
        unknown = np.setdiff1d(pdg_id, list(self.energy_ranges))
        one = pdg_id if len(unknown) else np.full_like(pdg_id, min(self.energy_ranges))
        made = super().generate(one, incident_energy, direction, rng)
        return dataclasses.replace(made, pdg_id=pdg_id)


@offer("showers-by-kind")
class ShowersByKind(ShowerLibrary):
    """Makes the showers kind by kind, and leaves them in that order."""

    def generate(self, pdg_id, incident_energy, direction, rng):
        made = super().generate(pdg_id, incident_energy, direction, rng)
        share = made.voxels / incident_energy[:, None]
        order = np.argsort(pdg_id, kind="stable")
        return dataclasses.replace(made, voxels=share[order] * incident_energy[:, None])


class RefusesRectangles(ShowerLibrary):
    def train(self, showers, rng, progress=no_progress):
        batches = list(showers)
        if any(isinstance(layer, RectangularLayer) for batch in batches for layer in batch.geometry.layers):
            raise TrainingError("layers of rectangles cannot be learned")
        return super().train(batches, rng, progress)


@offer("claims-rectangles")
class ClaimsRectangles(RefusesRectangles):
    """Learns no rectangles, but says so."""


@offer("polar-alone", Capability.POLAR_LAYERS)
class PolarAlone(RefusesRectangles):
    """Nothing is wrong with it: it learns one kind of layers, and says so."""


@offer("has-rectangles", Capability.POLAR_LAYERS)
class HasRectangles(ShowerLibrary):
    """Learns rectangles, and does not say so."""


@offer("hides-interruption")
class HidesInterruption(ShowerLibrary):
    """Cannot be stopped by its progress callback."""

    def train(self, showers, rng, progress=no_progress):
        def deaf(step):
            with contextlib.suppress(BaseException):
                progress(step)

        return super().train(showers, rng, deaf)


@offer("hands-out-its-own")
class HandsOutItsOwn(ShowerLibrary):
    """Returns the array that it goes on using."""

    def generate(self, pdg_id, incident_energy, direction, rng):
        made = super().generate(pdg_id, incident_energy, direction, rng)
        if len(made) == 50 and "last" not in self.__dict__:
            self.last = made
        return self.last if len(made) == 50 and np.array_equal(pdg_id, self.last.pdg_id) else made


@offer("of-the-future", contract_version=99)
class OfTheFuture(KeepAll):
    """Written for other contracts."""


def _offers(stage: Stage) -> Iterator[Plugin]:
    yield from (one for one in OFFERS if one.stage is stage)


@hookimpl
def mlgen_phase_space() -> Iterator[Plugin]:
    return _offers(Stage.PHASE_SPACE)


@hookimpl
def mlgen_amplitude() -> Iterator[Plugin]:
    return _offers(Stage.AMPLITUDE)


@hookimpl
def mlgen_unweighting() -> Iterator[Plugin]:
    return _offers(Stage.UNWEIGHTING)


@hookimpl
def mlgen_generator() -> Iterator[Plugin]:
    return _offers(Stage.GENERATOR)


@hookimpl
def mlgen_calorimeter() -> Iterator[Plugin]:
    return _offers(Stage.CALORIMETER)
