"""Two-stage unweighting: a surrogate's weight first, the true one of what is left."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError, WeightError
from mlgen.stages import (
    Candidates,
    FloatArray,
    ProgressCallback,
    Settings,
    State,
    TrainingReport,
    Unweighted,
    Unweighter,
    UnweightingReport,
    no_progress,
)
from mlgen_unweighting.evaluation import evaluation_probability, said_errors
from mlgen_unweighting.first_stage import FirstStage, checked_weights, true_weights
from mlgen_unweighting.hit_or_miss import HitOrMiss
from mlgen_unweighting.pilot import Pilot, PilotSample
from mlgen_unweighting.settings import HitOrMissSettings
from mlgen_unweighting.two_stage_counts import TwoStageCounts
from mlgen_unweighting.two_stage_maxima import EVALUATED_SHARES, Maxima, cheapest_maxima, usual_size
from mlgen_unweighting.two_stage_settings import TwoStageSettings
from mlgen_unweighting.weight_histogram import WeightHistogram

if TYPE_CHECKING:
    from mlgen_unweighting.event_weight_network import EventWeightNetwork

#: A true weight dominates when it alone stands for more than this share of sum |w|.
_DOMINATING_SHARE = 0.1
#: Taken where neither the settings nor the candidates say what a true weight costs.
_COST_RATIO = 10.0
#: Added to the weights that the pilot is drawn by, in units of the mean.
_PILOT_FLOOR = 0.1
#: The pilot is no larger than this part of the candidates, but for so many.
_PILOT_SHARE, _FEWEST = 0.05, 1_000
#: Beginnings of names in the state.
_NETWORK, _PLAIN = "network.", "hit-or-miss."


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `TwoStage.prepare` found beside the maxima.

    Args:
        unit: The weight of an event that is no overweight, as the pilot has it.
        cost_ratio: Cost of a true weight, in units of a candidate without it.
        pilot: True weights that were asked for.
        largest_share: Largest of them in units of the sum of all |w|.
        hit_or_miss_efficiency: Of a hit-or-miss on the true weights.
        mean_error: Mean of the relative errors that the surrogate claims; zero where it claims none.
        spread: Relative standard deviation of true weight over the surrogate's, of events; NaN where not known.
    """

    unit: float
    cost_ratio: float
    pilot: float
    largest_share: float
    hit_or_miss_efficiency: float
    mean_error: float
    spread: float


