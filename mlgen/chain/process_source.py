"""From the card's [process] to a `HardProcess`: finds the matrix elements and hands them over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlgen.card import Card
from mlgen.errors import CardError, MlgenError, PluginFailure, ProcessError, nearest
from mlgen.hookspecs import Tool
from mlgen.plugins import Registered, plugin_manager

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess
    from mlgen.hard_process.matrix_element import MatrixElements

_KIND = "matrix_elements"


def open_process(card: Card) -> HardProcess:
    """Make the process of a card, with the matrix elements that the card names, or the first that can.

    Raises:
        CardError: The card has no process.
        mlgen.errors.ProcessError: The process cannot be computed as asked.
        mlgen.errors.PluginFailure: A source of matrix elements failed.
    """
    from mlgen.hard_process.hard_process import HardProcess

    settings = card.model.process
    if settings is None:
        raise CardError(f'{card.source}: there is no [process]; give one, for instance reaction = "p p > mu+ mu-"')
    if settings.pdf is not None and settings.pdf.endswith(".dat"):
        # A file, and paths in a card are relative to it.
        settings = settings.model_copy(update={"pdf": str(card.path(settings.pdf))})
    chosen = settings.matrix_element
    if chosen is None:
        sources, left_out = _every_source(card)
    else:
        sources, left_out = [_made(_find(chosen.program, card), chosen.settings, card)], []
    try:
        # What the sources print goes to standard error: standard output is for events and results.
        with contextlib.redirect_stdout(sys.stderr):
            return HardProcess(settings, sources)
    except ProcessError as error:
        text = "\n  ".join([f"{card.source}: [process]: {error}", *left_out])
        raise type(error)(text) from error


def process_digest(fingerprint: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of a process's fingerprint."""
    text = json.dumps(fingerprint, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def process_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In what two fingerprints differ, in words such as ``energy: 13000 then, 8000 now``."""
    first, second = dict(_entries(before)), dict(_entries(now))
    return [
        f"{key}: {_short(first.get(key))} then, {_short(second.get(key))} now"
        for key in dict.fromkeys([*first, *second])
        if first.get(key) != second.get(key)
    ]


def _every_source(card: Card) -> tuple[list[MatrixElements], list[str]]:
    """All sources that are there, those that need nothing first; and what is not there, in words."""
    sources, left_out = [], []
    for registered in sorted(plugin_manager().tools[_KIND], key=lambda r: (bool(r.offer.requires), r.offer.name)):
        try:
            sources.append(_made(registered, {}, card))
        except (ProcessError, CardError) as error:
            left_out.append(f"matrix elements '{registered.offer.name}' were not asked: {error}")
    return sources, left_out


def _find(name: str, card: Card) -> Registered[Tool]:
    tools = plugin_manager().tools[_KIND]
    same = [registered for registered in tools if registered.offer.name == name]
    if len(same) == 1:
        return same[0]
    where = f"{card.source}: [process] matrix_element"
    if same:
        packages = " and ".join(str(registered.source) for registered in same)
        raise CardError(f"{where}: '{name}' is there twice: from {packages}; uninstall one")
    known = [registered.offer.name for registered in tools]
    raise CardError(
        f"{where}: no source of matrix elements is called '{name}'{nearest(name, known)}\n"
        f"There is: {', '.join(known) or 'none'}{plugin_manager().failure_advice()}"
    )


def _made(registered: Registered[Tool], options: Mapping[str, Any], card: Card) -> MatrixElements:
    offer = registered.offer
    settings = card.checked(options, offer.settings, "process", "matrix_element")
    with _tool_errors(registered):
        made: MatrixElements = offer.factory()(settings)
    return made


@contextlib.contextmanager
def _tool_errors(registered: Registered[Tool]) -> Iterator[None]:
    """Say which source of matrix elements failed, and how what it needs is installed."""
    offer = registered.offer
    try:
        yield
    except MlgenError:
        raise
    except ImportError as error:
        how = f"pip install 'mlgen-hep[{offer.requires}]'" if offer.requires else f"install {error.name}"
        raise ProcessError(f"matrix elements '{offer.name}' need {error.name or error}: {how}") from error
    except Exception as error:
        raise PluginFailure(
            f"matrix elements '{offer.name}' of {registered.source} failed: {type(error).__name__}: {error}"
        ) from error


def _entries(content: object, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping) and content:
        for key, value in content.items():
            yield from _entries(value, f"{place}.{key}" if place else str(key))
    else:
        # As JSON has it: a tuple that was written comes back as a list.
        yield place, json.loads(json.dumps(content))


def _short(value: object) -> str:
    if value is None:
        return "not there"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
