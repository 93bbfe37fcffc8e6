"""What may stand in the card's section ``[unweighting]``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mlgen.stages import Settings

#: The choice of `HitOrMissSettings.maximum` that each other setting belongs to.
_BELONGS_TO = {"quantile": "quantile", "overweight_share": "overweight-share"}


class HitOrMissSettings(Settings):
    """How the maximum weight of a hit-or-miss unweighting is chosen, from the candidates' weights themselves."""

    maximum: Literal["sample", "quantile", "overweight-share"] = Field(
        "sample",
        description="'sample': the largest |w|, no overweights; 'quantile': the |w| below which a fraction of the "
        "candidates lies; 'overweight-share': the smallest maximum above which no more than a share of sum |w| lies",
    )
    quantile: float = Field(
        0.999,
        gt=0,
        le=1,
        description="fraction of the candidates with a weight other than 0 that lies below the maximum; "
        "for maximum = 'quantile'",
    )
    overweight_share: float = Field(
        0.001,
        ge=0,
        lt=1,
        description="share of sum |w| that may lie above the maximum, as the excess of overweights; "
        "for maximum = 'overweight-share'",
    )

    @model_validator(mode="after")
    def _refuse_what_has_no_effect(self) -> Self:
        for name, choice in _BELONGS_TO.items():
            if name in self.model_fields_set and self.maximum != choice:
                raise ValueError(
                    f"{name} is set, but has no effect with maximum = '{self.maximum}'; "
                    f"set maximum = '{choice}', or take {name} out"
                )
        return self
