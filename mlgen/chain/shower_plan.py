"""Plans the [shower] of a card: finds the program, and checks its settings and what is to be written."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgen.card import Card, ToolSection
from mlgen.chain.tools import find_tool, tool_errors
from mlgen.errors import CardError, PluginFailure
from mlgen.formats.catalogue import format_for_output
from mlgen.hookspecs import Tool
from mlgen.parton_shower import PartonShower, ShowerError
from mlgen.plugins import Registered
from mlgen.stages import Settings

#: How a message begins that is about a key of [shower].
_ABOUT = re.compile(r"\[shower\] (\w+)")


@dataclass(frozen=True, slots=True)
class PlannedShower:
    """A parton shower with its checked settings, ready for one run."""

    registered: Registered[Tool]
    settings: Settings
    program: PartonShower

    @property
    def name(self) -> str:
        """Name of the program."""
        return self.registered.offer.name


def planned_shower(card: Card, outputs: Sequence[Path]) -> PlannedShower | None:
    """Check the [shower] of a card; None where it has none.

    Raises:
        CardError: There is no such program, it does not take the settings, or no output can hold showered events.
        mlgen.errors.PluginError: What it needs is not installed.
        PluginFailure: It failed.
    """
    section = card.model.shower
    if section is None:
        return None
    registered, settings = checked_shower(card, section)
    format_name = card.model.output.format if card.model.output is not None else None
    if not any(format_for_output(path, format_name).shower_level for path in outputs):
        names = ", ".join(map(str, outputs))
        raise CardError(
            f"{card.place('output', 'files')}: [output] files: {names}: none of them can hold showered events, which "
            "[shower] makes; write HepMC (.hepmc3) or ROOT (.root), or leave [shower] out"
        )
    with shower_errors(registered):
        implementation: Any = registered.offer.factory()
        if not (isinstance(implementation, type) and issubclass(implementation, PartonShower)):
            raise PluginFailure(
                f"parton shower '{registered.offer.name}' of {registered.source}: the factory gave {implementation!r}; "
                "a subclass of mlgen.parton_shower.PartonShower is expected"
            )
        program = implementation(settings)
        try:
            program.check(card.directory)
        except ShowerError as error:
            found = _ABOUT.match(str(error))
            place = card.place("shower", found[1]) if found else card.place("shower")
            raise CardError(f"{place}: {error}") from error
    return PlannedShower(registered, settings, program)


def checked_shower(card: Card, section: ToolSection) -> tuple[Registered[Tool], Settings]:
    """Find the program of a [shower] and check its keys, without making it.

    Raises:
        CardError: There is no such program, or it does not have such settings.
    """
    registered = find_tool("parton_showers", "parton shower", section.program, card, "shower", "program")
    return registered, card.checked(dict(section.model_extra or {}), registered.offer.settings, "shower")


def shower_errors(registered: Registered[Tool]) -> contextlib.AbstractContextManager[None]:
    """Report an exception from inside a parton shower with its name; mlgen's own errors pass."""
    return tool_errors(registered, "parton shower")
