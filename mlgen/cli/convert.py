"""``mlgen convert``."""

from __future__ import annotations

from pathlib import Path

import click

from mlgen.cli import options


@click.command("convert")
@click.argument("files", metavar="IN... OUT", nargs=-1, required=True)
@click.option("-n", "--events", type=click.IntRange(min=1), help="Convert only so many events.")
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    show_default=True,
    help="Events handled at a time; the events are the same for any number.",
)
@options.force
@options.on_error
@options.input_format
@options.output_format
@options.as_json
@options.plugin_files
@options.debug
def command(
    files: tuple[str, ...],
    events: int | None,
    batch_size: int,
    force: bool,
    on_error: str | None,
    input_format: str | None,
    output_format: str | None,
    as_json: bool,
) -> None:
    """Convert event files to another format; several inputs become one output.

    Formats and compression of the inputs are recognised from their first bytes, those of the output from its suffix.
    '-' is standard input or output.

    \b
    mlgen convert events.lhe.gz events.hepmc3.zst
    mlgen convert run1.lhe.gz run2.lhe.gz all.root
    zcat events.lhe.gz | mlgen convert - - --format hepmc3 | rivet ...
    """  # noqa: D301 - click wants a real \b
    from mlgen.chain.convert import convert
    from mlgen.cli.terminal import number, print_json, reporter, table
    from mlgen.errors import UserError

    if len(files) < 2:
        raise UserError("convert needs at least two files: the inputs and, last, the output")
    *inputs, output = files
    result = convert(
        [Path(name) for name in inputs],
        Path(output),
        events=events,
        batch_size=batch_size,
        on_error="skip" if on_error == "skip" else "stop",
        force=force,
        input_format=input_format,
        output_format=output_format,
        reporter=reporter,
    )
    if as_json and output != "-":
        print_json(result.to_dict())
        return
    rows = [("events", number(result.events)), ("written", output)]
    if result.skipped.count or result.skipped.reasons:
        rows.append(("left out", f"{result.skipped.count:,} that could not be read"))
        rows += [("", reason) for reason in result.skipped.reasons]
    # What goes to standard output is the events.
    table(rows, err=output == "-")
