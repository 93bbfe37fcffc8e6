"""Whether commands that a page shows, and that are not run, are there with their options."""

import re
import shlex
from collections.abc import Iterator

import click
from example_page import Block
from mlgen_reference.commands import commands

from mlgen.cli import cli

_LINE = re.compile(r"^\s*(mlgen\s.*)$", re.MULTILINE)
_LINE_AFTER_PROMPT = re.compile(r"^\$ (mlgen\s.*)$", re.MULTILINE)


def unknown_in(block: Block) -> Iterator[str]:
    """Yield what a block shows of `mlgen` and is not there: commands, and options of commands."""
    known = commands()
    lines = _LINE_AFTER_PROMPT if block.language == "console" else _LINE
    for line in lines.findall(block.text.replace("\\\n", " ")):
        words = _words(line)
        shared = _options(cli)
        while words and words[0].startswith("-") and words[0] in shared:
            words.pop(0)
        if not words or words[0] == "COMMAND" or words[0].startswith(("-", ":", "=")):
            continue
        if words[0] not in known:
            yield f"mlgen {words[0]}: there is no such command"
            continue
        options = _options(known[words[0]])
        for word in words[1:]:
            name = word.split("=")[0]
            if re.fullmatch(r"--?[a-z][\w-]*", name) and name not in options:
                yield f"mlgen {words[0]} {name}: there is no such option"


def _words(line: str) -> list[str]:
    """The words of a command line after 'mlgen', without comments, pipes and what follows them."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote of a sentence that is no command line
        words = line.split()
    return words[1:][: _end(words[1:])]


def _end(words: list[str]) -> int:
    return next((number for number, word in enumerate(words) if word in ("|", "&&", ";", ">", "||", "&")), len(words))


def _options(command: click.Command) -> set[str]:
    context = click.Context(command, info_name="mlgen", **cli.context_settings)
    return {
        name
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
