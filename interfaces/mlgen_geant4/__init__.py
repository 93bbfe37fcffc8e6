"""`geant4`: showers in a sampling calorimeter, from Geant4 through geant4-pybind.

Geant4 runs in a process of its own: it can be set up once in a process only, and takes the process down with it when
something is wrong. Nothing of it is imported in the process of the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlgen.hookspecs import Tool, hookimpl
from mlgen_geant4.settings import Geant4Settings

__all__ = ["Geant4Settings", "mlgen_detector_simulations"]


def _simulation() -> type[Any]:
    from mlgen_geant4.simulation import Geant4Simulation

    return Geant4Simulation


@hookimpl
def mlgen_detector_simulations() -> Iterator[Tool]:
    """Offer Geant4."""
    yield Tool(
        name="geant4",
        factory=_simulation,
        settings=Geant4Settings,
        summary="a sampling calorimeter in Geant4; e-, e+ and photons also without Geant4's data files",
        requires="geant4",
        references=("doi:10.1016/S0168-9002(03)01368-8", "doi:10.1016/j.nima.2016.06.125"),
        contract_version=1,
    )