class TwoStage(Unweighter):
    r"""Accept by a surrogate's weight first, and by the true weight of what is left.

    A candidate with the surrogate's weight s passes the first stage with the probability

    .. math:: p = \min(1, \max(|s|, f) / s_\mathrm{max}).

    Only then its true weight w is asked for, and it is accepted with the probability
    :math:`\min(1, |y| / y_\mathrm{max})` of a hit-or-miss on :math:`y = w / p`. An accepted event gets the weight
    :math:`\operatorname{sign}(w) \max(1, |y| / y_\mathrm{max})\, u`: probability times new weight is
    :math:`(w / y_\mathrm{max})\, u` whatever the surrogate says, so the sample is unbiased for any surrogate and any
    maxima. The excess of an overweight of the first stage is not lost: it makes the candidate more likely to be
    accepted in the second, and what is still left there stays as weight (arXiv:2109.11964 keeps both excesses as
    weights; for candidates that are no overweights of the first stage the two are the same, with
    :math:`x_\mathrm{max} = y_\mathrm{max} / s_\mathrm{max}`). The floor f, a part of the usual weight, keeps
    :math:`p > 0` where a surrogate is zero or too small.

    `prepare` asks for the true weights of a pilot (`PilotSample`), and chooses the maxima that make an effective event
    cheapest (`cheapest_maxima`). The unit :math:`u = y_\mathrm{max} \langle p \min(1, |y| / y_\mathrm{max}) \rangle`
    makes the average over accepted events estimate the cross section; it is estimated from the pilot at first, and from
    all survivors with the surrogate as a control variate afterwards: `normalisation` is the ratio of the two.

    With an `evaluated_share` below one, a survivor is asked for its true weight with a probability q only, which is in
    proportion to the error that the surrogate claims (`evaluation_probability`): y is :math:`v + (w / p - v) / q` then,
    and v otherwise, where v is the surrogate's weight over p times the usual ratio of true weights to the surrogate's.
    The mean of y is :math:`w / p` again, and averages stay right, whatever the surrogate claims; the weights of single
    events scatter by its error over :math:`\sqrt q`. A survivor whose surrogate is below the lowest
    floor, or beyond the maximum of the first stage, is always asked for.

    Where the true weights of all candidates are known, this is a hit-or-miss with the same share of overweights.

    Args:
        settings: Surrogate, share of overweights, costs.

    References:
        Danziger, Janßen, Schumann, Siegert, SciPost Phys. 12, 164 (2022), arXiv:2109.11964.
    """

    settings: TwoStageSettings

    def __init__(self, settings: TwoStageSettings) -> None:
        super().__init__(settings)
        self._network: EventWeightNetwork | None = None
        self._plain: HitOrMiss | None = None
        self._first: FirstStage | None = None
        self._maxima: Maxima | None = None
        self._prepared: Prepared | None = None
        self._counts = TwoStageCounts()

    @property
    def learns(self) -> bool:
        """Whether the surrogate is a network of its own that is not trained yet."""
        return self.settings.surrogate == "event-weight" and self._network is None

    def train(
        self, candidates: Iterable[Candidates], rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Train the network of event weights on as many candidates as the settings say.

        Raises:
            TrainingError: They have no features, or not enough of them have a weight.
        """
        from mlgen_unweighting.event_weight_network import EventWeightNetwork
        from mlgen_unweighting.training_points import training_points

        settings = self.settings
        features, weight, exact = training_points(candidates, settings.training_points)
        self._network, figures = EventWeightNetwork.fit(
            features,
            weight,
            exact,
            rng,
            units=settings.units,
            layers=settings.layers,
            steps=settings.steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            validation_share=settings.validation_share,
            device=settings.device,
            progress=progress,
        )
        return TrainingReport(figures=figures)

    def prepare(self, candidates: Iterable[Candidates]) -> None:
        """Choose the maxima with the true weights of some candidates, and start counting anew.

        Args:
            candidates: Batches of candidates; gone through once.

        Raises:
            WeightError: There are none, all are zero, or a weight is not finite (the first is named, counted from 1).
            ModelError: The network of event weights is not trained.
        """
        self._counts = TwoStageCounts()
        self._plain = self._first = self._maxima = self._prepared = None
        stream = iter(candidates)
        first = next(stream, None)
        if first is None:
            raise WeightError("there are no candidates to unweight; one or more weighted events are expected")
        every = itertools.chain([first], stream)
        if first.exact_weight is None:
            plain = HitOrMiss(_plain_settings(self.settings))
            plain.prepare(every)
            self._plain = plain
            return
        self._prepare(every)

    def _prepare(self, candidates: Iterator[Candidates]) -> None:
        sample, sizes = PilotSample(self.settings.pilot), WeightHistogram()
        total, cost_ratio = 0, self._cost_ratio(None)
        for batch in candidates:
            surrogate, index = self._surrogate(batch, total)
            sizes.add(np.abs(surrogate))
            if batch.exact_weight is None:
                raise WeightError(
                    f"the true weights of the candidates from {total + 1:,} on are known, and those before are not; "
                    "true weights are expected for all, or for none"
                )
            # More of those with small weights than events have, to find out where the surrogate is far too small.
            size = np.abs(surrogate) + (_PILOT_FLOOR * usual_size(sizes) if sizes.largest else 1.0)
            sample.add(index, surrogate, size, batch, total)
            total += len(batch.weight)
            cost_ratio = self._cost_ratio(batch.cost_ratio)
        if not sizes.count:
            what = f"all {total:,} candidates are known to have weight 0" if total else "there are no candidates"
            raise WeightError(f"{what}: there is nothing to unweight; check the cuts and the matrix element")
        share = self.settings.evaluated_share
        wanted = max(_FEWEST, int(_PILOT_SHARE * sizes.count))
        pilot = _checked_pilot(sample.evaluated(wanted, errors=share != 1), total)
        # Where the surrogate is zero everywhere, all candidates are alike.
        floor = self.settings.floor * usual_size(sizes) if sizes.largest else 1.0
        ratio = pilot.ratio(floor)
        maxima = cheapest_maxima(
            pilot,
            sizes,
            floor=floor,
            ratio=ratio,
            cost_ratio=cost_ratio,
            overweight_share=self.settings.overweight_share,
            effective_share=self.settings.effective_share,
            evaluated_shares=EVALUATED_SHARES if isinstance(share, str) else (share,),
        )
        first = FirstStage(maxima.first, maxima.floor, floor, ratio, pilot.modulus_ratio())
        left = np.minimum(np.abs(pilot.exact), first.probability(pilot.surrogate) * maxima.second)
        self._first, self._maxima = first, maxima
        self._prepared = Prepared(
            unit=math.fsum(pilot.multiplicity * left) / total,
            cost_ratio=cost_ratio,
            pilot=len(pilot.exact),
            largest_share=pilot.largest_share(),
            hit_or_miss_efficiency=pilot.efficiency(self.settings.overweight_share) * sizes.count / total,
            mean_error=pilot.mean_error(),
            spread=pilot.spread(),
        )

    def _cost_ratio(self, measured: float | None) -> float:
        return self.settings.cost_ratio or measured or _COST_RATIO

    def _known(self) -> tuple[FirstStage, Maxima, Prepared]:
        if self._first is None or self._maxima is None or self._prepared is None:
            raise WeightError("two-stage has no maximum weights yet: prepare() has to see the candidates first")
        return self._first, self._maxima, self._prepared

    def _surrogate(self, batch: Candidates, before: int) -> tuple[FloatArray, npt.NDArray[np.intp]]:
        """Surrogate weights of the candidates that may have a weight, and their places in the batch."""
        weight = checked_weights(batch.weight, "weight", before)
        if batch.vanishes is None:
            index = np.arange(len(weight))
        else:
            index = np.flatnonzero(~batch.vanishes)
            weight = weight[index]
        if self.settings.surrogate == "amplitude":
            return weight, index
        if self._network is None:
            raise ModelError("the network of event weights is not trained: train() comes before prepare()")
        if batch.features is None:
            raise WeightError("the candidates have no features, which the network of event weights needs")
        return weight * self._network.ratio(np.asarray(batch.features, np.float64)[index]), index

    def unweight(self, candidates: Candidates, rng: np.random.Generator) -> Unweighted:
        """Accept by the surrogate's weights, then by the true weights of what is left.

        Args:
            candidates: One batch of ``n`` candidates.
            rng: Source of exactly ``3 n`` uniform numbers, or ``n`` where all true weights are known.

        Raises:
            WeightError: `prepare` was not called, or a weight is not finite (the first is named, counted from 1 over
                all batches).
        """
        if self._plain is not None:
            return self._plain.unweight(candidates, rng)
        first, maxima, prepared = self._known()
        before = self._counts.candidates
        surrogate, index = self._surrogate(candidates, before)
        # All of them, so that which numbers a candidate gets does not depend on others or on the maxima.
        passes, evaluates, accepts = (numbers[index] for numbers in rng.random((3, len(candidates.weight))))
        probability = first.probability(surrogate)
        survivors = np.flatnonzero(passes < probability)
        asked, weight = np.ones(len(survivors), np.bool_), np.zeros(len(survivors))
        guess = first.ratio * surrogate[survivors] / probability[survivors]
        if maxima.evaluated_share < 1:
            error = said_errors(candidates.relative_error, index[survivors]) if prepared.mean_error else weight
            chance = evaluation_probability(maxima.evaluated_share, error, prepared.mean_error)
            chance[first.in_doubt(surrogate[survivors])] = 1.0
            asked = evaluates[survivors] < chance
        exact = true_weights(candidates, index[survivors[asked]], before)
        weight[asked] = exact / probability[survivors[asked]]
        if maxima.evaluated_share < 1:
            # In this order, a survivor that is sure to be asked for gets its true weight to the last bit.
            made_up = weight / chance + guess * (1 - 1 / chance)
            weight = np.where(asked, made_up, guess)
        relative = np.abs(weight) / maxima.second
        accepted = accepts[survivors] < relative
        factor = np.copysign(np.maximum(relative, 1.0), weight)[accepted]
        self._counts.add(
            first, maxima.second, len(candidates.weight), surrogate, survivors, int(asked.sum()), weight, factor
        )
        return Unweighted(np.asarray(index[survivors[accepted]], np.int64), factor * prepared.unit)

    def normalisation(self) -> float:
        """Return the unit that all survivors give, over that of the pilot."""
        if self._plain is not None or not self._counts.candidates:
            return 1.0
        return self._counts.unit() / self._known()[2].unit

    def report(self) -> UnweightingReport:
        """Figures of all batches since `prepare`; zero where nothing was looked at or accepted yet."""
        if self._plain is not None:
            remark = "the true weights of all candidates are known: this was a hit-or-miss, with nothing to save"
            report = self._plain.report()
            return dataclasses.replace(report, remarks=(*report.remarks, remark))
        _, maxima, prepared = self._known()
        counts = self._counts
        accepted, total = counts.accepted, counts.candidates
        return UnweightingReport(
            candidates=total,
            accepted=accepted,
            efficiency=accepted / total if total else 0.0,
            maximum_weight=maxima.second,
            overweight_events=counts.overweight,
            overweight_share=counts.excess / counts.modulus if accepted else 0.0,
            largest_overweight=counts.largest,
            negative_fraction=counts.negative / accepted if accepted else 0.0,
            effective_sample_size=counts.signed**2 / counts.squares if accepted else 0.0,
            remarks=self._remarks(maxima, prepared),
            true_evaluations=int(prepared.pilot) + counts.asked,
            first_stage_efficiency=counts.survivors / total if total else 0.0,
            second_stage_efficiency=accepted / counts.survivors if counts.survivors else 0.0,
            hit_or_miss_efficiency=prepared.hit_or_miss_efficiency,
            mean_weight=counts.mean() if total else None,
            mean_weight_error=counts.mean_error() if total else None,
        )

    def _remarks(self, maxima: Maxima, prepared: Prepared) -> tuple[str, ...]:
        remarks = [
            f"maxima for a true weight that costs {prepared.cost_ratio:.3g} times a candidate: "
            f"{maxima.first:.4g} in the first stage, {maxima.second:.4g} in the second"
            + (
                f"; true weights of a part of the survivors (evaluated_share = {maxima.evaluated_share:.3g})"
                if maxima.evaluated_share < 1
                else ""
            )
        ]
        if prepared.spread > 1:
            remarks.append(
                "the surrogate is hardly better than none: true weights scatter about its own by more than their mean; "
                "train it longer, or with more points"
            )
        elif math.isfinite(prepared.spread):
            remarks.append(f"true weights scatter about the surrogate's by {prepared.spread:.2%} (standard deviation)")
        share = max(prepared.largest_share, self._counts.largest_share())
        if share > _DOMINATING_SHARE:
            remarks.append(
                f"one weight dominates: it is {share:.0%} of the sum of all |w|, and the sample rests on it; more "
                "candidates, or a better sampling of phase space, would make the result more certain"
            )
        if self._counts.doubted:
            remarks.append(
                f"at {self._counts.doubted:,} survivors with a true weight the surrogate's is zero, negative or far "
                "too small; they are there with the right weight, but a better surrogate would make it smaller"
            )
        return tuple(remarks)

    def state(self) -> State:
        """Return the network, where there is one, and the maxima once they are known."""
        state: dict[str, npt.NDArray[Any]] = {}
        if self._network is not None:
            state |= {_NETWORK + name: array for name, array in self._network.state().items()}
        if self._plain is not None:
            state |= {_PLAIN + name: array for name, array in self._plain.state().items()}
        if self._first is not None and self._maxima is not None and self._prepared is not None:
            state["first_stage"] = np.array(dataclasses.astuple(self._first))
            state["maxima"] = np.array(dataclasses.astuple(self._maxima))
            state["prepared"] = np.array(dataclasses.astuple(self._prepared))
        return state

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make an unweighter that accepts as the one that `state` came from; its counts start at zero.

        Raises:
            ModelError: The state is not one of a two-stage unweighting.
        """
        if not isinstance(settings, TwoStageSettings):
            raise ModelError(f"two-stage was given {type(settings).__name__}; TwoStageSettings are expected")
        made = cls(settings)
        network, plain = _with_prefix(state, _NETWORK), _with_prefix(state, _PLAIN)
        own = {name: np.asarray(a) for name, a in state.items() if not name.startswith((_NETWORK, _PLAIN))}
        if network:
            from mlgen_unweighting.event_weight_network import EventWeightNetwork

            made._network = EventWeightNetwork.from_state(network)
        if plain:
            made._plain = HitOrMiss.from_state(_plain_settings(settings), plain)
        if own:
            kinds: dict[str, type[Any]] = {"first_stage": FirstStage, "maxima": Maxima, "prepared": Prepared}
            shapes = {name: (len(dataclasses.fields(kind)),) for name, kind in kinds.items()}
            found = {name: array.shape for name, array in own.items()}
            if found != shapes:
                raise ModelError(f"two-stage needs arrays of shape {shapes}; there are {found}")
            made._first, made._maxima, made._prepared = (
                kinds[name](*(float(value) for value in own[name])) for name in kinds
            )
            # The spread may be unknown, and the ratios of the first stage may have any sign.
            finite = np.concatenate([own["first_stage"], own["maxima"], own["prepared"][:-1]])
            positive = np.concatenate([own["first_stage"][:3], own["maxima"], own["prepared"][:1]])
            if not np.isfinite(finite).all() or not np.all(positive > 0):
                raise ModelError("two-stage needs positive finite numbers in its state")
        return made


def _with_prefix(state: State, prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}


def _plain_settings(settings: TwoStageSettings) -> HitOrMissSettings:
    return HitOrMissSettings(maximum="overweight-share", overweight_share=settings.overweight_share)


def _checked_pilot(pilot: Pilot, total: int) -> Pilot:
    if not pilot.exact.any():
        raise WeightError(
            f"the true weights of all {len(pilot.exact):,} candidates that were asked for (of {total:,}) are 0, so "
            "that none could be accepted; check the cuts and the matrix element that made them"
        )
    return pilot
