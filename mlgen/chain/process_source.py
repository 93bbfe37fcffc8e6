"""From the card's [process] to a `HardProcess`, with its matrix elements; fingerprints of processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlgen.card import Card
from mlgen.chain.matrix_element_sources import every_source, named_source
from mlgen.errors import CardError, ProcessError

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess

#: How a message begins that is about a key of [process].
_ABOUT = re.compile(r"(?:the )?(cuts|channels|pdf|alpha_s)\b|the (channel) '")


def open_process(card: Card) -> HardProcess:
    """Make the process of a card, with the matrix elements that the card names, or the first that can.

    Raises:
        CardError: The card has no process.
        mlgen.errors.ProcessError: The process cannot be computed as asked, or its cross section is infinite.
        mlgen.errors.PluginFailure: A source of matrix elements failed.
    """
    from mlgen.hard_process.divergences import refuse_divergences
    from mlgen.hard_process.hard_process import HardProcess
    from mlgen.hard_process.reaction import reaction_of

    settings = card.model.process
    if settings is None:
        raise CardError(f'{card.source}: there is no [process]; give one, for instance reaction = "p p > mu+ mu-"')
    if settings.pdf is not None and settings.pdf.endswith(".dat"):
        # A file, and paths in a card are relative to it.
        settings = settings.model_copy(update={"pdf": str(card.path(settings.pdf))})
    # Before any matrix element is made, which may take a while.
    with _placed(card, "reaction"):
        reaction = reaction_of(settings)
    with _placed(card, "cuts"):
        refuse_divergences(reaction, settings)
    chosen = settings.matrix_element
    keys = ("process", "matrix_element")
    if chosen is None:
        sources = every_source(card, *keys)
    else:
        sources = [named_source(chosen.program, chosen.settings, card, *keys)]
    # What the sources print goes to standard error: standard output is for events and results.
    with _placed(card), contextlib.redirect_stdout(sys.stderr):
        return HardProcess(settings, sources)


def grid_range(process: HardProcess) -> str:
    """Say for which momentum fractions and scales there are parton densities; nothing where there are none."""
    from mlgen.hard_process.maps import madspace_context
    from mlgen.hard_process.parton_densities import PartonDensities
    from mlgen.hard_process.pdf_files import find_pdf

    if process.settings.pdf is None:
        return ""
    grid = PartonDensities(find_pdf(process.settings.pdf), [21], madspace_context(1))
    return f"x from {grid.x_min:.3g} to {grid.x_max:.3g}, scales from {grid.q_min:.4g} to {grid.q_max:.4g} GeV"


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


@contextlib.contextmanager
def _placed(card: Card, key: str = "") -> Iterator[None]:
    """Say where in the card the key is that a `ProcessError` is about, as far as that is known."""
    try:
        yield
    except ProcessError as error:
        if not key and (about := _ABOUT.match(str(error))):
            key = about[1] or "channels"
        keys = ("process", key) if key else ("process",)
        what = f"[process] {key}".rstrip()
        raise type(error)(f"{card.place(*keys)}: {what}: {str(error).removeprefix(f'{key}: ')}") from error


def _entries(content: object, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _entries(value, f"{place}.{key}" if place else str(key))
    else:
        # As JSON has it: a tuple that was written comes back as a list.
        yield place, json.loads(json.dumps(content))


def _short(value: object) -> str:
    if value is None:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."
