"""Finds the program that simulates a detector, and makes it with the card's settings."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from mlgen.card import Card
from mlgen.chain.tools import find_tool, tool_errors
from mlgen.detector_simulation import DetectorSimulation
from mlgen.errors import DetectorError, InputError, PluginError, PluginFailure
from mlgen.formats.shower_geometry import geometry_from_json
from mlgen.hookspecs import Tool
from mlgen.plugins import Registered, plugin_manager
from mlgen.showers import PDG_IDS, Geometry
from mlgen.stages import Settings

_KIND = "detector_simulations"
#: Key of [detector] that is the card's own.
_GEOMETRY = "geometry"


def find_simulation(card: Card) -> Registered[Tool]:
    """Find the program that the card's [detector] names, or the only one there is.

    Raises:
        CardError: The card names one that is not there, or that two packages offer.
        PluginError: The card names none, and there is none, or there are several.
    """
    name = card.model.detector.program if card.model.detector is not None else None
    if name is None:
        tools = plugin_manager().tools[_KIND]
        if len(tools) == 1:
            return tools[0]
        known = ", ".join(registered.offer.name for registered in tools)
        problem = f"there are several: {known}; name one with --program" if tools else "there is none"
        raise PluginError(
            f"no program that simulates a detector was named, and {problem}{plugin_manager().failure_advice()}"
        )
    return find_tool(_KIND, "simulation of a detector", name, card, "detector", "program")


def settings_of(registered: Registered[Tool], card: Card) -> Any:
    """Check the program's settings in the card's [detector].

    Raises:
        CardError: A key is unknown or a value is not allowed.
        PluginFailure: The program has a setting that is a key of the card's own.
    """
    if _GEOMETRY in registered.offer.settings.model_fields:
        raise PluginFailure(
            f"{_described(registered)} has a setting '{_GEOMETRY}', but that key of [detector] is the card's own"
        )
    section = card.model.detector
    own = (section.model_extra or {}) if section is not None else {}
    return card.checked(own, registered.offer.settings, "detector")


def geometry_of(card: Card, pdg_id: int) -> Geometry | None:
    """Read the voxels that the card's [detector] names, for an incident particle; None where it names none.

    Raises:
        InputError: The file cannot be used, or has no voxels for the particle.
    """
    section = card.model.detector
    if section is None or section.geometry is None:
        return None
    path = card.path(section.geometry)
    if path.suffix.lower() == ".json":
        return geometry_from_json(path)
    binnings = Geometry.all_from_xml(path)
    # A binning for electrons is one for positrons too.
    for wanted in (pdg_id, -pdg_id):
        for name, binning in binnings.items():
            if PDG_IDS.get(name) == wanted:
                return _not_empty(binning, path)
    raise InputError(
        str(path),
        f"has no binning for the particle {pdg_id}; there is one for: {', '.join(sorted(binnings)) or 'nothing'}",
        advice="Choose another --particle, or another file.",
    )


def _not_empty(binning: Geometry, path: Path) -> Geometry:
    if not binning.layers:
        raise InputError(str(path), f"the binning for '{binning.particle}' has no layer with two radial edges or more")
    return binning


def make_simulation(registered: Registered[Tool], settings: Settings, geometry: Geometry | None) -> DetectorSimulation:
    """Make a simulation.

    Raises:
        DetectorError: It cannot do what was asked, or what it needs is not installed.
        PluginFailure: It failed, or is no simulation of a detector.
    """
    with simulation_errors(registered):
        made = registered.offer.factory()(settings, geometry)
    if not isinstance(made, DetectorSimulation):
        raise PluginFailure(
            f"{_described(registered)}: the factory's class made {made!r}; a "
            "mlgen.detector_simulation.DetectorSimulation is expected"
        )
    return made


def simulation_errors(registered: Registered[Tool]) -> contextlib.AbstractContextManager[None]:
    """Report an exception from inside a simulation with its name and version; mlgen's own errors pass."""
    return tool_errors(registered, "simulation", needs="the {} needs", missing=DetectorError)


def _described(registered: Registered[Tool]) -> str:
    return f"simulation '{registered.offer.name}' of {registered.source}"


def plain_geometry(geometry: Geometry) -> Any:
    """Return a geometry as plain types."""
    return json.loads(geometry.to_json())
