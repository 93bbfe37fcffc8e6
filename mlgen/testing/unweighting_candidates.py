"""What the kit's tests of the stage ``unweighting`` unweight, and how they come by a plugin that is ready for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np

from mlgen.stages import (
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    Stage,
    TrainingReport,
    Unweighter,
    no_progress,
)
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.known_surrogates import COST_RATIO, Asked, training_batches
from mlgen.testing.rules import Arrays
from mlgen.testing.statement import states_rules
from mlgen.testing.traps import Trap

UnweighterT = TypeVar("UnweighterT", bound=Unweighter)

#: Number of candidates in each decade of the weights of `light_candidates`, from the heaviest on: in each, several are
#: expected to be accepted of one unweighting, and those below 1 % of the largest have a quarter of the cross section.
DECADES = (100, 400, 3_500, 16_000)


@states_rules
class UnweighterCandidates(TrainedContractTests[UnweighterT]):
    """Candidates with a variable x, uniform in 0 to 1, and with weights that depend on it.

    The weights are spread over two orders of magnitude, grow with x, are negative for a share of the events that
    depends on x, and are zero for one in ten; another one in ten has a weight that is smaller by up to five orders of
    magnitude.

    Attributes:
        candidates: Number of candidates.
        repetitions: Number of independent unweightings of the same candidates. Their spread gives the standard error,
            so that the test of unbiasedness knows nothing of the method. Five standard errors of 25 repetitions
            are exceeded by chance once in 25,000 times (Student's t with 24 degrees of freedom); the seed is fixed.
    """

    stage = Stage.UNWEIGHTING
    candidates: ClassVar[int] = 20_000
    repetitions: ClassVar[int] = 25

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Draw the variable x and the weight of `n` candidates, each ``(n,)``; weights in pb."""
        x = rng.random(n)
        weight = rng.lognormal(x, 0.6)
        weight[rng.random(n) < 0.1 + 0.2 * x] *= -1
        weight[rng.random(n) < 0.1] = 0.0
        light = rng.random(n) < 0.1
        weight[light] *= 10.0 ** -rng.uniform(0.0, 5.0, int(light.sum()))
        return x, weight

    def sample(self) -> tuple[FloatArray, FloatArray]:
        """Return the variable x and the weight of each candidate, each ``(candidates,)``; the same in every call."""
        return self.draw(self.candidates, self.rng(10))

    def training(self, rng: np.random.Generator) -> Iterator[Candidates]:
        """Return candidates without an end, in batches, for a plugin that learns."""
        while True:
            yield with_surrogate(*self.draw(1000, rng), rng)

    def learn(
        self, implementation: UnweighterT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport | None:
        """Train where the plugin learns, and prepare with all candidates, in batches of different sizes."""
        report = implementation.train(self.training(self.rng(15)), rng, progress) if implementation.learns else None
        weight = self.sample()[1]
        implementation.prepare(Candidates(part) for part in np.split(weight, [1, 1, len(weight) // 3]))
        return report

    def fresh(self) -> UnweighterT:
        """Return the plugin as it is before `prepare`; one that learns is trained once for each test class."""
        implementation = self.make()
        if not implementation.learns:
            return implementation
        cls: Any = type(self)
        if "_trained" not in cls.__dict__:
            implementation.train(self.training(self.rng(15)), self.rng(12))
            cls._trained = implementation
        return self._copied(cls._trained)

    def _copied(self, trained: UnweighterT) -> UnweighterT:
        return type(trained).from_state(self.settings(), trained.state())

    def use(self, implementation: UnweighterT, rng: np.random.Generator) -> Arrays:
        """Unweight all candidates of the sample, and others that are light beside them."""
        weight = self.sample()[1]
        kept = implementation.unweight(Candidates(weight), rng)
        light = implementation.unweight(Candidates(np.abs(weight).max() * light_candidates(self.rng(19))), rng)
        arrays = {"index": kept.index, "weight": kept.weight}
        return arrays | {"index of light ones": light.index, "weight of light ones": light.weight}

    def trapped(self, trap: Trap) -> Iterator[tuple[str, Callable[[], object]]]:
        """Both passes over candidates that raise, as a stream or where their true weights are asked for; trainings."""
        candidates = self.surrogate_candidates()
        exact_weight = candidates.exact_weight
        assert exact_weight is not None
        stream = trap.stream([candidates])
        yield "prepare() with a stream of candidates that raises", lambda: self.fresh().prepare(stream)
        raising = replace(candidates, exact_weight=trap.before(exact_weight))
        yield "exact_weight that raises in prepare()", lambda: self.fresh().prepare([raising])
        prepared = self.fresh()
        prepared.prepare([candidates])
        yield "exact_weight that raises in unweight()", lambda: prepared.unweight(raising, self.rng())
        unsure = replace(candidates, relative_error=trap.before(lambda index: np.full(len(index), 0.1)))
        yield "relative_error that raises in prepare()", lambda: self.fresh().prepare([unsure])
        yield "relative_error that raises in unweight()", lambda: prepared.unweight(unsure, self.rng())
        if not self.make().learns:
            return
        endless = trap.stream([candidates])
        yield "training on a stream of candidates that raises", lambda: self.make().train(endless, self.rng())
        training = self.training(self.rng(15))
        yield (
            "a progress callback that raises",
            lambda: self.make().train(training, self.rng(), trap.progress),
        )

    def trained_for(self, surrogate: str) -> Callable[[], UnweighterT]:
        """Return what makes a plugin for candidates of the known process."""
        trained = self.make()
        if not trained.learns:
            return self.make
        trained.train(training_batches(surrogate, self.rng(16)), self.rng(13))
        return partial(self._copied, trained)

    def surrogate_candidates(self) -> Candidates:
        """The sample with a surrogate's weights, and the true ones to be asked for."""
        return with_surrogate(*self.sample(), self.rng(11))


def light_candidates(rng: np.random.Generator) -> FloatArray:
    """Return positive weights in the `DECADES`, uniform in their logarithm in each, in no order; the largest is 1."""
    weight = np.concatenate([10.0 ** -(number + rng.random(count)) for number, count in enumerate(DECADES)])
    weight /= weight.max()
    return np.asarray(rng.permutation(weight))


def with_surrogate(
    x: FloatArray, weight: FloatArray, rng: np.random.Generator, order: IntArray | None = None
) -> Candidates:
    """Return candidates with a surrogate's weights, off by up to a factor of two in a way that depends on x.

    Args:
        x: The variable, ``(n,)``.
        weight: True weights, ``(n,)``.
        rng: Source of what the surrogate does not know.
        order: The order that the candidates come in; as they are where it is None.
    """
    said = weight * rng.uniform(0.5, 1.0, len(weight)) * (1 + x)
    order = np.arange(len(weight)) if order is None else order
    x = x[order]
    return Candidates(
        weight=said[order],
        exact_weight=Asked(weight[order]),
        features=np.stack([2 * x - 1, np.cos(7 * x)], axis=1),
        groups={"process": (x > 0.5).astype(np.int64)},
        cost_ratio=COST_RATIO,
    )
