"""Tests for plugins of the stage ``generator``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from mlgen.errors import TrainingError
from mlgen.events import EventBatch
from mlgen.run_info import RunInfo
from mlgen.stages import (
    Capability,
    EventGenerator,
    FloatArray,
    ProgressCallback,
    Stage,
    TrainingReport,
    no_progress,
)
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.event_rules import check_events
from mlgen.testing.point_density import learned_generator, require_density_of_points
from mlgen.testing.rules import Arrays, require, require_agreement, require_array, require_refusal, unchanged
from mlgen.testing.samples import drell_yan_events, with_negative_weights
from mlgen.testing.statement import checked_early, not_applicable, states_rules
from mlgen.testing.traps import Trap

GeneratorT = TypeVar("GeneratorT", bound=EventGenerator)


@states_rules
class EventGeneratorTests(TrainedContractTests[GeneratorT]):
    """Tests for an `mlgen.stages.EventGenerator`.

    Attributes:
        training_events: Events of the training.
        generated_events: Events that are generated to be looked at.
        density_events: Events that are generated to compare their density with.
    """

    stage = Stage.GENERATOR
    training_events: ClassVar[int] = 1000
    generated_events: ClassVar[int] = 200
    density_events: ClassVar[int] = 1000

    def sample(self) -> tuple[EventBatch, RunInfo]:
        """Return the training events, and what is true of their file."""
        return drell_yan_events(self.training_events, self.rng(10))

    def learn(
        self, implementation: GeneratorT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Train on `sample`."""
        events, run_info = self.sample()
        return implementation.train(iter([events]), run_info, rng, progress)

    def use(self, implementation: GeneratorT, rng: np.random.Generator) -> Arrays:
        """Generate events."""
        return _arrays(implementation.generate(50, rng))

    def trapped(self, trap: Trap) -> Iterator[tuple[str, Callable[[], object]]]:
        """Trainings whose stream of events, and whose progress callback, raises."""
        events, run_info = self.sample()
        stream = trap.stream([events])
        yield "training on a stream of events that raises", lambda: self.make().train(stream, run_info, self.rng())
        yield "a progress callback that raises", lambda: self.learn(self.make(), self.rng(), trap.progress)

    def test_the_sample_obeys_the_rules(self) -> None:
        """The training events that a test class gives are valid ones."""
        events, run_info = self.sample()
        check_events(events, run_info, coloured=_has_colours(events))

    @checked_early
    def test_exactly_n_events(self) -> None:
        """`generate` makes exactly as many events as were asked for, also none and one."""
        for n in (0, 1, 37):
            made = len(self.ready().generate(n, self.rng(1)))
            require(made == n, f"generate({n}) made {made} events")

    def test_events_are_valid(self) -> None:
        """Generated events are valid by the Les Houches Accord: four-momentum is conserved, particles are on their mass
        shells, mothers and colour lines are in order.
        """
        ready = self.ready()
        coloured = _has_colours(self.sample()[0])
        check_events(ready.generate(self.generated_events, self.rng(1)), ready.run_info, coloured=coloured)

    def test_particles_are_those_of_the_training(self) -> None:
        """A generated particle is one that the training events have, incoming or outgoing as there."""
        known = _kinds(self.sample()[0])
        made = _kinds(self.ready().generate(self.generated_events, self.rng(1)))
        require(made <= known, f"(pdg_id, status) {sorted(made - known)} were generated, but were not in the training")

    def test_helicities_are_those_of_the_training(self) -> None:
        """A generated event has helicities that a training event with the same particles has."""
        known = _spins(self.sample()[0])
        made = _spins(self.ready().generate(self.generated_events, self.rng(1)))
        strange = sorted(made - known)
        require(not strange, f"events with the particles and helicities {strange[:1]} are not of the training")

    def test_colour_flows_are_those_of_the_training(self) -> None:
        """A generated event has the colour lines, whatever their labels, of a training event with its particles."""
        known = _flows(self.sample()[0])
        made = _flows(self.ready().generate(self.generated_events, self.rng(1)))
        strange = sorted(made - known)
        require(not strange, f"events with the particles and colour lines {strange[:1]} are not of the training")

    def test_named_weights_are_declared(self) -> None:
        """``run_info`` tells of each named weight that generated events have, and of no other; they are finite."""
        ready = self.ready()
        made, told = ready.generate(20, self.rng(1)), ready.run_info.variation_names
        require(
            set(made.variations) == set(told),
            f"the events have the named weights {sorted(made.variations)}, run_info tells of {sorted(told)}",
        )
        for name, values in made.variations.items():
            require_array(values, (20,), "f", f"the weight '{name}'")

    def test_run_info_is_that_of_the_training(self) -> None:
        """Beams and cross section in ``run_info`` are those of the training file, also after saving and loading."""
        ready, expected = self.ready(), self.sample()[1]
        loaded = type(ready).from_state(self.settings(), ready.state())
        for implementation in (ready, loaded):
            told = implementation.run_info
            require(told.beams == expected.beams, f"run_info has the beams {told.beams}, the training {expected.beams}")
            require(
                np.isclose(told.cross_section, expected.cross_section, rtol=1e-9, equal_nan=True),
                f"run_info has the cross section {told.cross_section} pb, the training {expected.cross_section} pb",
            )

    def test_training_on_several_batches(self) -> None:
        """Training takes batches of any size, also an empty one among them."""
        events, run_info = self.sample()
        half = len(events) // 2
        implementation = self.make()
        implementation.train(iter([events[:half], events[half:half], events[half:]]), run_info, self.rng())
        require(len(implementation.generate(3, self.rng(1))) == 3, "training on several batches has to work")

    def test_inputs_are_not_changed(self) -> None:
        """Training, and asking for a density, leaves the events that are handed over as they are."""
        events, run_info = self.sample()
        implementation = self.make()
        with unchanged(_arrays(events), "the training events must not be changed"):
            implementation.train([events], run_info, self.rng())
        if _has_density(implementation):
            with unchanged(_arrays(events), "log_density() must not change the events"):
                implementation.log_density(events)

    def test_density_is_there_where_it_says_so(self) -> None:
        """A plugin with the capability DENSITY has `log_density`; one without it has not."""
        has, says = _has_density(self.ready()), self.claims(Capability.DENSITY)
        require(
            has or not says,
            "the plugin claims to have a density (Capability.DENSITY), but log_density() is missing "
            f"{self.if_switched_off(Capability.DENSITY)}",
        )
        require(
            says or not has,
            "the plugin has log_density(), but does not claim to; register it with "
            "capabilities=frozenset({Capability.DENSITY})",
        )

    def test_log_density_has_the_right_shape(self) -> None:
        """A generator with a density gives a finite log density for each of its own events, also for none."""
        self._only_with_density()
        ready = self.ready()
        for n in (0, 1, 20):
            require_array(ready.log_density(ready.generate(n, self.rng(1))), (n,), "f", "log density")

    def test_log_density_is_a_number_or_minus_infinity(self) -> None:
        """The log density of a training event is a number, or minus infinity where the generator never makes it."""
        self._only_with_density()
        ready = self.ready()
        events = self.sample()[0]
        found = ready.log_density(events)
        require(found.shape == (len(events),), f"log density has shape {found.shape}; ({len(events)},) is expected")
        require(
            not np.any(np.isnan(found) | (found == np.inf)),
            "the log density of a training event must be a finite number or minus infinity",
        )
        require(np.any(np.isfinite(found)), "the generator has no density at any of the events that it learned from")

    def test_log_density_is_that_of_the_events(self) -> None:
        r"""The density of a generator is that of the events it makes, up to a constant factor.

        Two generators p and q, of which the second one learned from a part of the events, have for any class of events
        the same mean of :math:`q / (p + q)` over events of p as of :math:`p / (p + q)` over events of q: both are the
        integral of :math:`p q / (p + q)`. It holds whatever they learned.
        """
        self._only_with_density()
        events, run_info = self.sample()
        # In the second sample, events that go forward are rare.
        rare = _forward(events) & (self.rng(30).random(len(events)) < 0.75)
        other = self.make()
        other.train([events[np.flatnonzero(~rare)]], run_info, self.rng(31))
        first = self._shares(self.ready(), other, self.rng(32))
        second = self._shares(other, self.ready(), self.rng(33))
        for name, here, there in zip(("forward", "backward"), first, second, strict=True):
            difference = float(np.mean(here) - np.mean(there))
            error = float(np.hypot(np.std(here), np.std(there)) / np.sqrt(len(here)))
            require(
                abs(difference) <= 5 * error + 1e-9,
                f"log_density() is not the density of the events that are generated: over {name} events, the means of "
                f"q / (p + q) and p / (p + q) differ by {difference:.3g} +- {error:.2g} for two generators p and q",
            )

    def _shares(self, own: GeneratorT, other: GeneratorT, rng: np.random.Generator) -> list[FloatArray]:
        """The density of `other` over the sum of both, at events of `own`; zero outside forward, then backward."""
        events = own.generate(self.density_events, rng)
        with np.errstate(over="ignore"):
            share = 1 / (1 + np.exp(own.log_density(events) - other.log_density(events)))
        forward = _forward(events)
        return [np.where(chosen, share, 0.0) for chosen in (forward, ~forward)]

    def _only_with_density(self) -> None:
        if not self.claims(Capability.DENSITY):
            not_applicable("the plugin does not claim to have a density")
        if not _has_density(self.ready()):
            not_applicable("the plugin has no density, though it claims to")

    def test_negative_weights_where_it_says_so(self) -> None:
        """A plugin with the capability NEGATIVE_WEIGHTS learns what events with weights of either sign mean: averages
        with the signs; one without it refuses such events with a TrainingError.

        Of the training events that go backward, 45 % have a negative weight. The weighted share of generated events
        that go backward has to be nearer to the one with signs than to the one without, and their mean weight the
        cross section.
        """
        events, run_info = with_negative_weights(*self.sample(), self.rng(40))
        implementation = self.make()
        train = partial(implementation.train, iter([events]), run_info, self.rng(41))
        if not self.claims(Capability.NEGATIVE_WEIGHTS):
            what = "training on negative weights, which the plugin does not claim to do (Capability.NEGATIVE_WEIGHTS)"
            require_refusal(train, what, [TrainingError])
            return
        try:
            train()
        except TrainingError as error:
            raise AssertionError(
                "the plugin claims to learn from negative weights (Capability.NEGATIVE_WEIGHTS), but refused them: "
                f"{error} {self.if_switched_off(Capability.NEGATIVE_WEIGHTS)}"
            ) from error
        backward = ~_forward(events)
        signed = float(np.sum(events.weight[backward]) / np.sum(events.weight))
        unsigned = float(np.sum(np.abs(events.weight[backward])) / np.sum(np.abs(events.weight)))
        made = implementation.generate(2000, self.rng(42))
        found = float(np.sum(made.weight[~_forward(made)]) / np.sum(made.weight))
        require(
            abs(found - signed) < abs(found - unsigned),
            f"the signs of the weights were not learned: {signed:.3f} of the training's weight is in events that go "
            f"backward, {unsigned:.3f} when signs are ignored; the generated events have {found:.3f}",
        )
        if abs(implementation.run_info.weight_strategy) == abs(run_info.weight_strategy):
            rule = "the mean weight of generated events has to be the cross section, with the signs"
            require_agreement(made.weight, run_info.cross_section, rule)

    def test_points_are_drawn_from_their_density(self) -> None:
        """Of a `LearnedGenerator` whose loss is a likelihood: the points that the density draws are distributed as its
        logarithm says, it integrates to one, and the loss is minus its logarithm.
        """
        learned = learned_generator(self.make())
        if learned is None:
            not_applicable("the plugin is no mlgen.generation.LearnedGenerator with likelihood = True")
        require_density_of_points(learned.make_density, self.rng(7))

    def test_bad_training_data_are_refused(self) -> None:
        """Training on no events, and on momenta that are no numbers, is an error in words."""
        events, run_info = self.sample()
        for batches, what in (
            ([], "training on nothing"),
            ([events[:0]], "training on an empty batch"),
            ([_with_nan(events)], "training on a momentum of NaN"),
        ):
            require_refusal(partial(self.make().train, batches, run_info, self.rng()), what)

    def test_bad_number_of_events_is_refused(self) -> None:
        """A negative number of events is an error."""
        require_refusal(lambda: self.ready().generate(-1, self.rng()), "generating -1 events")


