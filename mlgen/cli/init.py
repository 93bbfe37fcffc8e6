"""``mlgen init``."""

from __future__ import annotations

from pathlib import Path

import click

from mlgen.cli import options

CARD = """\
# A card of mlgen: the stages of the chain, in order. What is not here is not replaced.
# Paths are relative to this file. Run it with:  mlgen run {name}

# plugins = ["my_plugin.py"]    # plugins of your own, each in a single file: code that is run

[run]
seed = 1                        # one seed for everything: the same seed gives the same bytes
events = 20_000                 # events to generate; without [generator]: events to read
# batch_size = 10_000           # events handled at a time
# on_error = "stop"             # or "skip": leave out events that cannot be read, and count them

[input]
file = "{events}"         # LHE, LHEH5, HepMC or ROOT, compressed or not; a list is read as one sample
# format = "lhe"                # recognised from the first bytes when left out

[generator]                     # learns whole hard events from the input and generates new ones
plugin = "discflow"             # 'mlgen plugins' lists what there is
model = "models/{stem}"         # trained and saved here when it is not there yet
# Further keys are settings of the plugin; 'mlgen plugins --json' lists them.

# [unweighting]                 # unit-weight events from weighted ones
# plugin = "hit-or-miss"
# maximum = "sample"            # or "overweight-share", "quantile", "median", "efficiency", "value"

# [reweighting]                 # a named weight: the nominal one times |M_new|^2 / |M_old|^2; not with [generator]
# old = "closed-form"           # what the events were made with: matrix elements, or {{ model = "FOLDER" }}
# new = {{ program = "closed-form", parameters = {{ z_prime = {{ mass = 400, width = 4 }} }} }}

[output]
files = ["{stem}.new.lhe.gz", "{stem}.new.hepmc3.zst", "{stem}.new.root"]

# [validation]                  # what 'mlgen validate {name}' compares, besides what it finds in the files
# select = "pt('j1') > 30"
# [validation.observables]
# pT_ll = "pt('mu-', 'mu+')"
"""


@click.command("init")
@click.argument("card", type=click.Path(dir_okay=False, path_type=Path), default=Path("card.toml"))
@click.option("--events", metavar="FILE", help="Event file to start from; events.lhe.gz when left out.")
@click.option(
    "--process",
    metavar="REACTION",
    is_flag=False,
    flag_value="p p > mu+ mu-",
    help="Start from a reaction instead, 'p p > mu+ mu-' when none is named.",
)
@click.option("--force", is_flag=True, help="Replace the card if it exists.")
@options.debug
def command(card: Path, events: str | None, process: str | None, force: bool) -> None:
    """Write a commented card to start from (card.toml when no name is given)."""
    from mlgen.errors import OutputError, UserError

    if process is not None and events is not None:
        raise UserError("a card starts from events or from a process: give --events or --process, not both")
    if process is not None and ">" not in process:
        # Without a reaction after it, the option has taken the card's name.
        raise UserError(
            f"--process {process}: a reaction is expected, for instance --process 'p p > mu+ mu-'; "
            "without one, put the card's name first: mlgen init card.toml --process"
        )
    text = _from_events(card, events or "events.lhe.gz") if process is None else _from_process(card, process)
    if str(card) == "-":
        click.echo(text, nl=False)
        return
    if card.exists() and not force:
        raise OutputError(f"{card}: exists already; choose another name, or overwrite it with --force")
    try:
        card.write_text(text)
    except OSError as error:
        raise OutputError(f"{card}: cannot be written: {error.strerror}") from error
    click.echo(f"{card} written; edit it, then: mlgen run {card}")


def _from_events(card: Path, events: str) -> str:
    return CARD.format(name=card.name, events=events, stem=Path(events).name.split(".", 1)[0])


def _from_process(card: Path, reaction: str) -> str:
    from mlgen.cli.process_card import process_card

    stem = "process" if str(card) == "-" else card.name.split(".", 1)[0]
    return process_card(card.name, stem, reaction)
