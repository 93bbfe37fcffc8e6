"""``mlgen run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options

if TYPE_CHECKING:
    from mlgen.chain import RunResult


@click.command("run")
@click.argument("source", metavar="CARD|EVENTS", nargs=-1, required=True)
@click.option("--generator", metavar="NAME", help="Replace the hard-event generation by this plugin.")
@click.option("--unweighting", metavar="NAME", help="Unweight with this plugin.")
@click.option("--sampler", metavar="NAME", help="Sample the phase space of the card's process with this plugin.")
@click.option(
    "--model", metavar="DIR", help="Folder of the generator's, or the sampler's, model; trained there when missing."
)
@click.option("-n", "--events", type=click.IntRange(min=1), help="Events to write, or to read from the input.")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of the run.")
@click.option("--set", "settings", metavar="SECTION.KEY=VALUE", multiple=True, help="Set a key of the card.")
@click.option("-o", "--output", metavar="FILE", multiple=True, help="File to write; may be given several times.")
@click.option(
    "-d", "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where outputs and models go."
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
@options.debug
def command(
    source: tuple[str, ...], report: Path | None, force: bool, retrain: bool, as_json: bool, **overrides: Any
) -> None:
    """Run a card, or replace a stage for event files.

    \b
    mlgen run card.toml
    mlgen run card.toml -n 1000 --set generator.width=256 -d scratch
    mlgen run events.lhe.gz --generator cfm -n 100000 -o new.lhe.gz -o new.root
    mlgen run weighted.lhe.gz --unweighting hit-or-miss -o unweighted.lhe.gz
    """  # noqa: D301 - click wants a real \b
    from mlgen.chain import plan_chain, run_chain
    from mlgen.cli.cards import card_of
    from mlgen.cli.terminal import print_json, reporter
    from mlgen.errors import UserError
    from mlgen.report import check_report, write_report

    card = card_of(source, overrides)
    if as_json and card.model.output is not None and "-" in card.model.output.files:
        raise UserError("--json and events cannot both go to standard output; write the events into a file")
    plan = plan_chain(card, force=force, retrain=retrain)
    if report is not None:
        used = [path.resolve() for path in (*plan.inputs, *plan.outputs) if str(path) != "-"]
        if report.resolve() in used:
            raise UserError(f"{report}: the report would replace an event file of this run; choose another name")
        check_report(report, force=force)
    result = run_chain(plan, reporter)
    if report is not None:
        write_report(result.page(), report, force=force)
    if as_json:
        print_json(result.to_dict())
    else:
        _show(result, report)


def _show(result: RunResult, report: Path | None) -> None:
    from mlgen.cli.terminal import figure_rows, number, shown, table, with_error

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
        rows += figure_rows(stage.figures)
        rows += [("  remark", remark) for remark in stage.remarks]
    rows += [(f"time, {work}", f"{seconds:.1f} s") for work, seconds in result.seconds.items()]
    rows += [("remark", remark) for remark in result.remarks]
    rows += [("written", shown(path)) for path in (*result.outputs, *([report] if report else []))]
    # When events go to standard output, the table must not end up among them.
    table(rows, err=any(str(path) == "-" for path in result.outputs))
