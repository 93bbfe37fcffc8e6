"""What the tests of all five contracts share."""

from __future__ import annotations

import abc
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from pydantic import ValidationError

from mlgen.errors import ModelError
from mlgen.hookspecs import Plugin
from mlgen.plugins import Registered, plugin_manager
from mlgen.stages import (
    CONTRACTS,
    Capability,
    Contract,
    Exactness,
    Progress,
    ProgressCallback,
    Settings,
    Stage,
    TrainingReport,
    no_progress,
)
from mlgen.store import state_from_bytes, state_to_bytes
from mlgen.testing.memory import require_no_growth
from mlgen.testing.pickles import disguised_pickle, unpickled
from mlgen.testing.rules import (
    Arrays,
    require,
    require_different,
    require_refusal,
    require_same,
    same,
    touched_global_randomness,
)
from mlgen.testing.statement import cannot_be_checked, cases_of, checked_early, not_applicable, states_rules
from mlgen.testing.traps import InterruptedByTheKit, RaisedByTheKit, Trap

ImplementationT = TypeVar("ImplementationT", bound=Contract)

#: Kinds of NumPy's types that are numbers.
_NUMBERS = "biufc"


@dataclass(frozen=True, slots=True)
class Training(Generic[ImplementationT]):
    """One training, and what was seen of it.

    Args:
        implementation: The trained plugin.
        report: What the training returned.
        told: What the progress callback was told.
        touched: Libraries whose global random generator was drawn from.
    """

    implementation: ImplementationT
    report: TrainingReport | None
    told: list[Progress]
    touched: list[str]


