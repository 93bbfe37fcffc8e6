"""``mlgen integrate``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options

if TYPE_CHECKING:
    from mlgen.chain import IntegrationResult
    from mlgen.chain.integration_result import Contribution
    from mlgen.chain.report import StageResult
    from mlgen.chain.weight_efficiency import UnweightingEfficiency

#: Channels and subprocesses that are shown by themselves; the rest is summed up. --json and the report have all.
SHOWN = 10


@click.command("integrate")
@click.argument("card", metavar="CARD")
@click.option("--precision", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Relative error to reach.")
@click.option("--time", type=click.FloatRange(0, min_open=True), help="Seconds to take at most, after the training.")
@click.option("--points", type=click.IntRange(min=2), help="Points to evaluate at most, after the training.")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of everything random.")
@click.option("--sampler", metavar="NAME", help="Sample phase space with this plugin.")
@click.option("--model", metavar="DIR", help="Folder of the sampler's model; trained there when missing.")
@click.option("--set", "settings", metavar="SECTION.KEY=VALUE", multiple=True, help="Set a key of the card.")
@click.option(
    "--plots",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the distribution of the weights: png, pdf or svg.",
)
@click.option(
    "--report", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write a report (HTML)."
)
@click.option("--retrain", is_flag=True, help="Train again although a model is there.")
@options.force
@options.as_json
@options.plugin_files
@options.debug
def command(
    card: str,
    plots: Path | None,
    report: Path | None,
    retrain: bool,
    force: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Integrate the process of a card: its cross section, and how well its points could be unweighted.

    Stops at the first limit that is reached: precision, time or points, of the card's [integration] or given here;
    a relative error of 0.001 where none is.

    \b
    mlgen integrate card.toml
    mlgen integrate card.toml --precision 0.0005 --report xsec.html
    mlgen integrate card.toml --sampler flat --points 100000 --json
    """  # noqa: D301 - click wants a real \b
    from mlgen.chain import integrate, plan_integration
    from mlgen.cli.cards import card_of
    from mlgen.cli.terminal import print_json, reporter, table
    from mlgen.errors import UserError
    from mlgen.report import check_report, write_report
    from mlgen.report.weights import check_plot

    if not card.endswith(".toml"):
        raise UserError(f"{card}: a card (a .toml file) is expected; 'mlgen init --process' writes one")
    plan = plan_integration(card_of((card,), overrides), retrain=retrain)
    # What can be wrong with the outputs is said before the work.
    if report is not None:
        check_report(report, force=force)
    if plots is not None:
        check_plot(plots, force=force)
        if report is not None and plots.resolve() == report.resolve():
            raise UserError(f"{plots}: the plot and the report have one name; choose another for one of them")
    result = integrate(plan, reporter)
    if plots is not None:
        _draw(result, plots, force)
    if report is not None:
        write_report(result.page(), report, force=force)
    if as_json:
        print_json(result.to_dict())
    else:
        table(list(_rows(result, [path for path in (plots, report) if path is not None])))


def _draw(result: IntegrationResult, path: Path, force: bool) -> None:
    from mlgen.report.weights import save_weights

    save_weights(
        path,
        *result.weights.histograms(),
        result.efficiency.maximum_weight,
        maximum_label="maximum at 0.1 % overweight share",
        unit="pb",
        force=force,
    )


def _rows(result: IntegrationResult, written: Sequence[Path]) -> Iterator[tuple[str, str]]:
    from mlgen.cli.terminal import figure_rows, number, shown, with_error

    yield "reaction", result.reaction
    yield "cross section", f"{with_error(result.cross_section, result.error)} ({result.relative_error:.2%})"
    agreement = result.consistency
    if agreement.degrees_of_freedom > 0:
        yield (
            "chi^2/ndf",
            f"{agreement.chi_squared:.3g}/{agreement.degrees_of_freedom} of {len(agreement.iterations)} iterations "
            f"(p-value {agreement.p_value:.2g})",
        )
    yield "stopped by", result.stopped_by
    size = result.effective_sample_size
    yield "effective sample size", f"{number(size)} ({size / result.points:.1%} of the points)"
    yield "unweighting efficiency", _efficiency(result.efficiency)
    yield "  at the largest weight", _efficiency(result.efficiency_at_maximum)
    yield "points", number(result.points)
    yield "  outside the cuts", number(result.outside_cuts)
    if result.outside_densities:
        yield "  outside the densities", number(result.outside_densities)
    yield "  not finite", number(result.not_finite)
    yield "  negative", number(result.negative)
    for title, contributions in (("channels", result.channels), ("subprocesses", result.subprocesses)):
        yield from _contributions(title, contributions)
    yield "phase space", _how(result.stage)
    yield "  calls for training", number(result.training_calls)
    figures = result.stage.figures
    yield from figure_rows({name: value for name, value in figures.items() if name != "integrand_calls"})
    yield from (("  remark", remark) for remark in result.stage.remarks)
    if result.amplitude is not None:
        yield "amplitude", _how(result.amplitude)
        yield from figure_rows(result.amplitude.figures)
        yield from (("  remark", remark) for remark in result.amplitude.remarks)
    yield from ((f"time, {work}", f"{seconds:.1f} s") for work, seconds in result.seconds.items())
    yield from (("remark", remark) for remark in result.remarks)
    yield from (("written", shown(path)) for path in written)


def _how(stage: StageResult) -> str:
    from mlgen.cli.terminal import shown

    how = f"{stage.plugin} {stage.version} ({stage.exactness})"
    if stage.model:
        how += f", model {shown(stage.model)}, {'trained now' if stage.trained else 'used as it was'}"
    return how


def _efficiency(efficiency: UnweightingEfficiency) -> str:
    from mlgen.cli.terminal import number

    return (
        f"{efficiency.efficiency:.4g} at an overweight share of {efficiency.overweight_share:.2%} "
        f"(maximum weight {number(efficiency.maximum_weight)} pb)"
    )


def _contributions(title: str, contributions: Sequence[Contribution]) -> Iterator[tuple[str, str]]:
    from mlgen.cli.terminal import with_error

    # One that is left over needs no line that sums up.
    shown = contributions if len(contributions) <= SHOWN + 1 else contributions[:SHOWN]
    width = max((len(contribution.name) for contribution in shown), default=0)
    for index, contribution in enumerate(shown):
        value = with_error(contribution.cross_section, contribution.error)
        yield title if index == 0 else "", f"{contribution.name:<{width}}  {value}"
    rest = contributions[len(shown) :]
    if rest:
        total = sum(contribution.cross_section for contribution in rest)
        # Without an error: the parts are not independent.
        yield "", f"{f'{len(rest)} further':<{width}}  {total:.6g} pb"
