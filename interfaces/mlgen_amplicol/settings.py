"""What may stand in the card beside ``program = "amplicol"``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlgen.stages import Settings


class AmplicolSettings(Settings):
    """How matrix elements are generated, and where they are kept."""

    cache: str | None = Field(
        None, description="folder of the generated matrix elements; $MLGEN_CACHE/amplicol or ~/.cache/mlgen/amplicol"
    )
    execution: Literal["compiled", "recurrence", "eager"] = Field(
        "compiled",
        description="'compiled': the fastest to evaluate; the others are generated faster with many particles",
    )
    threads: int | None = Field(
        None, gt=0, description="threads that evaluate; $OMP_NUM_THREADS or the number of cores when left out"
    )
    wait: float = Field(
        1800, ge=0, description="seconds to wait while another process of this machine generates matrix elements"
    )
