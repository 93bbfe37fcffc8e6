"""What the tests of all five contracts share."""

from __future__ import annotations

import abc
import json
import math
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import pytest
from pydantic import ValidationError

from mlgen.errors import ModelError
from mlgen.plugins import plugin_manager
from mlgen.stages import Contract, Progress, ProgressCallback, Settings, TrainingReport, no_progress
from mlgen.store import state_from_bytes, state_to_bytes
from mlgen.testing.rules import (
    Arrays,
    require,
    require_different,
    require_refusal,
    require_same,
    untouched_global_randomness,
)

ImplementationT = TypeVar("ImplementationT", bound=Contract)


class ContractTests(abc.ABC, Generic[ImplementationT]):
    """Tests for a plugin of any stage; a plugin's tests inherit one of the five subclasses.

    Attributes:
        name: Name that the plugin is registered under; None while it is not registered.
        seed: Seed of everything that is random.
    """

    name: ClassVar[str | None] = None
    seed: ClassVar[int] = 20_010

    @abc.abstractmethod
    def make(self) -> ImplementationT:
        """Make the plugin, untrained. For quick tests give it settings that train within seconds."""

    @abc.abstractmethod
    def learn(
        self, implementation: ImplementationT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport | None:
        """Train the plugin on the kit's data, or prepare it."""

    @abc.abstractmethod
    def use(self, implementation: ImplementationT, rng: np.random.Generator) -> Arrays:
        """Use a trained plugin once, and return all that it gives as named arrays."""

    def settings(self) -> Settings:
        """Return the settings of `make`, which a plugin keeps."""
        settings = getattr(self.make(), "settings", None)
        if not isinstance(settings, Settings):
            raise AssertionError("a plugin has to keep the settings that it was made with in its attribute 'settings'")
        return settings

    def ready(self) -> ImplementationT:
        """Return the trained plugin; trained once for each test class, since training can be slow."""
        cls: Any = type(self)
        if "_ready" not in cls.__dict__:
            implementation = self.make()
            self.learn(implementation, self.rng())
            cls._ready = implementation
        made: ImplementationT = cls._ready
        return made

    def rng(self, child: int = 0) -> np.random.Generator:
        """Return a fresh generator; each `child` has a stream of its own."""
        return np.random.default_rng([self.seed, child])

    def test_same_seed_gives_the_same_training(self) -> None:
        """Two trainings with one seed end with the same arrays."""
        again = self.make()
        self.learn(again, self.rng())
        require_same(self.ready().state(), again.state(), "the same seed has to give the same training")

    def test_same_seed_gives_the_same_result(self) -> None:
        """Using a plugin twice with one seed gives the same result."""
        first = self.use(self.ready(), self.rng(1))
        second = self.use(self.ready(), self.rng(1))
        require_same(first, second, "the same seed has to give the same result")

    def test_global_random_state_is_untouched(self) -> None:
        """All randomness comes from the generator that is handed over."""
        with untouched_global_randomness():
            implementation = self.make()
            self.learn(implementation, self.rng())
            self.use(implementation, self.rng(1))

    def test_saved_and_loaded_gives_the_same_result(self) -> None:
        """A plugin that went through the host's model file behaves as before."""
        ready = self.ready()
        stored = state_from_bytes(state_to_bytes(ready.state()))
        loaded = type(ready).from_state(self.settings(), stored)
        require_same(stored, dict(loaded.state()), "from_state(settings, state).state() has to be the same state")
        first, second = self.use(ready, self.rng(2)), self.use(loaded, self.rng(2))
        require_same(first, second, "a plugin that was saved and loaded has to give the same result")

    def test_use_does_not_change_the_state(self) -> None:
        """What was learned stays as it is, so that the order of uses does not matter."""
        ready = self.ready()
        before = {name: array.copy() for name, array in ready.state().items()}
        self.use(ready, self.rng(3))
        require_same(before, ready.state(), "using a plugin must not change what it learned")

    def test_state_that_does_not_fit_is_refused(self) -> None:
        """A state that lacks an array, or has one of another shape, is a ModelError."""
        ready = self.ready()
        state = dict(ready.state())
        # A network can have hundreds of arrays, and takes its time to be made: a few are enough.
        for name in list(state)[:: max(1, len(state) // 4)]:
            missing = {other: array for other, array in state.items() if other != name}
            reshaped = state | {name: np.zeros((*state[name].shape, 3), state[name].dtype)}
            for broken, what in (
                (missing, f"a state without '{name}'"),
                (reshaped, f"a state with a reshaped '{name}'"),
            ):
                if broken:
                    load = partial(type(ready).from_state, self.settings(), broken)
                    require_refusal(load, what, [ModelError])

    def test_made_with_its_settings(self) -> None:
        """The class makes the plugin from its settings alone, as a card does, and the plugin keeps them."""
        settings = self.settings()
        again = type(self.make())(settings)
        require(again.settings == settings, f"made with {settings}, the plugin has {again.settings!r}")

    def test_settings_refuse_unknown_keys(self) -> None:
        """A key that the settings do not know is an error, so that a slip in a card is found."""
        model = type(self.settings())
        with pytest.raises(ValidationError):
            model.model_validate(self.settings().model_dump() | {"surely_not_a_setting": 1})

    def test_settings_survive_json(self) -> None:
        """The settings can be kept in a model's record."""
        settings = self.settings()
        again = type(settings).model_validate(
            json.loads(json.dumps(settings.model_dump(mode="json", exclude_unset=True)))
        )
        require(again == settings, f"settings must be the same after JSON: {settings} became {again}")

    def test_registered_under_its_name(self) -> None:
        """The plugin is found by its name, as a card finds it."""
        if self.name is None:
            pytest.skip("the test class gives no name, so that the plugin need not be registered")
        made = self.make()
        registered = plugin_manager().find(made.stage, self.name)
        found = plugin_manager().plugin_class(registered)
        require(found is type(made), f"'{self.name}' is registered with {found.__name__}, not {type(made).__name__}")
        require(
            isinstance(self.settings(), registered.offer.settings),
            f"'{self.name}' is registered with {registered.offer.settings.__name__}, "
            f"but its settings are {type(self.settings()).__name__}",
        )


class TrainedContractTests(ContractTests[ImplementationT]):
    """Tests for the contracts that have ``train``."""

    def test_progress_is_told(self) -> None:
        """The callback is called, counts up, and ends at the total."""
        told: list[Progress] = []
        self.learn(self.make(), self.rng(), told.append)
        require(told, "the progress callback has to be called during training")
        for step in told:
            require(0 <= step.done <= step.total, f"progress must stay within 0 and its total; {step} was told")
        done = [step.done for step in told]
        require(done == sorted(done), "progress must not go backwards")
        require(told[-1].done == told[-1].total, f"progress must end at its total; the last was {told[-1]}")

    def test_training_report_can_be_kept(self) -> None:
        """The report is numbers and text, with curves that are finite."""
        report = self.learn(self.make(), self.rng())
        if not isinstance(report, TrainingReport):
            raise AssertionError(f"train() has to return a TrainingReport, not {type(report).__name__}")
        for name, figure in report.figures.items():
            require(isinstance(figure, int | float | str), f"figure '{name}' is {type(figure).__name__}, not a number")
        for name, curve in report.curves.items():
            require(isinstance(curve, list), f"curve '{name}' is {type(curve).__name__}; a list of floats is expected")
            require(all(math.isfinite(value) for value in curve), f"curve '{name}' holds NaN or infinity")

    def test_other_seed_gives_another_result(self) -> None:
        """The generator that is handed over is used."""
        first, second = self.use(self.ready(), self.rng(1)), self.use(self.ready(), self.rng(2))
        require_different(first, second, "another seed has to give another result; the generator seems to be ignored")
