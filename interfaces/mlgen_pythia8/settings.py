"""What may stand in the card beside ``program = "pythia8"``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mlgen.stages import Settings


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Pythia8Settings(Settings):
    """How events are showered."""

    settings: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        (), description='settings of Pythia, as in "PartonLevel:MPI = off"; they come after those of settings_file'
    )
    settings_file: str | None = Field(None, description="file with settings of Pythia, one a line (.cmnd)")
    variations: bool = Field(
        False, description="whether Pythia's variations of the shower (UncertaintyBands) go out as named weights"
    )
    workers: int | None = Field(
        None, ge=1, le=1024, description="processes that shower; one for each core when left out"
    )
