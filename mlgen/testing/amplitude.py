"""Tests for plugins of the stage ``amplitude``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np

from mlgen.stages import (
    AmplitudeProcess,
    AmplitudeSurrogate,
    Capability,
    FloatArray,
    ProgressCallback,
    Stage,
    TrainingReport,
    no_progress,
)
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.rules import Arrays, require, require_array, require_refusal, require_same, unchanged
from mlgen.testing.statement import checked_early, not_applicable, states_rules
from mlgen.testing.three_photons import three_photon_amplitudes
from mlgen.testing.traps import Trap

SurrogateT = TypeVar("SurrogateT", bound=AmplitudeSurrogate)


@states_rules
class AmplitudeSurrogateTests(TrainedContractTests[SurrogateT]):
    """Tests for an `mlgen.stages.AmplitudeSurrogate`.

    Attributes:
        training_points: Points of the sample, of which a fifth is kept out of the training.
        largest_pull: Factor by which errors may be too small or too large for the deviations from the truth.
        largest_statistical_pull: Factor by which the statistical errors alone may be too small, where the systematic
            ones are even smaller. After a short training the statistical ones are no more than a part of the whole.
    """

    stage = Stage.AMPLITUDE
    training_points: ClassVar[int] = 1000
    largest_pull: ClassVar[float] = 10.0
    largest_statistical_pull: ClassVar[float] = 4.0

    def sample(self) -> tuple[AmplitudeProcess, FloatArray, FloatArray]:
        """Return the process, momenta ``(n, particles, 4)`` and values ``(n,)``; the last fifth is not learned from."""
        return three_photon_amplitudes(self.training_points, self.rng(10))

    def learn(
        self, implementation: SurrogateT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Train on the first four fifths of `sample`."""
        process, momenta, values = self.sample()
        learned = 4 * len(values) // 5
        return implementation.train(process, momenta[:learned], values[:learned], rng, progress)

    def use(self, implementation: SurrogateT, rng: np.random.Generator) -> Arrays:
        """Predict for points drawn from the sample with `rng`."""
        momenta = self.sample()[1]
        chosen = momenta[rng.permutation(len(momenta))[:50]]
        prediction = implementation.predict(chosen)
        return {
            "value": prediction.value,
            "systematic": prediction.systematic,
            "statistical": prediction.statistical,
            "members": implementation.predict_members(chosen),
        }

    def trapped(self, trap: Trap) -> Iterator[tuple[str, Callable[[], object]]]:
        """A training whose progress callback raises."""
        yield "a progress callback that raises", lambda: self.learn(self.make(), self.rng(), trap.progress)

    @checked_early
    def test_prediction_has_the_right_shape(self) -> None:
        """`predict` gives a value and two standard deviations that are not negative for each point, also for none, as
        doubles.
        """
        for n in (0, 1, 100):
            prediction = self.ready().predict(self.sample()[1][:n])
            for name in ("value", "systematic", "statistical"):
                require_array(getattr(prediction, name), (n,), "f", name)
            require(np.all(prediction.systematic >= 0), "a systematic standard deviation must not be negative")
            require(np.all(prediction.statistical >= 0), "a statistical standard deviation must not be negative")

    def test_prediction_is_a_function_of_the_momenta(self) -> None:
        """Predicting twice gives the same values, and the other points of a batch do not matter."""
        momenta = self.sample()[1][:20]
        ready = self.ready()
        first, second = ready.predict(momenta), ready.predict(momenta)
        require_same({"value": first.value}, {"value": second.value}, "predict() has to give the same value each time")
        one_by_one = np.concatenate([ready.predict(momenta[i : i + 1]).value for i in range(20)])
        require(
            np.allclose(one_by_one, first.value, rtol=1e-4, atol=0),
            "the prediction for a point must not depend on the other points of the batch",
        )

    def test_members_are_the_same_networks_in_every_call(self) -> None:
        """`predict_members` has a column for each member; the columns are not all alike, and each is the same network
        in every call.
        """
        if not self.claims(Capability.MEMBERS):
            not_applicable("the plugin does not claim to have members")
        momenta = self.sample()[1][:30]
        ready = self.ready()
        columns = ready.predict_members(momenta)
        require_array(columns, (30, ready.members), "f", "the prediction of the members")
        parts = np.concatenate([ready.predict_members(momenta[:11]), ready.predict_members(momenta[11:])])
        require(np.allclose(parts, columns, rtol=1e-4, atol=0), "a member has to be the same network in every call")
        if ready.members > 1:
            require(np.ptp(columns, axis=1).max() > 0, "the members are all alike")

    def test_members_are_there_where_it_says_so(self) -> None:
        """A plugin with the capability MEMBERS has one member or more; one without it has none, and `predict_members`
        gives no column.
        """
        ready = self.ready()
        members = ready.members
        if self.claims(Capability.MEMBERS):
            require(
                members > 0,
                f"the plugin claims to have members (Capability.MEMBERS), but members is {members} "
                f"{self.if_switched_off(Capability.MEMBERS)}",
            )
            return
        said = (
            "the plugin does not claim to have members; register it with capabilities=frozenset({Capability.MEMBERS})"
        )
        require(members == 0, f"members is {members}; {said}, or let it be 0")
        columns = ready.predict_members(self.sample()[1][:3])
        require(columns.shape == (3, 0), f"predict_members() gave shape {columns.shape} for 3 points; {said}")

    def test_like_particles_in_any_order(self) -> None:
        """Exchanging two particles of one kind on one side changes the prediction by rounding at most."""
        process, momenta, _ = self.sample()
        ready = self.ready()
        expected = ready.predict(momenta[:100])
        for first, second, *_ in process.like_particles:
            order = list(range(len(process.pdg_ids)))
            order[first], order[second] = second, first
            exchanged = ready.predict(momenta[:100, order])
            require(
                np.allclose(exchanged.value, expected.value, rtol=1e-5, atol=0),
                f"particles {first + 1} and {second + 1} are alike; exchanged they have to give the same |M|^2",
            )

    def test_better_than_a_constant(self) -> None:
        """On the points of the sample the prediction is nearer to the truth than their mean is."""
        _, momenta, values = self.sample()
        error = np.mean((self.ready().predict(momenta).value - values) ** 2)
        require(
            error < np.var(values),
            f"nothing was learned: the mean squared error on the points of the sample is {error:.3g}, that of a "
            f"constant {np.var(values):.3g}; momenta are in GeV",
        )

    def test_errors_have_the_size_of_the_deviations(self) -> None:
        """On points that were not in the training, errors have the size of the deviations from the truth, in the
        median: the systematic ones at least a tenth, or the statistical ones at least a quarter, and both together at
        most ten times as much. They are standard deviations in the unit of |M|^2, not relative ones.
        """
        _, momenta, values = self.sample()
        unseen = slice(4 * len(values) // 5, None)
        momenta, values = momenta[unseen], values[unseen]
        prediction = self.ready().predict(momenta)
        # Of a unit Gaussian, half of the deviations are below 0.67.
        deviation = float(np.median(np.abs(prediction.value - values))) / 0.67
        systematic, statistical, total = (
            float(np.median(errors))
            for errors in (
                prediction.systematic,
                prediction.statistical,
                np.hypot(prediction.systematic, prediction.statistical),
            )
        )
        said = (
            f"values around {np.median(values):.3g} are off by {deviation:.3g}, the systematic error is "
            f"{systematic:.3g} and the statistical one {statistical:.3g} (medians, in the unit of |M|^2)"
        )
        enough = deviation <= self.largest_pull * systematic or deviation <= self.largest_statistical_pull * statistical
        require(enough, f"the errors are too small: {said}")
        require(total <= self.largest_pull * deviation, f"the errors are too large: {said}. Are they relative ones?")

    def test_inputs_are_not_changed(self) -> None:
        """Training and predicting leave the arrays that are handed over as they are."""
        process, momenta, values = self.sample()
        inputs = {"momenta": momenta, "values": values}
        with unchanged(inputs, "the arrays that are handed over must not be changed"):
            implementation = self.make()
            implementation.train(process, momenta, values, self.rng())
            implementation.predict(momenta)
            implementation.predict_members(momenta)

    def test_bad_training_data_are_refused(self) -> None:
        """Training on NaN, on values that are not positive, on nothing, on too few points and on arrays that do not
        belong together is an error in words.
        """
        process, momenta, values = self.sample()
        momenta_with_nan, values_with_nan, values_with_zero = momenta.copy(), values.copy(), values.copy()
        momenta_with_nan[3, 1, 2] = np.nan
        values_with_nan[3] = np.nan
        values_with_zero[3] = 0.0
        for points, targets, what in (
            (momenta_with_nan, values, "training on momenta with NaN"),
            (momenta, values_with_nan, "training on values with NaN"),
            (momenta, values_with_zero, "training on a value that is not positive"),
            (momenta[:0], values[:0], "training on nothing"),
            (momenta[:3], values[:3], "training on three points"),
            (momenta, values[:-1], "training with a value missing"),
            (momenta[:, :-1], values, "training with a particle missing"),
            (momenta[:, :, :3], values, "training on three-momenta"),
        ):
            require_refusal(partial(self.make().train, process, points, targets, self.rng()), what)

    def test_bad_momenta_are_refused(self) -> None:
        """Predicting for NaN, and for momenta of another shape than the training's, is an error in words."""
        momenta = self.sample()[1][:5]
        for wrong, what in (
            (momenta * np.nan, "predicting for NaN"),
            (momenta[:, :-1], "predicting with a particle missing"),
            (momenta[:, :, :3], "predicting for three-momenta"),
            (momenta[0], "predicting for one point without the axis of points"),
        ):
            require_refusal(partial(self.ready().predict, wrong), what)
