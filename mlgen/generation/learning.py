"""What a learned generator is made of, and how it is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mlgen.errors import TrainingError
from mlgen.events import FloatArray
from mlgen.generation.bayesian import fit_posterior
from mlgen.generation.density import FamilyDensity
from mlgen.generation.discriminator import Discriminator, discriminator_inputs
from mlgen.generation.drawn_labels import DrawnLabels
from mlgen.generation.families import Family, FamilyEvents, family_events, find_families
from mlgen.generation.fitting import Data
from mlgen.generation.nuisance import Nuisance, nominal
from mlgen.generation.topology_labels import TopologyLabels
from mlgen.representation import Representation, Topology, TopologyEvents
from mlgen.stages import Progress, ProgressCallback

if TYPE_CHECKING:
    from mlgen.generation.learned_generator import LearnedGenerator
    from mlgen.generation.locating import Located

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: Share of the events that is held out, and the most that are.
HELD_OUT, MOST_HELD_OUT = 0.1, 20_000
#: Fewest optimisation steps of a family, where the settings allow them.
FEWEST_STEPS = 300
#: Families with fewer events get no training: their points stay independent normal numbers.
EVENTS_FOR_TRAINING = 50
#: Points that frequencies of flavours are calibrated with.
CALIBRATION_POINTS = 20_000
#: Largest ratio of densities by which generated events are rejected: those above keep a weight.
LARGEST_RATIO = 3.0


@dataclass
class LearnedFamily:
    """A family and its density.

    Args:
        family: The family.
        density: Its density.
        members: Parameters of the networks of a Bayesian model.
        total: Ratio of the cross section of each topology at +1 and -1 of the nuisance parameter to the nominal one,
            ``(2, topologies)``.
    """

    family: Family
    density: FamilyDensity
    members: list[dict[str, Tensor]]
    totals: FloatArray


@dataclass
class TrainingEvents:
    """The events of the training, kept while it is judged: by topology."""

    events: Sequence[TopologyEvents]
    held_out: Sequence[BoolArray]


@dataclass
class Learned:
    """Everything that a generator learned.

    Args:
        topologies: The topologies.
        families: The families that they belong to.
        labels: Probabilities of labels, by topology.
        discriminators: One for each topology that has one.
        extra: Numbers that models are given besides points: 1 with a nuisance parameter.
        training: The events of the training; not kept.
    """

    topologies: list[Topology]
    families: list[LearnedFamily]
    labels: list[TopologyLabels]
    discriminators: dict[int, Discriminator]
    extra: int
    training: TrainingEvents | None = field(default=None, repr=False)

    @property
    def events_of_training(self) -> TrainingEvents:
        """The events of the training.

        Raises:
            ValueError: The training is over.
        """
        if self.training is None:
            raise ValueError("the events of the training are not kept beyond it")
        return self.training

    @property
    def has_named_weights(self) -> bool:
        """Whether generated events have named weights."""
        return bool(self.extra) or any(family.members for family in self.families)

    def family_of(self, number: int) -> tuple[LearnedFamily, int]:
        """The family of a topology, and its number there."""
        for family in self.families:
            if number in family.family.topologies:
                return family, family.family.topologies.index(number)
        raise ValueError(f"topology {number} belongs to no family")

    def suffix(self, number: int) -> str:
        """What figures of a topology end with: its number of jets, and its own number where others have as many."""
        jets = [len(topology.jets) for topology in self.topologies]
        if len(jets) == 1:
            return ""
        return f"_{jets[number]}_jets" + (f"_{number}" if jets.count(jets[number]) > 1 else "")

    def ratio(self, number: int, points: FloatArray, momenta: FloatArray) -> FloatArray:
        """Ratio of true to generated density, ``(n,)``; one where there is no discriminator."""
        if number not in self.discriminators or not len(points):
            return np.ones(len(points))
        return self.discriminators[number].ratio(discriminator_inputs(self.topologies[number], points, momenta))

    def mean_weight(self, number: int) -> float:
        """Mean weight of events of a topology that a discriminator has rejected by `LARGEST_RATIO`."""
        return self.discriminators[number].mean_weight if number in self.discriminators else 1.0

    def log_density(self, number: int, found: Located) -> FloatArray:
        """Log density of events of one topology, as `LearnedGenerator.log_density` has it."""
        topology, (family, local) = self.topologies[number], self.family_of(number)
        points, logarithm = topology.encode(found.momenta, found.masses, found.numbers)
        given = np.hstack([points, nominal(len(points), self.extra)])
        known = (found.labels.flavour >= 0) & np.isfinite(points).all(axis=1) & np.isfinite(logarithm)
        known &= topology.cuts.inside(found.momenta)
        total = np.full(len(points), -np.inf)
        if known.any():
            rows = family.family.rows(local, points[known])
            density = family_log_density(family, rows, np.full(int(known.sum()), local), 0.0)
            discrete = self.labels[number].log_probability(given[known], found.labels.of(known))
            result = density + discrete + logarithm[known] + np.log(topology.probability)
            total[known] = np.where(np.isnan(result), -np.inf, result)
        return total

    def judged(self, generator: LearnedGenerator, rng: np.random.Generator) -> tuple[dict[str, Any], list[str]]:
        """Figures and remarks on what the trained generator makes, beside its held-out events."""
        from mlgen.generation.quality import judged

        training, self.training = self.events_of_training, None
        return judged(generator, self, training, rng)


@dataclass
class LearningReport:
    """What a learning says of itself."""

    figures: dict[str, float | int | str]
    curves: dict[str, list[float]]
    remarks: list[str]


def family_log_density(
    family: LearnedFamily, rows: npt.NDArray[np.float32], topology: IntArray, a: float
) -> FloatArray:
    """Log density of rows given their topology, at one value of the nuisance parameter, ``(n,)``."""
    device = next(family.density.parameters()).device
    with torch.no_grad():
        result = family.density.log_density(
            torch.from_numpy(rows).to(device),
            torch.from_numpy(np.asarray(topology, np.int64)).to(device),
            torch.from_numpy(nominal(len(rows), family.density.extra, a)).to(device),
        )
    return np.asarray(result.double().cpu().numpy())


def learn(
    generator: LearnedGenerator, representation: Representation, rng: np.random.Generator, progress: ProgressCallback
) -> tuple[Learned, LearningReport]:
    """Learn the events of a representation.

    Raises:
        mlgen.errors.TrainingError: They do not allow it.
    """
    settings = generator.settings
    topologies, events = list(representation.topologies), list(representation.events)
    report = LearningReport({}, {}, list(representation.remarks))
    held_out = [_held_out(len(one.weight), rng) for one in events]
    families = find_families(topologies)
    sizes = np.array([sum(len(events[k].weight) for k in family.topologies) for family in families])
    shared = _shared_steps(sizes, settings.steps_for(int(sizes.sum())))
    bayesian = settings.uncertainty == "bayesian"
    label_steps = 3 * settings.label_steps * len(topologies)
    total = int(shared.sum()) + label_steps
    done = 0

    last = Progress(0, total, "loss", float("nan"))

    def reporter(name: str) -> Callable[[int, float], None]:
        start = done

        def report(step: int, loss: float) -> None:
            nonlocal last
            last = Progress(min(start + step, total), total, name, loss)
            progress(last)

        return report

    learned = Learned(topologies, [], [], {}, len(settings.nuisance[:1]), TrainingEvents(events, held_out))
    best, parameters = 0.0, 0
    for number, family in enumerate(families):
        own = family_events(family, topologies, events, held_out)
        data = Data.of(own, Nuisance.of(own.variations, generator.torch_device), generator.torch_device)
        density = generator.family_density(family, learned.extra).to(generator.torch_device)
        for part in density.parts:
            part.initialise(rng)
        if bayesian and not any(part.last_layers() for part in density.parts):
            name = type(density.parts[0]).__name__
            raise TrainingError(
                f"uncertainty = 'bayesian' needs layers whose weights can be uncertain, and last_layers() of {name} "
                "gives none; leave that setting out, or give the layers"
            )
        learned.families.append(LearnedFamily(family, density, [], _totals(family, own)))
        parameters += sum(parameter.numel() for parameter in density.parameters())
        if not shared[number]:
            report.remarks.append(
                f"{topologies[family.topologies[0]].describe()} and the like: {sizes[number]} events are too few for a"
                f" network ({EVENTS_FOR_TRAINING} are needed); their coordinates are generated without what correlates"
                " them beyond a normal distribution"
            )
            continue
        course = generator.fit_family(learned, number, own, data, int(shared[number]), rng, reporter("loss"), report)
        done += int(shared[number])
        best += course.best * sizes[number] / sizes[shared > 0].sum()
        suffix = f".{number}" if len(families) > 1 else ""
        report.curves[f"loss{suffix}"] = course.loss
        report.curves[f"validation_loss{suffix}"] = course.validation_loss
        if bayesian:
            tell = reporter("mean loss")
            # It does no steps: progress stays where the training has ended.
            learned.families[-1].members = fit_posterior(
                density, data, settings, generator.likelihood, rng, partial(_at_the_end, tell)
            )
    for k, topology in enumerate(topologies):
        points, factor = _label_points(events[k], learned.extra, rng)
        learned.labels.append(
            TopologyLabels.train(topology, events[k], points, factor, settings.label_steps, rng, reporter("label loss"))
        )
        done += 3 * settings.label_steps
    _calibrate(learned, rng)
    rare = [int(np.sum(np.bincount(one.flavour, minlength=1) < 10)) for one in events]
    report.figures |= {
        "topologies": len(topologies),
        "classes": sum(len(topology.labels.pdg_id) for topology in topologies),
        "parameters": parameters,
        "validation_loss": float(best),
    }
    if sum(rare):
        report.remarks.append(
            f"{sum(rare)} classes of flavours have fewer than 10 events; they are generated as often as in the"
            " training, with momenta like those of similar classes"
        )
    generator.after_learning(learned, rng, reporter("cross entropy"), report)
    if last.done < total:
        # A training can end early.
        progress(replace(last, done=total))
    return learned, report


def _at_the_end(report: Callable[[int, float], None], events: int, loss: float) -> None:
    report(0, loss)


def _held_out(n: int, rng: np.random.Generator) -> BoolArray:
    count = min(MOST_HELD_OUT, max(1, int(HELD_OUT * n)))
    chosen = np.zeros(n, bool)
    chosen[rng.permutation(n)[:count]] = True
    return chosen


def _shared_steps(sizes: IntArray, total: int) -> IntArray:
    """Share the optimisation steps between families by their events; 0 for those that are too small."""
    trained = sizes >= EVENTS_FOR_TRAINING
    shared = np.floor(total * sizes / max(1, sizes[trained].sum())).astype(np.int64)
    return np.where(trained, np.maximum(shared, min(total, FEWEST_STEPS)), 0)


def _totals(family: Family, events: FamilyEvents) -> FloatArray:
    """Ratios of the cross sections at +1 and -1 of the nuisance parameter to the nominal ones, ``(2, topologies)``."""
    count = len(family.topologies)
    if not len(events.variations):
        return np.ones((2, count))
    up = events.variations[0]
    down = events.variations[1] if len(events.variations) > 1 else 2 - up
    before = np.bincount(events.topology, events.weight, count)
    return np.stack([np.bincount(events.topology, events.weight * ratio, count) / before for ratio in (up, down)])


def _label_points(events: TopologyEvents, extra: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """What label networks see of events, ``(images, n, numbers)``, and factors of the weights."""
    n = len(events.weight)
    if not extra:
        return events.points, np.ones(n)
    nuisance = Nuisance.of(events.variations, torch.device("cpu"))
    values, factor = nuisance.drawn(torch.arange(n), rng)
    column = np.broadcast_to(values.numpy().astype(np.float64), (len(events.points), n, 1))
    return np.concatenate([events.points, column], axis=2), factor.numpy().astype(np.float64)


def _calibrate(learned: Learned, rng: np.random.Generator) -> None:
    """Give flavours and colour flows the frequencies of the training, for the points that are generated."""
    for number, topology in enumerate(learned.topologies):
        if len(topology.labels.pdg_id) == 1 and len(topology.labels.colors) == 1:
            continue
        points = possible_points(learned, number, CALIBRATION_POINTS, rng)[0]
        given = np.hstack([points, nominal(len(points), learned.extra)])
        events = learned.events_of_training.events[number]
        learned.labels[number] = learned.labels[number].calibrated(topology, events, given, rng)


def possible_points(
    learned: Learned, number: int, n: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, DrawnLabels]:
    """Points of one topology as they are generated, without corrections: points, momenta and labels, about `n`."""
    topology, (family, local) = learned.topologies[number], learned.family_of(number)
    rows = family.density.sample(np.full(n, local), nominal(n, learned.extra), rng)
    points = rows[:, family.family.columns[local]].astype(np.float64)
    if len(learned.labels) > number:
        labels = learned.labels[number].draw(np.hstack([points, nominal(n, learned.extra)]), rng)
    else:
        nothing = np.zeros(n, np.int64)
        labels = DrawnLabels(np.full(n, int(np.argmax(topology.labels.share))), nothing, nothing)
    events = topology.decode(points, labels.flavour, rng.uniform(-np.pi, np.pi, n))
    good = np.flatnonzero(events.possible)
    return points[good], events.momenta[good], labels.of(good)
