"""`BoostedMixture`: learns the hard events of a file, and makes new ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from mlgen.errors import ModelError, TrainingError
from mlgen.events import EventBatch
from mlgen.generation.columns import GeneratedColumns
from mlgen.generation.drawn_labels import DrawnLabels
from mlgen.generation.locating import located
from mlgen.generation.normalisation import event_weight, generated_run_info
from mlgen.representation import DecodedEvents, Topology, TopologyEvents, collected, represent
from mlgen.representation.arrays import as_bytes, floats, part, text
from mlgen.run_info import RunInfo
from mlgen.stages import EventGenerator, Progress, ProgressCallback, Settings, State, TrainingReport, no_progress
from mlgen.threads import one_thread

from boosted_mixture.mixture import Floats, Integers, Mixture
from boosted_mixture.plugin import BoostedMixtureSettings
from boosted_mixture.trees import Trees

#: Candidates that are made at a time.
CHUNK = 20_000
#: Candidates that the normalisation is the mean of.
NORMALISATION_CANDIDATES = 50_000
#: Rounds of candidates, each enough on average, after which a topology is given up.
MOST_ROUNDS = 200


@dataclass(frozen=True)
class Candidates:
    """What a mixture proposes: points, labels, what they are as events, and how much of each is wanted."""

    points: Floats
    label: Integers
    labels: DrawnLabels
    events: DecodedEvents
    ratio: Floats


@dataclass(frozen=True)
class LearnedTopology:
    """The events of one topology: a mixture, and trees that say how much of it is wanted where.

    Args:
        topology: The map between events and points.
        mixture: Density of points and labels.
        trees: Log of the wanted ratio to the mixture.
        largest: Largest ratio; more is cut off.
        mean_ratio: Mean ratio of the mixture's candidates, those that are no events counting as zero.
    """

    topology: Topology
    mixture: Mixture
    trees: Trees
    largest: float
    mean_ratio: float = float("nan")

    def inputs(self, points: Floats, label: Integers) -> Floats:
        """What the trees see, ``(n, features)``: the point, the kinds of particles, colour flow and spin state."""
        flavour, color, spin = self.mixture.labels[label].T
        return np.column_stack([points, self.topology.labels.pdg_id[flavour], color, spin])

    def ratio(self, points: Floats, label: Integers) -> Floats:
        """How much of a point and its label is wanted, relative to the mixture, ``(n,)``."""
        return np.minimum(np.exp(self.trees(self.inputs(points, label))), self.largest)

    def candidates(self, n: int, rng: np.random.Generator) -> Candidates:
        """Draw from the mixture; what is no event inside the cuts of the training has the ratio zero."""
        points, label = self.mixture.sample(n, rng)
        labels = DrawnLabels(*self.mixture.labels[label].T)
        events = self.topology.decode(points, labels.flavour, rng.uniform(-np.pi, np.pi, n))
        return Candidates(points, label, labels, events, np.where(events.possible, self.ratio(points, label), 0.0))

    def log_density(self, points: Floats, label: Integers) -> Floats:
        """Log density of points and labels, as they are generated, ``(n,)``."""
        with np.errstate(divide="ignore"):
            return self.mixture.log_density(points, label) + np.log(self.ratio(points, label) / self.mean_ratio)


class BoostedMixture(EventGenerator):
    """Hard events from a mixture of Gaussians, corrected by boosted trees.

    Events are points and labels (`mlgen.representation`), so that each conserves four-momentum, stands on its mass
    shells, lies inside the cuts of the training file, and has particles, colours and helicities that the file has. A
    mixture learns points and labels of each topology. Trees then learn to tell its events from the file's; the ratio of
    densities that follows is the probability with which an event of the mixture is kept.
    """

    settings: BoostedMixtureSettings

    def __init__(self, settings: BoostedMixtureSettings) -> None:
        super().__init__(settings)
        self.learned: list[LearnedTopology] = []
        self._run_info, self._weight = RunInfo(), float("nan")

    @one_thread()
    def train(
        self,
        events: Iterable[EventBatch],
        run_info: RunInfo,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from a stream of batches.

        Raises:
            TrainingError: There are too few events, some have negative weights, or they cannot be represented.
        """
        settings = self.settings
        batch = collected(events, settings.training_events, rng)
        if len(batch) < settings.minimum_events:
            raise TrainingError(
                f"there are {len(batch)} events to learn from; at least {settings.minimum_events} are needed "
                "(setting minimum_events)"
            )
        if negative := int(np.sum(batch.weight < 0)):
            raise TrainingError(
                f"{negative} of {len(batch)} events have negative weights, and a mixture of Gaussians is positive "
                "everywhere; use a generator that says 'negative weights' in `mlgen plugins`"
            )
        found = represent(batch, [(beam.pdg_id, beam.energy) for beam in run_info.beams], rng=rng)
        remarks = list(found.remarks)
        if run_info.variations:
            remarks.append(f"{len(run_info.variations)} named weights are not learned, only the nominal weight is")
        total = len(found.topologies) * (1 + settings.trees)
        curves: dict[str, list[float]] = {}
        learned: list[LearnedTopology] = []
        for number, (topology, members) in enumerate(zip(found.topologies, found.events, strict=True)):
            done = number * (1 + settings.trees)

            def told(step: int, entropy: float, done: int = done) -> None:
                progress(Progress(done + 1 + step, total, "cross entropy", entropy))

            one, likelihood, curve = _learn(topology, members, settings, rng, told)
            progress(Progress(done + 1 + settings.trees, total))
            learned.append(one)
            curves |= {f"log_likelihood.{number}": likelihood, f"cross_entropy.{number}": curve}
            if len(likelihood) == settings.iterations:
                remarks.append(f"{topology.describe()}: the mixture did not converge in {settings.iterations} steps")
        self._set(learned, event_weight(batch.weight, run_info), run_info)
        figures = {
            "events": len(batch),
            "topologies": len(learned),
            "components": sum(len(one.mixture.weight) for one in learned),
            "trees": sum(len(one.trees.feature) for one in learned),
            "accepted_fraction": sum(one.topology.probability * one.mean_ratio / one.largest for one in learned),
        }
        return TrainingReport(figures, curves, tuple(remarks))

    def _set(self, learned: list[LearnedTopology], weight: float, trained_on: RunInfo) -> None:
        self.learned, self._weight = learned, weight
        self._run_info = generated_run_info(trained_on, weight, "boosted-mixture", "Gaussian mixture, boosted trees")

    @property
    def run_info(self) -> RunInfo:
        """What is true of the generated events."""
        return self._run_info

    def _trained(self) -> list[LearnedTopology]:
        if not self.learned:
            raise ModelError("the generator is not trained")
        return self.learned

    @one_thread()
    def generate(self, n: int, rng: np.random.Generator) -> EventBatch:
        """Generate exactly `n` events, all of one weight.

        Raises:
            ModelError: The generator is not trained, or makes next to nothing but impossible events.
            ValueError: `n` is negative.
        """
        if n < 0:
            raise ValueError(f"{n} events were asked for; a number that is not negative is expected")
        learned = self._trained()
        share = np.array([one.topology.probability for one in learned])
        owner = rng.choice(len(learned), n, p=share / share.sum())
        columns = GeneratedColumns(n, max(one.topology.particles for one in learned))
        for number, one in enumerate(learned):
            _fill(columns, one, np.flatnonzero(owner == number), rng)
        return columns.batch(np.full(n, self._weight), {})

    @one_thread()
    def log_density(self, events: EventBatch) -> Floats:
        """Log density of each event, ``(n,)``.

        That of the coordinates of `mlgen.representation.Kinematics`, and of the logarithms of scale and couplings where
        these are learned, times the probability of what is discrete; minus infinity for events that are never made.
        """
        learned = self._trained()
        result = np.full(len(events), -np.inf)
        for number, found in located([one.topology for one in learned], events):
            one = learned[number]
            points, determinant = one.topology.encode(found.momenta, found.masses, found.numbers)
            labels = found.labels
            label = one.mixture.find_labels(np.column_stack([labels.flavour, labels.color, labels.spin]))
            known = (label >= 0) & np.isfinite(points).all(axis=1) & np.isfinite(determinant)
            known &= one.topology.cuts.inside(found.momenta)
            density = one.log_density(points[known], label[known]) + determinant[known]
            result[found.number[known]] = density + np.log(one.topology.probability)
        return result

    def state(self) -> State:
        """Return everything that was learned, as named arrays."""
        learned = self._trained()
        about = {"run_info": self._run_info.to_json(), "topologies": len(learned)}
        state: dict[str, npt.NDArray[Any]] = {
            "about": as_bytes(json.dumps(about)),
            "weight": np.array([self._weight]),
            "mean_ratio": np.array([one.mean_ratio for one in learned]),
            "largest": np.array([one.largest for one in learned]),
        }
        for k, one in enumerate(learned):
            for name, arrays in (("topology", one.topology), ("mixture", one.mixture), ("trees", one.trees)):
                state |= {f"{name}{k}.{key}": array for key, array in arrays.state().items()}
        return state

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the generator that `state` came from.

        Raises:
            ModelError: The arrays do not fit.
        """
        if not isinstance(settings, BoostedMixtureSettings):
            raise ModelError(f"the settings are {type(settings).__name__}; BoostedMixtureSettings are expected")
        generator = cls(settings)
        try:
            about: Mapping[str, Any] = json.loads(text(state, "about"))
            count, run_info = int(about["topologies"]), RunInfo.from_json(about["run_info"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the array 'about' of the model cannot be read: {error}") from error
        mean_ratio, largest = (floats(state, name, (count,)) for name in ("mean_ratio", "largest"))
        if count < 1 or not (np.all(mean_ratio > 0) and np.all(largest >= 1)):
            raise ModelError("the arrays 'mean_ratio' and 'largest' of the model are empty, or no ratios")
        for k in range(count):
            topology = Topology.from_state(part(state, f"topology{k}"))
            labels = topology.labels
            limits = (len(labels.pdg_id), len(labels.colors), len(labels.spins))
            mixture = Mixture.from_state(part(state, f"mixture{k}"), topology.dimension, limits)
            trees = Trees.from_state(part(state, f"trees{k}"), topology.dimension + topology.particles + 2)
            generator.learned.append(LearnedTopology(topology, mixture, trees, float(largest[k]), float(mean_ratio[k])))
        generator._run_info, generator._weight = run_info, float(floats(state, "weight", (1,))[0])
        return generator


def _learn(
    topology: Topology,
    members: TopologyEvents,
    settings: BoostedMixtureSettings,
    rng: np.random.Generator,
    told: Callable[[int, float], None],
) -> tuple[LearnedTopology, list[float], list[float]]:
    """Learn one topology; returns the log likelihood of the mixture and the cross entropy of the trees, by step."""
    from boosted_mixture.fitting import fit_mixture, fit_trees

    points, labels, event = _pictures(topology, members)
    mixture, likelihood = fit_mixture(points, labels, members.weight[event], settings, rng)
    one = LearnedTopology(topology, mixture, Trees.none(), settings.largest_ratio)
    curve: list[float] = []
    # Trees with a handful of events would learn these by heart.
    if settings.trees and len(members.weight) >= settings.minimum_events:
        # One picture of each event: the others are the same event once more.
        order = rng.permutation(len(event))
        chosen = order[np.unique(event[order], return_index=True)[1]]
        made = one.candidates(2 * len(chosen), rng)
        possible = made.events.possible
        trees, curve = fit_trees(
            one.inputs(points[chosen], mixture.find_labels(labels[chosen])),
            members.weight[event[chosen]],
            one.inputs(made.points[possible], made.label[possible]),
            settings,
            rng,
            told,
        )
        one = LearnedTopology(topology, mixture, trees, settings.largest_ratio)
    largest = settings.largest_ratio if curve else 1.0
    ratios = [one.candidates(CHUNK, rng).ratio for _ in range(-(-NORMALISATION_CANDIDATES // CHUNK))]
    mean = float(np.mean(ratios))
    if not mean > 0:
        raise TrainingError(f"{topology.describe()}: the mixture makes no possible event; train with more events")
    return LearnedTopology(topology, mixture, one.trees, largest, mean), likelihood, curve


def _pictures(topology: Topology, members: TopologyEvents) -> tuple[Floats, Integers, Integers]:
    """All mirror images of all events whose labels the file has: points, labels ``(m, 3)``, and their events ``(m,)``.

    Exchanged beams exchange the labels too. Events without a weight are left out.
    """
    own = np.column_stack([members.flavour, members.color, members.spin])
    mirrored = np.column_stack([place[label] for place, label in zip(topology.labels.mirror, own.T, strict=True)])
    used = members.weight > 0
    seen = {tuple(label) for label in np.unique(own[used], axis=0).tolist()}
    there = used & np.array([tuple(label) in seen for label in mirrored.tolist()], bool)
    points, labels, event = [], [], []
    for picture, exchanged in zip(members.points, members.beams_exchanged, strict=True):
        kept = np.flatnonzero(there if exchanged else used)
        points.append(picture[kept])
        labels.append((mirrored if exchanged else own)[kept])
        event.append(kept)
    return np.concatenate(points), np.concatenate(labels), np.concatenate(event)


def _fill(columns: GeneratedColumns, one: LearnedTopology, places: Integers, rng: np.random.Generator) -> None:
    """Put events of one topology in their places."""
    accepted_fraction = one.mean_ratio / one.largest
    tries = MOST_ROUNDS * (1 + len(places) / CHUNK / accepted_fraction)
    left = places
    while len(left):
        if tries < 0:
            raise ModelError(
                f"{one.topology.describe()}: {len(left)} of {len(places)} events are still missing, since nearly all "
                "that the mixture makes is impossible; train with more events"
            )
        tries -= 1
        made = one.candidates(min(CHUNK, int(1.1 * len(left) / accepted_fraction) + 20), rng)
        good = np.flatnonzero(rng.random(len(made.ratio)) * one.largest < made.ratio)[: len(left)]
        if not len(good):
            continue
        events = DecodedEvents(
            made.events.momenta[good],
            made.events.masses[good],
            {name: values[good] for name, values in made.events.numbers.items()},
            made.events.possible[good],
        )
        columns.set(left[: len(good)], one.topology, made.labels.of(good), events, rng)
        left = left[len(good) :]
