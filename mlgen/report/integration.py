"""The page of an integration: the cross section, what it consists of, and whether it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlgen.report.page import (
    Badge,
    Card,
    Cell,
    Column,
    Figure,
    FigureGrid,
    KeyValues,
    Kind,
    Page,
    Remarks,
    Section,
    Status,
    Table,
    Verdict,
)
from mlgen.report.quantities import with_error_text
from mlgen.report.run import provenance_section, stage_section, times_table

if TYPE_CHECKING:
    from mlgen.chain.integration_result import Contribution, IntegrationResult
    from mlgen.chain.weight_efficiency import UnweightingEfficiency

#: p-value of the iterations below which something is wrong.
_DOUBTFUL = 0.001
#: Why an integration came to its end.
_STOPPED = {
    "precision": "It stopped because the precision that was asked for was reached.",
    "time": "It stopped because its time was over.",
    "points": "It stopped because the number of points was reached.",
}


def integration_page(
    result: IntegrationResult, provenance: Mapping[str, Any], *, figures: Iterable[Figure] = ()
) -> Page:
    """Return the page of an integration.

    Args:
        result: What was found.
        provenance: What made it.
        figures: Pictures, for instance of the weights.
    """
    return Page(
        title=f"Cross section of {result.reaction}",
        subtitle=f"phase space by {result.stage.plugin}, seed {result.seed}",
        verdict=_verdict(result),
        summary=_summary(result),
        sections=(
            _outcome(result),
            Section("Pictures", (FigureGrid(tuple(figures)),)),
            Section("Subprocesses", (_table("Cross section by subprocess", "subprocess", result.subprocesses),)),
            Section("Channels", (_table("Cross section by channel", "channel", result.channels, points=True),)),
            _iterations(result),
            stage_section(result.stage),
            *([stage_section(result.amplitude)] if result.amplitude is not None else []),
            Section("Time", (times_table(result.seconds),)),
            provenance_section(provenance),
        ),
    )


def _verdict(result: IntegrationResult) -> Verdict:
    p_value = result.consistency.p_value
    stopped = _STOPPED.get(result.stopped_by, "")
    if math.isnan(p_value):
        return Verdict(Badge(Status.INFO, "one iteration"), f"There are no iterations to compare. {stopped}")
    if p_value < _DOUBTFUL:
        return Verdict(Badge(Status.ATTENTION, "iterations disagree"), f"The error is not to be trusted. {stopped}")
    return Verdict(Badge(Status.AGREES, "iterations agree"), f"p-value {p_value:.2g}. {stopped}")


def _summary(result: IntegrationResult) -> list[Card]:
    text = f"{with_error_text(result.cross_section, result.error)} pb"
    return [
        Card("cross section", Cell(result.cross_section, result.error, text=text), f"{result.relative_error:.2%}"),
        Card("unweighting efficiency", result.efficiency.efficiency, "at 0.1 % overweight share"),
        Card("effective sample size", result.effective_sample_size, f"of {result.points:,} points"),
        Card("time", Cell(sum(result.seconds.values()), text=f"{sum(result.seconds.values()):,.1f} s")),
    ]


def _outcome(result: IntegrationResult) -> Section:
    efficiencies = Table(
        "Unweighting",
        (
            Column("maximum"),
            Column("efficiency", Kind.NUMBER, description="share of the candidates that would be accepted"),
            Column("overweight share", Kind.NUMBER, description="share of the cross section above the maximum"),
            Column("maximum weight", Kind.NUMBER, "pb"),
        ),
        [
            _efficiency("at 0.1 % overweight share", result.efficiency),
            _efficiency("at the largest weight", result.efficiency_at_maximum),
        ],
    )
    counts = KeyValues(
        {
            "points": result.points,
            "outside the cuts": result.outside_cuts,
            "outside the grid of the parton densities": result.outside_densities,
            "not finite": result.not_finite,
            "negative": result.negative,
            "integrand calls for training": result.training_calls,
        }
    )
    return Section("Outcome", (Remarks(result.remarks), counts, efficiencies))


def _efficiency(name: str, efficiency: UnweightingEfficiency) -> tuple[str, float, Cell, float]:
    share = efficiency.overweight_share
    return name, efficiency.efficiency, Cell(share, text=f"{share:.2%}"), efficiency.maximum_weight


def _table(caption: str, what: str, contributions: Sequence[Contribution], *, points: bool = False) -> Table:
    total = sum(contribution.cross_section for contribution in contributions)
    columns = [Column(what), Column("cross section", Kind.NUMBER, "pb"), Column("share", Kind.NUMBER)]
    rows: list[tuple[str | Cell | int, ...]] = []
    for contribution in contributions:
        share = contribution.cross_section / total if total else math.nan
        value = Cell(contribution.cross_section, contribution.error)
        row = (contribution.name, value, Cell(share, text=f"{share:.2%}"))
        rows.append((*row, contribution.points) if points else row)
    return Table(caption, [*columns, Column("points", Kind.NUMBER)] if points else columns, rows)


def _iterations(result: IntegrationResult) -> Section:
    agreement = result.consistency
    table = Table(
        "Independent iterations",
        (Column("iteration", Kind.NUMBER), Column("points", Kind.NUMBER), Column("cross section", Kind.NUMBER, "pb")),
        [
            (number, iteration.points, Cell(iteration.value, iteration.error))
            for number, iteration in enumerate(agreement.iterations, 1)
        ],
        note="The cross section is the mean over all points; the iterations only show whether they agree.",
    )
    numbers = KeyValues(
        {
            "chi^2": agreement.chi_squared,
            "degrees of freedom": agreement.degrees_of_freedom,
            "p-value": agreement.p_value,
        }
    )
    return Section("Iterations", (numbers, table))
