"""``mlgen train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mlgen.cli import options


@click.command("train")
@click.argument("card", metavar="CARD")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of the training.")
@click.option("--set", "settings", metavar="SECTION.KEY=VALUE", multiple=True, help="Set a key of the card.")
@click.option("--model", metavar="DIR", help="Folder of the model.")
@click.option("--retrain", is_flag=True, help="Train again although a model is there.")
@options.on_error
@options.as_json
@options.plugin_files
@options.debug
def command(card: str, retrain: bool, as_json: bool, **overrides: Any) -> None:
    """Train the model that a card names and save it in the card's model folder.

    That of the generator, of the sampler of a process, and of the surrogate that stands in for its matrix elements,
    which learns from the process or from a file of points; that of a calorimeter, from files of showers. A model that
    is there already, trained on the same events, points, showers or process with the same settings, is left as it is.
    """
    from mlgen.chain import plan_chain, train_chain
    from mlgen.cli.cards import card_of
    from mlgen.cli.terminal import number, print_json, reporter, shown, table
    from mlgen.errors import UserError
    from mlgen.store import REPORT_FILE

    if not card.endswith(".toml"):
        raise UserError(f"{card}: a card (a .toml file) is expected; 'mlgen init' writes one")
    result = train_chain(plan_chain(card_of((card,), overrides), retrain=retrain, training_only=True), reporter)
    if as_json:
        import dataclasses

        print_json(dataclasses.asdict(result))
        return
    rows = [
        ("model", f"{shown(result.model)} ({'trained now' if result.trained else 'was there already'})"),
        ("plugin", f"{result.plugin} {result.version} ({result.exactness})"),
        ("SHA-256", result.model_sha256),
    ]
    rows += [(name.replace("_", " "), number(value)) for name, value in result.figures.items()]
    rows += [("remark", remark) for remark in result.remarks]
    rows.append(("report", shown(Path(result.model) / REPORT_FILE)))
    table(rows)
