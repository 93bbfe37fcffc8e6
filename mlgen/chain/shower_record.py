"""What a file of simulated showers says of how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import mlgen
from mlgen.chain.detector_simulations import plain_geometry
from mlgen.particle_gun import NAMES
from mlgen.showers import PDG_IDS, Geometry

if TYPE_CHECKING:
    from mlgen.chain.gun_plan import ShowerPlan


def particle_name(plan: ShowerPlan) -> str:
    """What the binning calls the particle; a name of our own where that means another one."""
    pdg_id = plan.gun.settings.pdg_id
    if plan.geometry is not None and PDG_IDS.get(plan.geometry.particle) == pdg_id:
        return plan.geometry.particle
    return NAMES.get(pdg_id, str(pdg_id))


def record_of(plan: ShowerPlan, description: Mapping[str, Any], geometry: Geometry) -> dict[str, Any]:
    """All that the showers depend on."""
    return {
        "mlgen": mlgen.__version__,
        "seed": plan.seed,
        "showers": plan.showers,
        "particle_gun": plan.gun.settings.model_dump(mode="json") | {"energies": plan.gun.energies},
        "detector": {
            "program": plan.registered.offer.name,
            "version": plan.registered.source.version,
            "distribution": plan.registered.source.distribution,
            "settings": plan.settings.model_dump(mode="json"),
            "description": dict(description),
        },
        "geometry": plain_geometry(geometry),
    }


def provenance_of(plan: ShowerPlan, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the output says of how it was made. No times and no paths of it, so that the same run gives the same bytes.

    The geometry is beside it in the file.
    """
    own = {name: record[name] for name in ("seed", "showers", "detector")}
    gun = dict(record["particle_gun"])
    if plan.gun.settings.energies is None and plan.gun.energies is not None:
        # As many as there are showers, and in the file anyway.
        gun["energies"] = None
    return {
        "program": "mlgen",
        "version": mlgen.__version__,
        "command": "simulate-showers",
        **own,
        "particle_gun": gun,
        "inputs": [name for name in (plan.gun.settings.file,) if name is not None],
        "stages": [],
        "card": plan.card.text,
        **({"changed": dict(plan.card.changed)} if plan.card.changed else {}),
    }


def attributes_of(plan: ShowerPlan, description: Mapping[str, str | int | float]) -> dict[str, str | int | float]:
    """Attributes of the file: the program, the seed, and what the program says of itself."""
    source = plan.registered.source
    return {
        "detector_simulation": f"{plan.registered.offer.name} of {source}",
        "seed": plan.seed,
        **description,
    }
