"""``mlgen run``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options
from mlgen.cli.output_files import OutputFilesCommand, check_following

if TYPE_CHECKING:
    from mlgen.chain import Plan, RunResult

#: Names of the gain for other costs of a true weight begin with this and end with the cost.
_GAIN_AT = "gain_at_cost_ratio_"
_PAYS_FROM = "pays_from_true_weight_us"


@click.command("run", cls=OutputFilesCommand)
@click.argument("source", metavar="CARD|EVENTS", nargs=-1, required=True)
@click.option("--generator", metavar="NAME", help="Replace the hard-event generation by this plugin.")
@click.option("--unweighting", metavar="NAME", help="Unweight with this plugin.")
@click.option("--shower", metavar="NAME", help="Shower and hadronise the hard events with this program.")
@click.option("--calorimeter", metavar="NAME", help="Make the calorimeter showers of final particles with this plugin.")
@click.option("--sampler", metavar="NAME", help="Sample the phase space of the card's process with this plugin.")
@click.option(
    "--model",
    metavar="DIR",
    help="Folder of the generator's, the sampler's or the calorimeter's model; trained there when missing. Without it, "
    "a generator's is kept in $MLGEN_CACHE or ~/.cache/mlgen, and used again for the same events, settings and seed, "
    "and so is a calorimeter's where the card has showers to train it; else it is the one that comes with the plugin.",
)
@click.option("-n", "--events", type=click.IntRange(min=1), help="Events to write, or to read from the input.")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of the run.")
@click.option("--set", "settings", metavar="SECTION.KEY=VALUE", multiple=True, help="Set a key of the card.")
@click.option(
    "-o",
    "--output",
    metavar="FILE...",
    multiple=True,
    help="Files to write: all up to the next option. Inputs come before it, or after '--'.",
)
@click.option(
    "-d", "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where outputs and models go."
)
@click.option(
    "--plot",
    "--plots",
    "plot",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the weights before and after the unweighting: png, pdf or svg.",
)
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report (HTML) of the run.",
)
@click.option("--retrain", is_flag=True, help="Train again although a model is there.")
@options.force
@options.on_error
@options.input_format
@options.output_format
@options.as_json
@options.plugin_files
@options.debug
def command(
    source: tuple[str, ...],
    plot: Path | None,
    report: Path | None,
    force: bool,
    retrain: bool,
    as_json: bool,
    **overrides: Any,
) -> None:
    """Run a card, or replace a stage for event files.

    \b
    mlgen run card.toml
    mlgen run card.toml -n 1000 --set generator.width=256 -d scratch
    mlgen run events.lhe.gz --generator cfm -n 100000 -o new.lhe.gz new.hepmc3 new.root
    mlgen run weighted.lhe.gz --unweighting hit-or-miss -o unweighted.lhe.gz --plot weights.pdf
    mlgen run events.lhe.gz --shower pythia8 -o showered.hepmc3.zst
    mlgen run events.hepmc3.zst --calorimeter caloflow --model models/calogan -o cells.root showers.h5

    With a calorimeter, .root files hold its cells beside the events, and .h5 files hold its showers (.lheh5: events).
    """  # noqa: D301 - click wants a real \b
    from mlgen.chain import plan_chain, run_chain
    from mlgen.cli.cards import card_of
    from mlgen.cli.terminal import print_json, reporter
    from mlgen.errors import UserError
    from mlgen.report import write_report

    card = card_of(source, overrides)
    if as_json and card.model.output is not None and "-" in card.model.output.files:
        raise UserError("--json and events cannot both go to standard output; write the events into a file")
    check_following(force=force)
    plan = plan_chain(card, force=force, retrain=retrain)
    _check(plan, plot, report, force)
    result = run_chain(plan, reporter)
    if plot is not None:
        from mlgen.report.run_weights import save_run_weights

        save_run_weights(plot, result, force=force)
    if report is not None:
        write_report(result.page(), report, force=force)
    if as_json:
        print_json(result.to_dict())
    else:
        _show(result, [path for path in (plot, report) if path is not None])


def _check(plan: Plan, plot: Path | None, report: Path | None, force: bool) -> None:
    """What can be wrong with the plot and the report is said before the work."""
    from mlgen.errors import UserError
    from mlgen.report import check_report
    from mlgen.report.weights import check_plot

    used = [path.resolve() for path in (*plan.inputs, *plan.outputs) if str(path) != "-"]
    for path, kind in ((plot, "plot"), (report, "report")):
        if path is not None and path.resolve() in used:
            raise UserError(f"{path}: the {kind} would replace an event file of this run; choose another name")
    if report is not None:
        check_report(report, force=force)
    if plot is None:
        return
    if plan.unweighting is None:
        raise UserError(
            f"{plot}: there are no weights to draw, since nothing is unweighted; give [unweighting] in the card, or "
            "--unweighting NAME"
        )
    check_plot(plot, force=force)
    if report is not None and plot.resolve() == report.resolve():
        raise UserError(f"{plot}: the plot and the report have one name; choose another for one of them")


def _show(result: RunResult, others: Sequence[Path]) -> None:
    from mlgen.cli.terminal import number, shown, table, with_error

    rows = [
        ("events", number(result.events)),
        ("cross section", with_error(result.cross_section, result.cross_section_error)),
        ("sample is", result.exactness),
    ]
    for stage in result.stages:
        how = f"{stage.plugin} {stage.version} ({stage.exactness})"
        if stage.model:
            how += f", model {shown(stage.model)}, {'trained now' if stage.trained else 'used as it was'}"
        rows.append((stage.stage, how))
        rows += _figure_rows(stage.figures)
        rows += [("  remark", remark) for remark in stage.remarks]
    rows += [(f"time, {work}", f"{seconds:.1f} s") for work, seconds in result.seconds.items()]
    rows += [("remark", remark) for remark in result.remarks]
    rows += [("written", shown(path)) for path in (*result.outputs, *others)]
    # When events go to standard output, the table must not end up among them.
    table(rows, err=any(str(path) == "-" for path in result.outputs))


def _figure_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """As `figure_rows`, with the gains for other costs of a true weight in one row."""
    from mlgen.cli.terminal import figure_rows, number

    gains = {name.removeprefix(_GAIN_AT): gain for name, gain in figures.items() if name.startswith(_GAIN_AT)}
    for name, value in figures.items():
        if name == _PAYS_FROM:
            yield "  pays from", "never" if value == math.inf else f"{number(value, 3)} us a true weight"
        elif not name.startswith(_GAIN_AT):
            yield from figure_rows({name: value})
        elif gains:
            yield (
                "  gain at other cost ratios",
                ", ".join(f"{ratio}: {number(gain, 3)}" for ratio, gain in gains.items()),
            )
            gains = {}
