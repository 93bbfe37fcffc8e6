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
# --debug belongs to mlgen itself, but nobody should need to know where it goes.
debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the full traceback of an error.")