def _has_density(generator: EventGenerator) -> bool:
    return type(generator).log_density is not EventGenerator.log_density


def _forward(events: EventBatch) -> npt.NDArray[np.bool_]:
    """Which events go along +z, ``(n,)``."""
    event = np.repeat(np.arange(len(events)), events.counts)
    outgoing = events.column("status") == 1
    total = np.bincount(event[outgoing], events.column("pz")[outgoing], minlength=len(events))
    return np.asarray(total > 0)


def _arrays(events: EventBatch) -> Arrays:
    per_event = {name: getattr(events, name) for name in ("weight", "process_id", "scale", "alpha_qed", "alpha_qcd")}
    variations = {f"variation {name}": values for name, values in events.variations.items()}
    return {"counts": events.counts} | events.columns() | per_event | variations


def _has_colours(events: EventBatch) -> bool:
    return bool(np.any(events.column("color1")) or np.any(events.column("color2")))


def _kinds(events: EventBatch) -> set[tuple[int, int]]:
    pairs = zip(events.column("pdg_id").tolist(), events.column("status").tolist(), strict=True)
    return set(pairs)


def _spins(events: EventBatch) -> set[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Particles of each event with their helicities; in order of these, since like particles may change places."""
    kinds, spins = events.column("pdg_id"), events.column("spin")
    found = set()
    for first, last in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        pairs = sorted(zip(kinds[first:last].tolist(), spins[first:last].tolist(), strict=True))
        found.add((tuple(kind for kind, _ in pairs), tuple(spin for _, spin in pairs)))
    return found


def _flows(events: EventBatch) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Particles of each event with their colour lines, numbered in order of appearance."""
    kinds = events.column("pdg_id")
    lines = np.stack([events.column(name) for name in ("color1", "color2")], axis=1)
    found = set()
    for first, last in zip(events.offsets[:-1], events.offsets[1:], strict=True):
        numbers: dict[int, int] = {0: 0}
        flow = tuple(numbers.setdefault(line, len(numbers)) for line in lines[first:last].ravel().tolist())
        found.add((tuple(kinds[first:last].tolist()), flow))
    return found


def _with_nan(events: EventBatch) -> EventBatch:
    columns = events.columns()
    columns["px"] = columns["px"].copy()
    columns["px"][events.offsets[3] + 3] = np.nan
    return EventBatch.from_columns(events.counts, columns, weight=events.weight, process_id=events.process_id)
