"""``mlgen new-plugin``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mlgen.cli import options
from mlgen.scaffold.stage_packages import STAGE_PACKAGES
from mlgen.stages import Stage


@click.command("new-plugin")
@click.argument("name")
@click.option(
    "--stage",
    type=click.Choice([stage.value for stage in STAGE_PACKAGES]),
    help="The stage of the chain that it replaces.  [required]",
)
@click.option(
    "-d",
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the package; NAME in the current directory when left out.",
)
@click.option("--force", is_flag=True, help="Replace files of a folder that is not empty; others in it stay.")
@options.debug
def command(name: str, stage: str | None, directory: Path | None, force: bool) -> None:
    """Write a package with a plugin of your own, which can be installed, tested and run at once.

    \b
    mlgen new-plugin my-mixture --stage generator
    cd my-mixture
    pip install -e .
    mlgen plugins
    mlgen run card.toml

    Then edit src/my_mixture/model.py, at the places that are marked.
    """  # noqa: D301 - click wants a real \b
    from mlgen.scaffold import new_plugin

    if stage is None:
        raise click.MissingParameter(_stages_in_words(), param_hint="'--stage'", param_type="option")
    written = new_plugin(name, Stage(stage), directory or Path(name), force=force)
    names, package = written.names, STAGE_PACKAGES[Stage(stage)]
    click.echo(f"{written.folder}: {package.description.lower()}, {len(written.files)} files")
    click.echo(f"  distribution {names.distribution}, import package {names.package}, plugin {names.plugin}")
    click.echo("\nInstall it, and use it at once:")
    for line, what in (
        (f"cd {shlex.quote(str(written.folder))}", ""),
        ("pip install -e .", ""),
        ("mlgen plugins", f"lists {names.plugin}"),
        (f"mlgen check-plugin {names.plugin}", "the rules of its stage; or pytest, which tests the card too"),
        ("mlgen run card.toml", f"writes {', '.join(package.outputs)}"),
    ):
        click.echo(f"  {line:<36}{f'# {what}' if what else ''}".rstrip())
    click.echo(f"\nThen put your own model into src/{names.package}/model.py, where it says YOUR MODEL.")


def _stages_in_words() -> str:
    stages = [f"  {stage.value:<12} {package.does}" for stage, package in STAGE_PACKAGES.items()]
    return "\n".join(["The stage that it replaces is one of", *stages])
