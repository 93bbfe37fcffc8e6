"""`LearnedGenerator`: an event generator made of a density of points; everything else is here."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from mlgen.errors import ModelError, TrainingError, UserError
from mlgen.events import EventBatch, FloatArray
from mlgen.generation.columns import GeneratedColumns
from mlgen.generation.correction import learn_discriminators
from mlgen.generation.density import FamilyDensity, PointDensity, block_dimensions
from mlgen.generation.drawn_labels import DrawnLabels
from mlgen.generation.families import Family, FamilyEvents
from mlgen.generation.fitting import Course, Data, fit_density
from mlgen.generation.learned_state import generator_from_state, generator_state
from mlgen.generation.learning import LARGEST_RATIO, Learned, LearnedFamily, LearningReport, learn
from mlgen.generation.locating import located
from mlgen.generation.named_weights import NamedWeights
from mlgen.generation.normalisation import event_weight, generated_run_info, restricted_run_info
from mlgen.generation.nuisance import nominal
from mlgen.generation.selection import selected
from mlgen.generation.settings import LearnedGeneratorSettings
from mlgen.representation import DecodedEvents, Topology, collected, represent
from mlgen.run_info import RunInfo, WeightNormalisation
from mlgen.stages import EventGenerator, ProgressCallback, Settings, State, TrainingReport, no_progress
from mlgen.threads import one_thread
from mlgen.torch_settings import device_for

IntArray = npt.NDArray[np.int64]

#: An event that is impossible this many times in a row is given up.
MOST_REDRAWS = 300
#: Candidates that are made at a time where 'only' asks for few of them.
_CANDIDATES = 50_000
_NO_DISCRIMINATOR = "correction = '{}' needs a discriminator: train with discriminator_epochs of 10 or more"


class LearnedGenerator(EventGenerator, abc.ABC):
    """Learns hard events from a file and generates others like them.

    A subclass gives `make_density`, a density of points of order one, and says in `likelihood` whether its loss is one.
    The rest is the same for all:

    - momenta are points (`mlgen.representation`), so that every event conserves four-momentum, stands on its mass
      shells and lies inside the cuts of the training file, whatever the density learned;
    - events with the same core and any number of jets are learned by one model: a density of what they have in common,
      given the number of jets, and one of what each jet adds (eq. 4.91);
    - flavours, colour flow and helicities are drawn given the momenta, from what the training file has;
    - weights of either sign count as such in all densities (eq. 4.85), and generated events have one weight;
    - a Bayesian model gives each event a weight for each of its networks; a nuisance parameter, one for +1 and -1;
    - a discriminator can reweight or reject what is generated.

    Attributes:
        name: Of the plugin.
        summary: What it is, for the files.
        settings_type: The model of its settings.
        likelihood: Whether the loss is minus the log of a density: then a Bayesian network needs no other factor.

    References:
        Plehn et al., arXiv:2211.01421, sec. 4.3.2; Butter et al., arXiv:2110.13632.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    settings_type: ClassVar[type[LearnedGeneratorSettings]] = LearnedGeneratorSettings
    likelihood: ClassVar[bool] = True
    settings: LearnedGeneratorSettings

    def __init__(self, settings: LearnedGeneratorSettings | None = None) -> None:
        self.settings = type(self).settings_type() if settings is None else settings
        self.learned: Learned | None = None
        self._run_info = RunInfo()
        self._weight = float("nan")
        #: Events that were drawn again because they were impossible, since the generator was made.
        self.redrawn = 0

    @abc.abstractmethod
    def make_density(self, dimension: int, context: int) -> PointDensity:
        """Make an untrained density of points of `dimension` numbers, given `context` numbers."""

    def family_density(self, family: Family, extra: int) -> FamilyDensity:
        """Make an untrained model of a family, given `extra` numbers of each event."""
        densities = [self.make_density(*dimensions) for dimensions in block_dimensions(family, extra)]
        return FamilyDensity(family, densities, extra)

    def fit_family(
        self,
        learned: Learned,
        number: int,
        events: FamilyEvents,
        data: Data,
        steps: int,
        rng: np.random.Generator,
        report: Callable[[int, float], None],
        remarks: LearningReport,
    ) -> Course:
        """Train the density of family `number`, on `data`, which are `events` as tensors.

        Here by its loss alone; a generator with more in mind replaces it.

        Args:
            learned: What is learned so far, the untrained family included.
            number: The family.
            events: Its events.
            data: The same as tensors.
            steps: Optimisation steps.
            rng: Source of all randomness.
            report: Called with the steps done and the loss.
            remarks: Takes figures, curves and remarks.
        """
        return fit_density(learned.families[number].density, data, self.settings, steps, rng, report)

    def after_learning(
        self,
        learned: Learned,
        rng: np.random.Generator,
        report: Callable[[int, float], None],
        remarks: LearningReport,
    ) -> None:
        """Learn the discriminators that correct generated events."""
        if self.settings.discriminator_epochs:
            learn_discriminators(learned, self.settings.discriminator_epochs, rng, report, remarks)

    @property
    def run_info(self) -> RunInfo:
        """What is true of the generated events."""
        learned = self._require_training()
        info, weight = self._uncut(learned)
        if self.settings.only:
            info = restricted_run_info(info, weight, learned.topologies, self._asked(learned))
        return info

    def _uncut(self, learned: Learned) -> tuple[RunInfo, float]:
        """Run information and weight of all events; with a correction, unit weights become ones that average."""
        info, weight = self._run_info, self._weight
        corrected = self.settings.correction != "none" and learned.discriminators
        if corrected and info.normalisation is WeightNormalisation.UNIT and info.cross_section > 0:
            weight = info.cross_section
            processes = tuple(dataclasses.replace(process, maximum_weight=weight) for process in info.processes)
            info = info.replace(weight_strategy=4, processes=processes)
        return info, weight

    def _require_training(self) -> Learned:
        if self.learned is None:
            raise ModelError("the generator is not trained")
        return self.learned

    def train(
        self,
        events: Iterable[EventBatch],
        run_info: RunInfo,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from a stream of batches.

        Raises:
            TrainingError: There are too few events, or they cannot be represented; says which and why.
        """
        settings = self.settings
        if settings.correction != "none" and not settings.discriminator_epochs:
            raise TrainingError(_NO_DISCRIMINATOR.format(settings.correction))
        batch = collected(events, settings.training_events, rng, settings.nuisance)
        if len(batch) < settings.minimum_events:
            raise TrainingError(
                f"there are {len(batch)} events to learn from; at least {settings.minimum_events} are needed,"
                " because a network that sees fewer repeats them instead of learning their distribution"
                " (setting minimum_events)"
            )
        beams = [(beam.pdg_id, beam.energy) for beam in run_info.beams]
        with one_thread():
            # Mirror images have the sample's nominal weight as often, but perhaps not its named weights.
            representation = represent(batch, beams, mirrors=settings.mirrors and not settings.nuisance, rng=rng)
            # What cannot be asked for is refused before the training, not after it.
            selected(settings.only, representation.topologies)
            learned, report = learn(self, representation, rng, progress)
        remarks = list(report.remarks)
        others = len(run_info.variations) - len(settings.nuisance)
        if others > 0:
            remarks.append(f"{others} named weights are not learned, only the nominal weight is")
        self._set(learned, run_info, event_weight(batch.weight, run_info))
        figures = {"events": len(batch), **report.figures}
        with one_thread():
            more, words = learned.judged(self, rng)
        return TrainingReport({**figures, **more}, report.curves, (*remarks, *words))

    def _set(self, learned: Learned, trained_on: RunInfo, weight: float) -> None:
        self.learned, self._weight = learned, weight
        variations = NamedWeights(self.name, learned).variations
        self._run_info = generated_run_info(trained_on, weight, self.name, self.summary, variations)

    def generate(self, n: int, rng: np.random.Generator) -> EventBatch:
        """Generate exactly `n` events.

        Raises:
            ModelError: The generator is not trained, or it makes next to nothing but impossible events.
            mlgen.errors.UserError: Events are asked for that the training did not have.
        """
        if n < 0:
            raise ValueError(f"{n} events were asked for; a number that is not negative is expected")
        learned = self._require_training()
        if self.settings.correction != "none" and not self.settings.discriminator_epochs:
            raise UserError(_NO_DISCRIMINATOR.format(self.settings.correction))
        asked = self._asked(learned)
        shares = np.array(
            [topology.labels.share[one].sum() for topology, one in zip(learned.topologies, asked, strict=True)]
        )
        owner = rng.choice(len(shares), n, p=shares / shares.sum())
        largest = max(topology.particles for topology in learned.topologies)
        made = _Made(n, largest, learned)
        with one_thread():
            for family in learned.families:
                self._fill(made, family, owner, asked, rng)
            info, size = self._uncut(learned)
            # Weights follow the cross section, but where each event counts as one.
            share = float(shares.sum()) if info.normalisation is WeightNormalisation.AVERAGE else 1.0
            weight = made.factor * (size * share)
            named = NamedWeights(self.name, learned).of(made, weight)
        return made.columns.batch(weight, named)

    def _asked(self, learned: Learned) -> list[npt.NDArray[np.bool_]]:
        return selected(self.settings.only, learned.topologies)

    def _fill(
        self,
        made: _Made,
        family: LearnedFamily,
        owner: IntArray,
        asked: list[npt.NDArray[np.bool_]],
        rng: np.random.Generator,
    ) -> None:
        """Generate the events of one family, and again those that are impossible; their topology stays."""
        learned = made.learned
        numbers = family.family.topologies
        places = np.flatnonzero(np.isin(owner, numbers))
        wanted = len(places)
        local = np.full(len(learned.topologies), -1)
        local[list(numbers)] = np.arange(len(numbers))
        # Where few labels of a topology are asked for, several candidates are made for each event.
        rarest = min((_share(learned.topologies[k], asked[k]) for k in np.unique(owner[places])), default=1.0)
        tries = 0.0
        while tries < MOST_REDRAWS:
            if not len(places):
                return
            copies = max(1, min(math.ceil(1 / rarest), _CANDIDATES // len(places)))
            tries += copies * rarest
            candidates = np.repeat(places, copies)
            rows = family.density.sample(local[owner[candidates]], nominal(len(candidates), family.density.extra), rng)
            kept = np.zeros(len(owner), bool)
            for number, topology_number in enumerate(numbers):
                here = np.flatnonzero(owner[candidates] == topology_number)
                if len(here):
                    good = self._place(
                        made, topology_number, candidates[here], rows[here], family.family.columns[number], asked, rng
                    )
                    kept[candidates[here[good]]] = True
            places = places[~kept[places]]
            self.redrawn += len(places)
        if len(places):
            topology = learned.topologies[int(owner[places[0]])]
            raise ModelError(
                f"{topology.describe()} and the like: {len(places)} of {wanted} events were still impossible after"
                f" {MOST_REDRAWS} attempts (outside the cuts of the training, a particle lighter than its products,"
                " more energy than the beams have, or not what 'only' asks for); train with more events or more steps"
            )

    def _place(
        self,
        made: _Made,
        number: int,
        places: IntArray,
        rows: npt.NDArray[np.float32],
        columns: IntArray,
        asked: list[npt.NDArray[np.bool_]],
        rng: np.random.Generator,
    ) -> IntArray:
        """Make events of rows of one topology and put the possible ones in their places; returns which these are.

        Of several for one place, the first possible one.
        """
        learned = made.learned
        topology = learned.topologies[number]
        points = rows[:, columns].astype(np.float64)
        given = np.hstack([points, nominal(len(points), learned.extra)])
        labels = learned.labels[number].draw(given, rng)
        events = topology.decode(points, labels.flavour, rng.uniform(-np.pi, np.pi, len(points)))
        good = events.possible & asked[number][labels.flavour]
        factor = np.ones(len(points))
        if self.settings.correction != "none":
            usable = np.flatnonzero(good)
            ratio = learned.ratio(number, points[usable], events.momenta[usable])
            if self.settings.correction == "unweight":
                good[usable] = rng.random(len(usable)) * LARGEST_RATIO < ratio
                ratio = np.maximum(ratio / LARGEST_RATIO, 1.0) / learned.mean_weight(number)
            factor[usable] = ratio
        chosen = np.flatnonzero(good)
        chosen = chosen[np.sort(np.unique(places[chosen], return_index=True)[1])]
        if not len(chosen):
            return chosen
        made.set(number, places[chosen], rows[chosen], points[chosen], labels.of(chosen), events, chosen, rng)
        made.factor[places[chosen]] = factor[chosen]
        return chosen

    def log_density(self, events: EventBatch) -> FloatArray:
        r"""Return the log density of each event, ``(n,)``.

        That of the coordinates of `mlgen.representation.Kinematics` and the logarithms of scale and couplings where
        these are learned, times the probability of everything that is discrete; minus infinity for events that the
        generator cannot make. What is cut off at the edges of the sample is not made up for.
        """
        learned = self._require_training()
        result = np.full(len(events), -np.inf)
        with one_thread():
            for number, found in located(learned.topologies, events):
                result[found.number] = learned.log_density(number, found)
        return result

    def state(self) -> State:
        """Return everything that was learned, as named arrays."""
        return generator_state(self._require_training(), self._run_info, self._weight)

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the generator that `state` came from.

        Raises:
            ModelError: The arrays do not fit.
        """
        if not isinstance(settings, cls.settings_type):
            raise ModelError(f"the settings are {type(settings).__name__}; {cls.settings_type.__name__} are expected")
        generator = cls(settings)
        learned, generator._run_info, generator._weight = generator_from_state(generator, state)
        generator.learned = learned
        return generator

    @property
    def torch_device(self) -> torch.device:
        """Where networks live."""
        return device_for(self.settings.device)


class _Made:
    """What was generated so far."""

    def __init__(self, n: int, particles: int, learned: Learned) -> None:
        self.learned = learned
        self.columns = GeneratedColumns(n, particles)
        self.factor = np.ones(n)
        #: Kept for named weights: rows of the family, points and labels of each event.
        self.keep = learned.has_named_weights
        self.parts: list[tuple[int, IntArray, npt.NDArray[np.float32], FloatArray, DrawnLabels]] = []

    def set(
        self,
        number: int,
        places: IntArray,
        rows: npt.NDArray[np.float32],
        points: FloatArray,
        labels: DrawnLabels,
        events: DecodedEvents,
        chosen: IntArray,
        rng: np.random.Generator,
    ) -> None:
        """Put the chosen events in their places; the other arguments are of these alone."""
        part = DecodedEvents(
            events.momenta[chosen],
            events.masses[chosen],
            {name: values[chosen] for name, values in events.numbers.items()},
            events.possible[chosen],
        )
        self.columns.set(places, self.learned.topologies[number], labels, part, rng)
        if self.keep:
            self.parts.append((number, places, rows, points, labels))


def _share(topology: Topology, asked: npt.NDArray[np.bool_]) -> float:
    """Share of a topology's events that is asked for."""
    return float(topology.labels.share[asked].sum() / topology.labels.share.sum())
