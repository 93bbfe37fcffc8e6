"""What may stand in the card beside ``program = "umami"``."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from mlgen.stages import Settings


class UmamiSettings(Settings):
    """Where the libraries are: the folder that MadGraph wrote, or one library for each reaction."""

    folder: str | None = Field(None, description="what MadGraph's 'output mg7' wrote, compiled with 'make'")
    libraries: dict[str, str] = Field(
        {}, description="library of each subprocess, instead of a folder: { 'g g > t t~ g' = 'libumami.so' }"
    )
    param_card: str | None = Field(
        None, description="parameters of the model; Cards/param_card.dat of the folder when left out"
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.folder is None) == (not self.libraries):
            raise ValueError("say where the matrix elements are: folder or libraries, one of them")
        if self.libraries and self.param_card is None:
            raise ValueError("libraries need a param_card")
        return self
