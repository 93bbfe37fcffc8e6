"""What may stand in the card's section ``[unweighting]``."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mlgen.stages import Settings

#: The choice of `HitOrMissSettings.maximum` that each other setting belongs to.
_BELONGS_TO = {
    "quantile": "quantile",
    "overweight_share": "overweight-share",
    "median_of": "median",
    "efficiency": "efficiency",
    "maximum_weight": "value",
}
#: Those of them that have no default.
_NEEDED = ("efficiency", "maximum_weight")


class HitOrMissSettings(Settings):
    """How the maximum weight of a hit-or-miss unweighting is chosen, from the candidates' weights themselves."""

    maximum: Literal["sample", "quantile", "overweight-share", "median", "efficiency", "value"] = Field(
        "sample",
        description="'sample': the largest |w|, no overweights; 'quantile': the |w| below which a fraction of the "
        "candidates lies; 'overweight-share': the smallest maximum above which no more than a share of sum |w| lies; "
        "'median': the median of the largest |w| of samples drawn from the candidates; 'efficiency': the largest "
        "maximum with which a share of the candidates is accepted; 'value': maximum_weight",
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
    median_of: int = Field(
        10_000,
        ge=1,
        description="candidates in each of the samples, those of weight 0 included; for maximum = 'median'",
    )
    efficiency: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the candidates with a weight other than 0 that is to be accepted, at least; "
        "for maximum = 'efficiency', which needs it",
    )
    maximum_weight: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="|w| up to which candidates are unweighted, in the unit of their weights (pb); "
        "for maximum = 'value', which needs it",
    )
    largest_overweight: float | None = Field(
        None,
        ge=1,
        allow_inf_nan=False,
        description="largest |w| in units of the maximum: where it is more, the maximum is raised; "
        "for every maximum but 'sample', which has no overweights",
    )
    maximum_per: Literal["sample", "process", "channel"] = Field(
        "sample",
        description="'sample': one maximum for all candidates; 'process', 'channel': one for each process, or for "
        "each channel of phase space. More is accepted, but event weights are then constant within a group only",
    )

    @model_validator(mode="after")
    def _refuse_what_has_no_effect(self) -> Self:
        for name, choice in _BELONGS_TO.items():
            if name in self.model_fields_set and getattr(self, name) is not None and self.maximum != choice:
                raise ValueError(
                    f"{name} is set, but has no effect with maximum = '{self.maximum}'; "
                    f"set maximum = '{choice}', or take {name} out"
                )
        if self.maximum == "sample" and self.largest_overweight is not None:
            raise ValueError(
                "largest_overweight is set, but has no effect with maximum = 'sample', which has no overweights; "
                "choose another maximum, or take largest_overweight out"
            )
        if self.maximum == "value" and self.maximum_per != "sample" and self.largest_overweight is None:
            raise ValueError(
                f"maximum_per = '{self.maximum_per}' has no effect with maximum = 'value', which is the same for all; "
                "choose another maximum, set largest_overweight, or take maximum_per out"
            )
        return self

    @model_validator(mode="after")
    def _require_what_has_no_default(self) -> Self:
        for name in _NEEDED:
            if self.maximum == _BELONGS_TO[name] and getattr(self, name) is None:
                raise ValueError(f"maximum = '{self.maximum}' needs {name}, which has no default; set it")
        return self
