"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
force = click.option("--force", is_flag=True, help="Replace outputs that exist.")
input_format = click.option("--input-format", metavar="NAME", help="Format of the input; recognised when left out.")
output_format = click.option("--format", "output_format", metavar="NAME", help="Format of the output.")
on_error = click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default=None,
    help="What to do with events that cannot be read: stop (usual), or skip, count and report them.",
)
#: Where a command keeps the files that `plugin_files` named, for its card.
PLUGIN_FILES = "mlgen.plugin_files"


def _load_plugin_files(context: click.Context, parameter: click.Parameter, files: tuple[str, ...]) -> None:
    if not files or context.resilient_parsing:
        return
    from pathlib import Path

    from mlgen.plugins import add_plugin_file

    context.meta[PLUGIN_FILES] = [add_plugin_file(Path(name)).entry_point for name in files]


#: Loaded before anything else of the command is looked at, since formats and stages may be among what they offer.
plugin_files = click.option(
    "--plugin",
    metavar="FILE",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_load_plugin_files,
    help="Load the plugins of this Python file; it is code, and is run. May be given several times.",
)
# --debug belongs to mlgen itself, but nobody should need to know where it goes.
debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the full traceback of an error.")
