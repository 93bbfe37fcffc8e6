"""The table of what became of the final particles in front of a calorimeter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlgen.report.page import Code, Column, Kind, Table


def particles_table(particles: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of particles by kind and fate.

    Args:
        particles: Entries with ``particle``, ``pdg_id``, ``fate``, ``count`` and ``energy`` (GeV).
    """
    columns = (
        Column("particle"),
        Column("PDG id"),
        Column("what became of them"),
        Column("number", Kind.NUMBER),
        Column("energy", Kind.NUMBER, "GeV", description="summed, events not weighted"),
    )
    rows = [
        (entry["particle"], Code(str(entry["pdg_id"])), entry["fate"], entry["count"], entry["energy"])
        for entry in particles
    ]
    return Table("Final particles in front of the calorimeter", columns, rows)