@states_rules
class ContractTests(abc.ABC, Generic[ImplementationT]):
    """Tests for a plugin of any stage; a plugin's tests inherit one of the five subclasses.

    For a plugin that is registered, its name is enough: it is made with the quick settings of its registration, which
    also says how exact it is and what it can do beyond its contract.

    Attributes:
        name: Name that the plugin is registered under; None while it is not registered.
        stage: The stage whose contract is tested.
        exactness: Only an exact plugin has to be unbiased. None: as registered; exact where it is not registered and
            its stage can be.
        capabilities: What it can do beyond its contract, with the settings of `make`. None: as registered; nothing
            where it is not registered. Settings that switch something off are no reason to fail: give the class what
            is left of the registration's.
        changes: Settings that are put in place of the registration's quick ones, where `make` is not overridden.
        seed: Seed of everything that is random.
    """

    name: ClassVar[str | None] = None
    stage: ClassVar[Stage]
    exactness: ClassVar[Exactness | None] = None
    capabilities: ClassVar[frozenset[Capability] | None] = None
    changes: ClassVar[Mapping[str, Any]] = {}
    seed: ClassVar[int] = 20_010

    def make(self) -> ImplementationT:
        """Make the plugin, untrained: the registered one with its quick settings.

        Where it is not registered yet, or should be tested with other settings, override this. For quick tests give it
        settings that train within seconds.
        """
        registered = self.registered()
        chosen = {**registered.offer.quick_settings, **self.changes}
        made: Any = plugin_manager().create(registered, registered.offer.settings.model_validate(chosen))
        implementation: ImplementationT = made
        return implementation

    @abc.abstractmethod
    def learn(
        self, implementation: ImplementationT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport | None:
        """Train the plugin on the kit's data, or prepare it."""

    @abc.abstractmethod
    def use(self, implementation: ImplementationT, rng: np.random.Generator) -> Arrays:
        """Use a trained plugin once, and return all that it gives as named arrays."""

    @abc.abstractmethod
    def trapped(self, trap: Trap) -> Iterator[tuple[str, Any]]:
        """Return what the plugin is handed with the trap in it: a title, and the function that uses it."""

    def registered(self) -> Registered[Plugin]:
        """Return the registration of the plugin.

        Raises:
            mlgen.errors.PluginError: There is none of that name.
        """
        if self.name is None:
            raise AssertionError(
                f'{type(self).__name__} says neither the name that the plugin is registered under (name = "mine"), '
                "nor how it is made (def make(self))"
            )
        return plugin_manager().find(self.stage, self.name)

    @property
    def says_exact(self) -> bool:
        """Whether the plugin claims to be exact."""
        exactness = self.exactness
        if exactness is None:
            can_be = self.stage in (Stage.PHASE_SPACE, Stage.UNWEIGHTING)
            unknown = Exactness.EXACT if can_be else Exactness.APPROXIMATE
            exactness = unknown if self.name is None else self.registered().offer.exactness
        return exactness is Exactness.EXACT

    def claims(self, capability: Capability) -> bool:
        """Whether the plugin claims to have a capability."""
        capabilities = self.capabilities
        if capabilities is None:
            capabilities = frozenset() if self.name is None else self.registered().offer.capabilities
        return capability in capabilities

    def if_switched_off(self, capability: Capability) -> str:
        """Say what to do where the settings switch off a capability that the registration has."""
        return (
            f"(do these settings switch it off? 'mlgen check-plugin --without {capability.name.lower()}', or "
            "'capabilities = frozenset(...)' in the test class with what is left)"
        )

    def figures(self) -> Mapping[str, str]:
        """Return what is no rule, but worth to be seen: ``mlgen check-plugin`` shows it at the end."""
        return {}

    def only_if_exact(self) -> None:
        """Leave the test where the plugin does not claim to be exact."""
        if not self.says_exact:
            not_applicable("the plugin does not claim to be exact")

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Tell pytest for which values a test is run (`mlgen.testing.statement.cases`)."""
        if found := cases_of(metafunc.function):
            metafunc.parametrize(*found)

    def settings(self) -> Settings:
        """Return the settings of `make`, which a plugin keeps."""
        settings = getattr(self.make(), "settings", None)
        if not isinstance(settings, Settings):
            raise AssertionError("a plugin has to keep the settings that it was made with in its attribute 'settings'")
        return settings

    def ready(self) -> ImplementationT:
        """Return the trained plugin; trained once for each test class, since training can be slow."""
        return self.first_training().implementation

    def first_training(self) -> Training[ImplementationT]:
        """Return the training that `ready` comes from, with all that was seen of it."""
        cls: Any = type(self)
        if "_training" not in cls.__dict__:
            implementation = self.make()
            told: list[Progress] = []
            try:
                with touched_global_randomness() as touched:
                    report = self.learn(implementation, self.rng(), told.append)
            except Exception as error:
                # Every other test would take as long to fail for the same reason.
                cls._training = error
                raise
            cls._training = Training(implementation, report, told, touched)
        made: Training[ImplementationT] | Exception = cls._training
        if isinstance(made, Exception):
            raise AssertionError(f"the plugin could not be trained: {type(made).__name__}: {made}") from made
        return made

    def rng(self, child: int = 0) -> np.random.Generator:
        """Return a fresh generator; each `child` has a stream of its own."""
        return np.random.default_rng([self.seed, child])

    @checked_early
    def test_implements_its_contract(self) -> None:
        """The factory of the registration gives a class that implements every method of its stage's contract."""
        if self.name is not None:
            plugin_manager().plugin_class(self.registered())
        made = self.make()
        contract = CONTRACTS[self.stage]
        require(
            isinstance(made, contract),
            f"a subclass of mlgen.stages.{contract.__name__} is expected, not {type(made).__name__}",
        )

    def test_claims_are_those_of_the_registration(self) -> None:
        """How exact a plugin is, and what it can do beyond its contract, is said where it is registered; its test
        class says the same, or less where its settings switch something off.
        """
        if self.name is None:
            not_applicable("the test class gives no name, so that the plugin need not be registered")
        offer = self.registered().offer
        require(
            self.exactness in (None, offer.exactness),
            f"'{self.name}' is registered as {offer.exactness.value}; its test class says {self.exactness}",
        )
        more = sorted(one.name for one in (self.capabilities or frozenset()) - offer.capabilities)
        require(
            not more,
            f"the test class says that '{self.name}' has {', '.join(more)}; its registration does not: "
            "Plugin(..., capabilities=frozenset({...}))",
        )

    def test_same_seed_gives_the_same_training(self) -> None:
        """Two trainings with one seed end with the same state, bit for bit."""
        again = self.make()
        self.learn(again, self.rng())
        require_same(self.ready().state(), again.state(), "the same seed has to give the same training")

    def test_same_seed_gives_the_same_result(self) -> None:
        """Using a trained plugin twice with one seed gives the same result, bit for bit."""
        first = self.use(self.ready(), self.rng(1))
        second = self.use(self.ready(), self.rng(1))
        require_same(first, second, "the same seed has to give the same result")

    def test_global_random_state_is_untouched(self) -> None:
        """All randomness comes from the generator that is handed over: the global ones of Python, NumPy and torch stay
        as they are.
        """
        training = self.first_training()
        touched = training.touched
        # A library that is imported for the first time may draw once, for the name of a folder for instance.
        if touched:
            touched = self._touched_again(touched, lambda: self.learn(self.make(), self.rng()))
        with touched_global_randomness() as in_use:
            self.use(training.implementation, self.rng(1))
        if in_use:
            in_use = self._touched_again(in_use, lambda: self.use(training.implementation, self.rng(1)))
        for library in dict.fromkeys([*touched, *in_use]):
            require(
                False,
                f"the global random state of {library} was changed; draw from the generator that is handed over only",
            )

    @staticmethod
    def _touched_again(touched: list[str], action: Callable[[], object]) -> list[str]:
        with touched_global_randomness() as again:
            action()
        return [library for library in touched if library in again]

    def test_saved_and_loaded_gives_the_same_result(self) -> None:
        """A plugin whose state went through the host's model file (safetensors) gives the same results as before."""
        ready = self.ready()
        stored = state_from_bytes(state_to_bytes(ready.state()))
        loaded = type(ready).from_state(self.settings(), stored)
        require_same(stored, dict(loaded.state()), "from_state(settings, state).state() has to be the same state")
        first = self._repeated(ready, 2)
        second = self.use(loaded, self.rng(2))
        require_same(first, second, "a plugin that was saved and loaded has to give the same result")

    def _repeated(self, implementation: ImplementationT, child: int) -> Arrays:
        """Use a plugin, and leave the test where the same seed does not give the same result again."""
        first = {name: array.copy() for name, array in self.use(implementation, self.rng(child)).items()}
        if not same(first, self.use(implementation, self.rng(child))):
            cannot_be_checked("the same seed does not give the same result (same-seed-gives-the-same-result)")
        return first

    def test_use_does_not_change_the_state(self) -> None:
        """Using a plugin leaves what it learned as it is, so that the order of uses does not matter."""
        ready = self.ready()
        before = {name: array.copy() for name, array in ready.state().items()}
        self.use(ready, self.rng(3))
        require_same(before, ready.state(), "using a plugin must not change what it learned")

    def test_state_that_does_not_fit_is_refused(self) -> None:
        """`from_state` refuses a state that lacks an array, or has one of another shape, with a ModelError."""
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
        """The class makes the plugin from its settings alone, as a card does, and the plugin keeps them in
        ``settings``.
        """
        settings = self.settings()
        again = type(self.make())(settings)
        require(again.settings == settings, f"made with {settings}, the plugin has {again.settings!r}")

    def test_settings_refuse_unknown_keys(self) -> None:
        """A key that the settings do not know is an error, so that a slip in a card is found."""
        model = type(self.settings())
        values = self.settings().model_dump() | {"surely_not_a_setting": 1}
        require_refusal(partial(model.model_validate, values), "an unknown setting", [ValidationError])

    def test_settings_survive_json(self) -> None:
        """Settings are the same after they were written as JSON, as they are in a model's record."""
        settings = self.settings()
        again = type(settings).model_validate(
            json.loads(json.dumps(settings.model_dump(mode="json", exclude_unset=True)))
        )
        require(again == settings, f"settings must be the same after JSON: {settings} became {again}")

    def test_registered_under_its_name(self) -> None:
        """The plugin is found by its name, as a card finds it."""
        if self.name is None:
            not_applicable("the test class gives no name, so that the plugin need not be registered")
        made = self.make()
        registered = self.registered()
        found = plugin_manager().plugin_class(registered)
        require(found is type(made), f"'{self.name}' is registered with {found.__name__}, not {type(made).__name__}")
        require(
            isinstance(self.settings(), registered.offer.settings),
            f"'{self.name}' is registered with {registered.offer.settings.__name__}, "
            f"but its settings are {type(self.settings()).__name__}",
        )

    def test_use_does_not_take_more_and_more_memory(self) -> None:
        """A plugin that is used again and again takes no more memory than at the beginning: it keeps sums, not what it
        made or saw.

        Measured over equal blocks of uses, after some that may fill caches.
        """
        ready = self.ready()
        require_no_growth(lambda: self.use(ready, self.rng(5)), "using the plugin")

    def test_results_belong_to_the_caller(self) -> None:
        """Who writes into an array that a plugin returned does not change what it returns next."""
        ready = self.ready()
        kept = self._repeated(ready, 6)
        for array in self.use(ready, self.rng(6)).values():
            if array.flags.writeable:
                array[...] = 0 if array.dtype.kind in "ui" else -1
        again = self.use(ready, self.rng(6))
        require_same(kept, again, "writing into a result changed the next one; return a copy of what is kept")

    def test_state_is_plain_numbers(self) -> None:
        """Every array of a state is numbers, and none hides a pickle, or an archive as torch.save or joblib write it:
        a model from a stranger must not run code.
        """
        for name, array in self.ready().state().items():
            if not isinstance(array, np.ndarray):
                raise AssertionError(f"state '{name}' is {type(array).__name__}; a NumPy array is expected")
            require(array.dtype.kind in _NUMBERS, f"state '{name}' has type {array.dtype}; numbers are expected")
            hidden = disguised_pickle(array)
            require(not hidden, f"state '{name}' is {hidden}, not numbers: nothing of a model may ever be unpickled")

    def test_loading_unpickles_nothing(self) -> None:
        """`from_state` unpickles nothing, so that a model from a stranger can be opened safely."""
        ready, settings = self.ready(), self.settings()
        stored = state_from_bytes(state_to_bytes(ready.state()))
        failure: Exception | None = None
        with unpickled() as found:
            try:
                type(ready).from_state(settings, stored)
            except Exception as error:  # noqa: BLE001 - that it cannot be loaded is told by another rule
                failure = error
        require(not found, f"from_state() unpickled {', '.join(found)}; make the plugin from the arrays alone")
        if failure is not None:
            cannot_be_checked(
                f"from_state() raised {type(failure).__name__}: {failure} (saved-and-loaded-gives-the-same-result)"
            )

    def test_errors_of_others_come_through(self) -> None:
        """An error that is raised by something that was handed over (a stream, a function, a callback) comes through
        as it was raised, also one that means to stop the program, such as Ctrl-C.
        """
        # The first time that it is used, and later.
        for error, after in ((RaisedByTheKit, 0), (RaisedByTheKit, 1), (InterruptedByTheKit, 0)):
            trap = Trap(error("raised on purpose"))
            for what, action in self.trapped(trap):
                trap.rearm(after)
                trap.require_through(action, what)


@states_rules
class TrainedContractTests(ContractTests[ImplementationT]):
    """Tests for the contracts that have ``train``."""

    def test_progress_is_told(self) -> None:
        """The progress callback is called during the training, counts up, and ends at the total."""
        told = self.first_training().told
        require(told, "the progress callback has to be called during training")
        for step in told:
            require(0 <= step.done <= step.total, f"progress must stay within 0 and its total; {step} was told")
        done = [step.done for step in told]
        require(done == sorted(done), "progress must not go backwards")
        require(told[-1].done == told[-1].total, f"progress must end at its total; the last was {told[-1]}")

    def test_training_report_can_be_kept(self) -> None:
        """The training returns a TrainingReport of numbers and text, with curves that are finite."""
        report = self.first_training().report
        if not isinstance(report, TrainingReport):
            raise AssertionError(f"train() has to return a TrainingReport, not {type(report).__name__}")
        for name, figure in report.figures.items():
            require(isinstance(figure, int | float | str), f"figure '{name}' is {type(figure).__name__}, not a number")
        for name, curve in report.curves.items():
            require(isinstance(curve, list), f"curve '{name}' is {type(curve).__name__}; a list of floats is expected")
            require(all(math.isfinite(value) for value in curve), f"curve '{name}' holds NaN or infinity")

    def test_other_seed_gives_another_result(self) -> None:
        """Another seed gives another result: the random generator that is handed over is used."""
        first, second = self.use(self.ready(), self.rng(1)), self.use(self.ready(), self.rng(2))
        require_different(first, second, "another seed has to give another result; the generator seems to be ignored")
