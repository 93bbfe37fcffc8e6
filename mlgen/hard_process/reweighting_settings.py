"""What may stand in the card's section ``[reweighting]``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from mlgen.hard_process.parameters import ModelParameters

#: Name of the new weight where the card gives none.
DEFAULT_NAME = "mlgen.reweighted"
#: What every event format keeps as it is in a weight's name.
_NAME = re.compile(r"[^\s<>&\"']+")


class AmplitudeChoice(BaseModel):
    """Where |M|^2 of events comes from: a source of matrix elements, or a trained surrogate.

    All other keys are settings of the source of matrix elements.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    program: str | None = Field(
        None, description="name of a source of matrix elements, as 'mlgen plugins' lists them; or give model"
    )
    model: str | None = Field(None, description="folder of a trained surrogate of an amplitude; or give program")
    parameters: ModelParameters | None = Field(
        None,
        description="masses, widths and couplings of the matrix elements, and a Z': { mass = { t = 172.5 } }; "
        "the defaults are those of [process]",
    )

    outside: Literal["flag", "stop"] = Field(
        "flag",
        description="of a surrogate, what becomes of events outside the region of its training: the weight "
        "NAME.inside is zero there, or the run stops",
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The own keys of the source of matrix elements."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.program is None) == (self.model is None):
            raise ValueError(
                "say where |M|^2 comes from: program = 'NAME', a source of matrix elements, or model = 'FOLDER', "
                "a trained surrogate; one of them"
            )
        surplus = [*self.settings, *([] if self.parameters is None else ["parameters"])]
        if self.model is not None and surplus:
            raise ValueError(f"{', '.join(surplus)}: a trained surrogate has what it was trained with; take it out")
        if self.model is None and "outside" in self.model_fields_set:
            raise ValueError("outside: a matrix element is right everywhere; take it out")
        return self


def _as_program(value: Any) -> Any:
    return {"program": value} if isinstance(value, str) else value


Amplitude = Annotated[AmplitudeChoice, BeforeValidator(_as_program)]


class ReweightingSettings(BaseModel):
    """The section ``[reweighting]``: a named weight that is the nominal one times |M_new|^2 / |M_old|^2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(DEFAULT_NAME, description="name of the new weight")
    new: Amplitude = Field(
        description="|M|^2 to go to: the name of a source of matrix elements, { program = name, parameters = {...} } "
        "or { model = folder }"
    )
    old: Amplitude = Field(description="|M|^2 that the events were made with; as new")
    negligible_mass: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="masses of the events up to this, in GeV, are left out where the parameters have none: event "
        "generators give muons and light quarks one",
    )

    @property
    def uses_surrogate(self) -> bool:
        """Whether one of both is a trained surrogate, so that the weight is approximate."""
        return self.new.model is not None or self.old.model is not None

    @property
    def flags_outside(self) -> bool:
        """Whether events outside the region of a surrogate's training get a weight of their own that is zero."""
        return any(side.model is not None and side.outside == "flag" for side in (self.new, self.old))

    @field_validator("name")
    @classmethod
    def _can_be_written(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a name of a weight is one word, without quotes and without < > &")
        return name


def as_tables(value: Any) -> Any:
    """Take one table ``[reweighting]`` for a list of one."""
    return [value] if isinstance(value, dict) else value
