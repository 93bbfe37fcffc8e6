"""Finds the sources of matrix elements that a card names, and makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mlgen.card import Card
from mlgen.chain.tools import find_tool, tool_errors
from mlgen.errors import CardError, ProcessError
from mlgen.hard_process.matrix_element import MatrixElement, MatrixElements
from mlgen.hookspecs import Tool
from mlgen.plugins import Registered, plugin_manager
from mlgen.stages import Settings

if TYPE_CHECKING:
    from mlgen.hard_process.parameters import ModelParameters
    from mlgen.hard_process.subprocess import Subprocess

_KIND = "matrix_elements"


def named_source(name: str, options: Mapping[str, Any], card: Card, *keys: str | int) -> MatrixElements:
    """Make a source of matrix elements.

    Args:
        name: As 'mlgen plugins' lists it.
        options: Its settings.
        card: The card that names it.
        keys: Where the card does.

    Raises:
        CardError: There is none of that name, or it does not have such settings.
        ProcessError: What it needs is not installed.
        PluginFailure: It failed.
    """
    return _made(find_source(name, card, *keys), options, card, *keys)


def check_source(name: str, options: Mapping[str, Any], card: Card, *keys: str | int) -> None:
    """Check that there is a source with such settings, without making it; the arguments are those of `named_source`.

    Raises:
        CardError: As `named_source`.
    """
    card.checked(options, find_source(name, card, *keys).offer.settings, *keys)


def every_source(card: Card, *keys: str | int) -> list[MatrixElements]:
    """Make all sources with their default settings, those that need nothing first.

    Args:
        card: The card that names none.
        keys: Where it could.

    Raises:
        PluginFailure: One failed.
    """
    sources: list[MatrixElements] = []
    for registered in sorted(plugin_manager().tools[_KIND], key=lambda r: (bool(r.offer.requires), r.offer.name)):
        try:
            sources.append(_made(registered, {}, card, *keys))
        except ProcessError as error:
            sources.append(_named(_NotAsked(str(error)), registered))
        except CardError as error:
            sources.append(_named(_NotAsked(_without_place(error)), registered))
    return sources


def find_source(name: str, card: Card, *keys: str | int) -> Registered[Tool]:
    """Find a source of matrix elements by name; the arguments are those of `named_source`.

    Raises:
        CardError: There is none of that name, or there are two.
    """
    return find_tool(_KIND, "source of matrix elements", name, card, *keys)


class _NotAsked(MatrixElements):
    """Stands for a source that cannot be asked without something else; says so where no other has the reaction."""

    def __init__(self, problem: str) -> None:
        super().__init__(Settings())
        self._problem = problem

    def prepare(self, subprocesses: Sequence[Subprocess], parameters: ModelParameters) -> list[MatrixElement]:
        raise ProcessError(f"not asked: {self._problem}")

    def fingerprint(self) -> dict[str, str]:
        return {}


def _made(registered: Registered[Tool], options: Mapping[str, Any], card: Card, *keys: str | int) -> MatrixElements:
    offer = registered.offer
    settings = card.checked(options, offer.settings, *keys)
    with tool_errors(registered, "matrix elements", needs="{} need", missing=ProcessError):
        made: MatrixElements = _named(offer.factory()(settings), registered)
    return made


def _named(source: MatrixElements, registered: Registered[Tool]) -> MatrixElements:
    """Tell a source what it is called."""
    source.registered_as = f"'{registered.offer.name}' of {registered.source}"
    return source


def _without_place(error: CardError) -> str:
    """What a card lacks for a source that it does not name has no line in it."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return str(error)
    problems = (
        (".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")) for problem in cause.errors()
    )
    return "; ".join(f"{key}: {message}" if key else message for key, message in problems)
