"""Several files after one ``-o``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

#: Names of the option, as in `mlgen.cli.run`.
_SHORT, _LONG = "-o", "--output"
_FOLLOWING = "mlgen.output_files.following"
_ORDER = f"After {_SHORT}, all files up to the next option are outputs; name inputs before {_SHORT}, or after '--'"


class OutputFilesCommand(click.Command):
    """A command whose option ``-o`` takes all files up to the next option.

    ``in.lhe -o a.lhe b.root -n 10`` means ``in.lhe -o a.lhe -o b.root -n 10``. Click has no such option.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each file that follows its first one."""
        following: list[str] = []
        spread = list(_spread(args, following))
        ctx.meta[_FOLLOWING] = tuple(following)
        try:
            return super().parse_args(ctx, spread)
        except click.MissingParameter as error:
            if following:
                raise click.UsageError(
                    f"there is no input, and {', '.join(following)} came after {_SHORT}.\n{_ORDER}", ctx
                ) from error
            raise


def check_following(*, force: bool) -> None:
    """Check that none of the files that followed a first one is there: it may have been meant as an input.

    Raises:
        mlgen.errors.OutputError: One cannot be written; says how inputs are given.
    """
    from mlgen.errors import OutputError
    from mlgen.files import check_free

    for name in click.get_current_context().meta[_FOLLOWING]:
        path = Path(name)
        try:
            if name != "-":
                check_free(path, force=force)
        except OutputError as error:
            raise OutputError(f"{error}\n{_ORDER}" if path.exists() else str(error)) from error


def _spread(args: Sequence[str], following: list[str]) -> Iterator[str]:
    """Yield the arguments with an option before each further file, which is added to `following` as well."""
    left = iter(args)
    outputs = False
    for argument in left:
        if argument == "--":
            yield argument
            yield from left
            return
        if argument == "-" or not argument.startswith("-"):
            if outputs:
                following.append(argument)
                yield _SHORT
            yield argument
            continue
        yield argument
        # With its first file in the same argument, or as the next one.
        outputs = argument.startswith((_SHORT, f"{_LONG}=")) or argument == _LONG
        if argument in (_SHORT, _LONG):
            # Whatever it looks like; click says so where there is none.
            yield from itertools.islice(left, 1)
