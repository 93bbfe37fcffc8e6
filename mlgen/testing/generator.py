"""Tests for plugins of the stage ``generator``."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, TypeVar

import numpy as np
import pytest

from mlgen.events import EventBatch
from mlgen.run_info import RunInfo
from mlgen.stages import EventGenerator, ProgressCallback, TrainingReport, no_progress
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.event_rules import check_events
from mlgen.testing.rules import Arrays, require, require_array, require_refusal, unchanged
from mlgen.testing.samples import drell_yan_events

GeneratorT = TypeVar("GeneratorT", bound=EventGenerator)


class EventGeneratorTests(TrainedContractTests[GeneratorT]):
    """Tests for an `mlgen.stages.EventGenerator`.

    Attributes:
        training_events: Events of the training.
        generated_events: Events that are generated to be looked at.
    """

    training_events: ClassVar[int] = 1000
    generated_events: ClassVar[int] = 200

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

    def test_the_sample_obeys_the_rules(self) -> None:
        """Training events that break the rules would make the tests below meaningless."""
        events, run_info = self.sample()
        check_events(events, run_info, coloured=_has_colours(events))

    def test_exactly_n_events(self) -> None:
        """As many events as were asked for; none and one too."""
        for n in (0, 1, 37):
            made = len(self.ready().generate(n, self.rng(1)))
            require(made == n, f"generate({n}) made {made} events")

    def test_events_are_valid(self) -> None:
        """Momentum is conserved, particles are on their mass shells, mothers and colours are in order."""
        ready = self.ready()
        coloured = _has_colours(self.sample()[0])
        check_events(ready.generate(self.generated_events, self.rng(1)), ready.run_info, coloured=coloured)

    def test_particles_are_those_of_the_training(self) -> None:
        """A generated particle is one that the training events have, incoming or outgoing as there."""
        known = _kinds(self.sample()[0])
        made = _kinds(self.ready().generate(self.generated_events, self.rng(1)))
        require(made <= known, f"(pdg_id, status) {sorted(made - known)} were generated, but were not in the training")

    def test_helicities_are_those_of_the_training(self) -> None:
        """An event has helicities that a training event with the same particles has."""
        known = _spins(self.sample()[0])
        made = _spins(self.ready().generate(self.generated_events, self.rng(1)))
        strange = sorted(made - known)
        require(not strange, f"events with the particles and helicities {strange[:1]} are not of the training")

    def test_colour_flows_are_those_of_the_training(self) -> None:
        """An event has the colour lines, whatever their numbers, of a training event with the same particles."""
        known = _flows(self.sample()[0])
        made = _flows(self.ready().generate(self.generated_events, self.rng(1)))
        strange = sorted(made - known)
        require(not strange, f"events with the particles and colour lines {strange[:1]} are not of the training")

    def test_named_weights_are_declared(self) -> None:
        """run_info tells of each named weight that events have, and of no other; they are finite."""
        ready = self.ready()
        made, told = ready.generate(20, self.rng(1)), ready.run_info.variation_names
        require(
            set(made.variations) == set(told),
            f"the events have the named weights {sorted(made.variations)}, run_info tells of {sorted(told)}",
        )
        for name, values in made.variations.items():
            require_array(values, (20,), "f", f"the weight '{name}'")

    def test_run_info_is_that_of_the_training(self) -> None:
        """Beams, cross section and weight strategy are those of the training file, also after loading."""
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
        """Training leaves the events as they are."""
        events, run_info = self.sample()
        with unchanged(_arrays(events), "the training events must not be changed"):
            self.make().train([events], run_info, self.rng())

    def test_log_density_has_the_right_shape(self) -> None:
        """A generator that has a density gives one for each of its own events."""
        ready = self.ready()
        if type(ready).log_density is EventGenerator.log_density:
            pytest.skip("the plugin has no density")
        for n in (0, 1, 20):
            require_array(ready.log_density(ready.generate(n, self.rng(1))), (n,), "f", "log density")

    def test_log_density_is_a_number_or_minus_infinity(self) -> None:
        """Events of the training may be impossible for the generator, but then their density is zero, not NaN."""
        ready = self.ready()
        if type(ready).log_density is EventGenerator.log_density:
            pytest.skip("the plugin has no density")
        events = self.sample()[0]
        found = ready.log_density(events)
        require(found.shape == (len(events),), f"log density has shape {found.shape}; ({len(events)},) is expected")
        require(
            not np.any(np.isnan(found) | (found == np.inf)),
            "the log density of a training event must be a finite number or minus infinity",
        )
        require(np.any(np.isfinite(found)), "the generator has no density at any of the events that it learned from")

    def test_bad_training_data_are_refused(self) -> None:
        """No events, and momenta that are no numbers, are errors."""
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
