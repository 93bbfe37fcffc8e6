"""Tests for plugins of the stage ``amplitude``."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, TypeVar

import numpy as np

from mlgen.stages import AmplitudeSurrogate, FloatArray, IntArray, ProgressCallback, TrainingReport, no_progress
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.rules import Arrays, require, require_array, require_refusal, require_same, unchanged
from mlgen.testing.samples import scattering_amplitudes

SurrogateT = TypeVar("SurrogateT", bound=AmplitudeSurrogate)


class AmplitudeSurrogateTests(TrainedContractTests[SurrogateT]):
    """Tests for an `mlgen.stages.AmplitudeSurrogate`.

    Attributes:
        training_points: Points of the training.
    """

    training_points: ClassVar[int] = 1000

    def sample(self) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return training momenta ``(n, particles, 4)``, values ``(n,)`` and PDG ids ``(particles,)``."""
        return scattering_amplitudes(self.training_points, self.rng(10))

    def learn(
        self, implementation: SurrogateT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Train on `sample`."""
        return implementation.train(*self.sample(), rng, progress)

    def use(self, implementation: SurrogateT, rng: np.random.Generator) -> Arrays:
        """Predict for points drawn from the sample with `rng`."""
        momenta = self.sample()[0]
        prediction = implementation.predict(momenta[rng.permutation(len(momenta))[:50]])
        return {
            "value": prediction.value,
            "systematic": prediction.systematic,
            "statistical": prediction.statistical,
        }

    def test_prediction_has_the_right_shape(self) -> None:
        """A value and two standard deviations that are not negative, for each point."""
        for n in (0, 1, 100):
            prediction = self.ready().predict(self.sample()[0][:n])
            for name in ("value", "systematic", "statistical"):
                require_array(getattr(prediction, name), (n,), "f", name)
            require(np.all(prediction.systematic >= 0), "a systematic standard deviation must not be negative")
            require(np.all(prediction.statistical >= 0), "a statistical standard deviation must not be negative")

    def test_prediction_is_a_function_of_the_momenta(self) -> None:
        """Asking twice gives the same answer, and the neighbours in a batch do not matter."""
        momenta = self.sample()[0][:20]
        ready = self.ready()
        first, second = ready.predict(momenta), ready.predict(momenta)
        require_same({"value": first.value}, {"value": second.value}, "predict() has to give the same value each time")
        one_by_one = np.concatenate([ready.predict(momenta[i : i + 1]).value for i in range(20)])
        require(
            np.allclose(one_by_one, first.value, rtol=1e-4, atol=0),
            "the prediction for a point must not depend on the other points of the batch",
        )

    def test_better_than_a_constant(self) -> None:
        """On the training points the prediction is nearer to the truth than their mean is."""
        momenta, values, _ = self.sample()
        error = np.mean((self.ready().predict(momenta).value - values) ** 2)
        require(
            error < np.var(values),
            f"nothing was learned: the mean squared error on the training points is {error:.3g}, that of a constant "
            f"{np.var(values):.3g}",
        )

    def test_inputs_are_not_changed(self) -> None:
        """Training and predicting leave the arrays that are handed over as they are."""
        momenta, values, pdg_ids = self.sample()
        inputs = {"momenta": momenta, "values": values, "pdg_ids": pdg_ids}
        with unchanged(inputs, "the arrays that are handed over must not be changed"):
            implementation = self.make()
            implementation.train(momenta, values, pdg_ids, self.rng())
            implementation.predict(momenta)

    def test_bad_training_data_are_refused(self) -> None:
        """NaN, nothing at all and arrays that do not belong together are errors."""
        momenta, values, pdg_ids = self.sample()
        momenta_with_nan, values_with_nan = momenta.copy(), values.copy()
        momenta_with_nan[3, 1, 2] = np.nan
        values_with_nan[3] = np.nan
        for points, targets, particles, what in (
            (momenta_with_nan, values, pdg_ids, "training on momenta with NaN"),
            (momenta, values_with_nan, pdg_ids, "training on values with NaN"),
            (momenta[:0], values[:0], pdg_ids, "training on nothing"),
            (momenta, values[:-1], pdg_ids, "training with a value missing"),
            (momenta, values, pdg_ids[:-1], "training with a PDG id missing"),
            (momenta[:, :, :3], values, pdg_ids, "training on three-momenta"),
        ):
            require_refusal(partial(self.make().train, points, targets, particles, self.rng()), what)

    def test_bad_momenta_are_refused(self) -> None:
        """NaN and momenta of another shape than the training's are errors."""
        momenta = self.sample()[0][:5]
        for wrong, what in (
            (momenta * np.nan, "predicting for NaN"),
            (momenta[:, :-1], "predicting with a particle missing"),
            (momenta[:, :, :3], "predicting for three-momenta"),
            (momenta[0], "predicting for one point without the axis of points"),
        ):
            require_refusal(partial(self.ready().predict, wrong), what)
