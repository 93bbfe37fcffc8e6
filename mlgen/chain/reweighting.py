r"""Matrix-element reweighting: a named weight, the nominal one times :math:`|M_\mathrm{new}|^2 / |M_\mathrm{old}|^2`.

Events that were made with one matrix element become those of another, parton densities, phase space and scales being
the same. Both are summed over helicities and colours, so that colour flows and spins of the events stay those of the
old one; and they are of lowest order, for the particles that come in and go out. What the old one does not reach, the
new one will not find: the effective sample size tells on how many events the new weight rests.

References:
    Gainer et al., JHEP 10 (2014) 078, arXiv:1404.7129; Mattelaer, Eur. Phys. J. C 76 (2016) 674, arXiv:1607.00763.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

import mlgen
from mlgen.card import Card
from mlgen.chain.event_amplitudes import BoolArray, EventAmplitude, check_amplitude, opened_amplitude
from mlgen.chain.event_kinematics import model_momenta, neglected_masses
from mlgen.chain.event_subprocesses import EventProblem, SubprocessEvents, subprocess_events
from mlgen.chain.ratio_statistics import RatioStatistics
from mlgen.chain.report import StageResult
from mlgen.errors import CardError, InputError, ProcessError, WeightError
from mlgen.events import EventBatch
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.reweighting_settings import ReweightingSettings
from mlgen.hard_process.settings import ALPHA_S_WITHOUT_PDF
from mlgen.run_info import RunInfo, Variation
from mlgen.stages import Exactness, FloatArray, IntArray

#: Attributes of the group that the new weights stand in (arXiv:1405.1067, "weightgroup").
_GROUP = {"name": "mlgen reweighting", "combine": "none"}
#: A reweighted sample that is worth less than this share of the events that it is made of deserves a remark.
FEW_EVENTS = 0.1


def check_reweighting(card: Card) -> None:
    """Check that the card's reweightings can be done, before any work.

    Raises:
        CardError: Two have one name, or one asks for something that is not there.
    """
    sections = card.model.reweighting
    for number, section in enumerate(sections):
        if section.name in [other.name for other in sections[:number]]:
            raise CardError(
                f"{card.place('reweighting', number)}: [reweighting] name: there are two of the name "
                f"'{section.name}'; give this one another"
            )
        for side in ("new", "old"):
            check_amplitude(getattr(section, side), card, "reweighting", number, side)


class Reweighting:
    """One of a card's sections ``[reweighting]`` at work.

    Args:
        card: The card.
        number: Which of its sections, from 0.

    Raises:
        ProcessError: What a matrix element needs is not installed.
        PluginFailure: A source of matrix elements failed.
    """

    def __init__(self, card: Card, number: int) -> None:
        self._card, self._number = card, number
        self._section: ReweightingSettings = card.model.reweighting[number]
        self._sides: dict[str, EventAmplitude] = {
            side: opened_amplitude(getattr(self._section, side), card, "reweighting", number, side)
            for side in ("new", "old")
        }
        self._fingerprints = {side: amplitude.fingerprint() for side, amplitude in self._sides.items()}
        self._statistics = RatioStatistics()
        self._neglected: dict[str, float] = {}
        self._without_alpha_s = 0

    @property
    def name(self) -> str:
        """Name of the new weight."""
        return self._section.name

    def declared(self, run_info: RunInfo) -> RunInfo:
        """Declare the new weight.

        Raises:
            CardError: The events have a weight of that name already.
        """
        for name in self._names:
            if name in run_info.variation_names:
                where = f"{self._card.place('reweighting', self._number, 'name')}: [reweighting] name"
                raise CardError(f"{where}: the events have a weight '{name}' already; choose another name")
        groups = run_info.variation_groups
        if _GROUP not in groups:
            groups = (*groups, _GROUP)
        new, old = (self._sides[side].name for side in ("new", "old"))
        described = (
            f"nominal weight times |M|^2 of {new}{self._changed('new')} over |M|^2 of {old}{self._changed('old')}",
            f"{self.name}, and zero where a surrogate is outside the region of its training",
        )
        variations = [
            Variation(name, text, group=groups.index(_GROUP))
            for name, text in zip(self._names, described, strict=False)
        ]
        return run_info.replace(variations=(*run_info.variations, *variations), variation_groups=groups)

    @property
    def _names(self) -> tuple[str, ...]:
        """The new weight, and where events outside are flagged, the part of it that is inside."""
        return (self.name, f"{self.name}.inside") if self._section.flags_outside else (self.name,)

    def reweighted(self, batch: EventBatch, numbers: IntArray) -> EventBatch:
        """Return the batch with the new weight; all else in it stays as it is.

        Args:
            batch: Hard events.
            numbers: Number of each in the input, from 1, ``(n,)``.

        Raises:
            InputError: An event has no matrix element: not two particles into two or more, other masses, no balance.
            ProcessError: A source does not have the matrix element of an event.
            WeightError: |M|^2 allows no ratio: the old one is not positive, or the new one is negative or not finite.
            MatrixElementFailure: A source of matrix elements failed.
        """
        ratio, inside = np.empty(len(batch)), np.ones(len(batch))
        with self._numbered(numbers):
            if batch.has_graph:
                raise EventProblem(0, "it is shower-level; only hard events can be reweighted")
            for events in subprocess_events(batch):
                ratio[events.places], outside = self._ratio(events, batch.alpha_qcd[events.places], numbers)
                inside[events.places[outside]] = 0.0
        self._statistics.add(batch.weight, ratio, numbers)
        new = batch.weight * ratio
        variations = {**batch.variations, **dict(zip(self._names, (new, new * inside), strict=False))}
        return dataclasses.replace(batch, variations=variations)

    def description(self) -> StageResult:
        """Say what both sides are, for the provenance of the outputs."""
        exactness = Exactness.APPROXIMATE if self._section.uses_surrogate else Exactness.EXACT
        return StageResult(
            stage="reweighting",
            plugin=f"{self._sides['new'].name} / {self._sides['old'].name}",
            version=mlgen.__version__,
            distribution="mlgen-hep",
            exactness=exactness.value,
            settings={"name": self.name, **self._fingerprints},
        )

    def result(self, run_info: RunInfo) -> StageResult:
        """Return `description` with the figures of all events so far.

        Args:
            run_info: Of the outputs, for the cross section.
        """
        figures = self._statistics.figures(run_info.cross_section, run_info.cross_section_error)
        return dataclasses.replace(
            self.description(), figures={"weight": self.name, **figures}, remarks=tuple(self._remarks())
        )

    def _remarks(self) -> Iterator[str]:
        share = self._statistics.effective_share
        if share < FEW_EVENTS:
            yield (
                f"the weight '{self.name}' rests on few events: it has {share:.2g} of the effective sample size of the "
                "nominal weight; events that are made with the new matrix element are better"
            )
        for side, amplitude in self._sides.items():
            yield from (f"{side}: {remark}" for remark in amplitude.remarks())
        if self._neglected:
            listed = ", ".join(f"{name} {mass:.4g} GeV" for name, mass in sorted(self._neglected.items()))
            yield f"masses that the matrix elements leave out: {listed}"
        if self._without_alpha_s:
            yield (
                f"{self._without_alpha_s:,} events do not say their alpha_s; {ALPHA_S_WITHOUT_PDF} was taken, which "
                "cancels where both matrix elements have the same power of it"
            )

    def _ratio(
        self, events: SubprocessEvents, alpha_qcd: FloatArray, numbers: IntArray
    ) -> tuple[FloatArray, BoolArray]:
        """|M_new|^2 / |M_old|^2 of events of one subprocess, and which are outside a surrogate's region, ``(n,)``."""
        given = alpha_qcd > 0
        self._without_alpha_s += int(np.count_nonzero(~given))
        alpha_s = np.where(given, alpha_qcd, ALPHA_S_WITHOUT_PDF)
        squared, outside = {}, np.zeros(len(alpha_s), np.bool_)
        for side, amplitude in self._sides.items():
            with self._placed(side, events, numbers):
                masses = amplitude.masses(events.subprocess)
                momenta = model_momenta(events, masses, self._section.negligible_mass)
                amplitude.prepare(events.subprocess)
                outside |= amplitude.outside(events.subprocess, momenta)
                squared[side] = amplitude.evaluate(events.subprocess, momenta, alpha_s)
            for name, mass in neglected_masses(events, masses).items():
                self._neglected[name] = max(mass, self._neglected.get(name, 0.0))
        new, old = squared["new"], squared["old"]
        self._refuse(~(np.isfinite(old) & (old > 0)), "old", old, events, numbers)
        self._refuse(~(np.isfinite(new) & (new >= 0)), "new", new, events, numbers)
        with np.errstate(over="ignore"):
            ratio = new / old
        self._refuse(~np.isfinite(ratio), "old", old, events, numbers)
        return np.asarray(ratio), outside

    def _refuse(
        self,
        wrong: BoolArray,
        side: str,
        squared: FloatArray,
        events: SubprocessEvents,
        numbers: IntArray,
    ) -> None:
        if not wrong.any():
            return
        first = int(np.flatnonzero(wrong)[0])
        why = (
            "so the events cannot have been made with it"
            if side == "old" and squared[first] <= 0
            else "which gives no weight"
        )
        raise WeightError(
            f"{self._where(side)}: event {numbers[events.places[first]]}: |M|^2 of {spell(events.subprocess)} is "
            f"{squared[first]:.6g} with {self._sides[side].name}, {why}"
        )

    def _where(self, side: str) -> str:
        return f"{self._card.place('reweighting', self._number, side)}: [reweighting] {side}"

    @contextlib.contextmanager
    def _placed(self, side: str, events: SubprocessEvents, numbers: IntArray) -> Iterator[None]:
        """Say in which event a subprocess was met that a side does not have, and where the card names that side."""
        try:
            yield
        except ProcessError as error:
            raise type(error)(f"{self._where(side)}: event {numbers[events.places[0]]}: {error}") from error
        except EventProblem as error:
            raise EventProblem(error.place, f"{error.problem} ([reweighting] {side})") from error

    @contextlib.contextmanager
    def _numbered(self, numbers: IntArray) -> Iterator[None]:
        try:
            yield
        except EventProblem as error:
            section = self._card.model.input
            source = ", ".join(section.file) if section else "events"
            raise InputError(source, error.problem, event=int(numbers[error.place])) from error

    def _changed(self, side: str) -> str:
        """The parameters that the card gives one side, in words."""
        parameters = getattr(self._section, side).parameters
        if parameters is None:
            return ""
        given: Mapping[str, object] = parameters.model_dump(exclude_defaults=True)
        return f" with {given}" if given else ""
