"""Settings of the `caloflow` surrogate, as they stand in a card."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mlgen.stages import USE_TIME, Settings


class CaloFlowSettings(Settings):
    """Settings of the `caloflow` surrogate."""

    sampler: Literal["student", "teacher"] = Field(
        "student",
        description="which of the two flows makes showers: the student is faster, the teacher more accurate",
        json_schema_extra={USE_TIME: True},
    )
    training_showers: int = Field(
        200_000, ge=10, description="most showers to learn from, drawn at random from more; memory grows with it"
    )
    threshold: float = Field(
        1e-4, gt=0, description="smallest energy of a voxel, MeV; less counts as nothing, in the training showers too"
    )
    passes: float = Field(16.0, gt=0, description="passes through the training showers, of the teacher")
    student_passes: float = Field(16.0, ge=0, description="the same, of the student; 0: there is none")
    layer_passes: float = Field(60.0, gt=0, description="the same, of the flow of layer energies")
    fewest_steps: int = Field(300, ge=1, description="optimisation steps at least, however few the showers")
    batch_size: int = Field(64, ge=2, le=100_000, description="showers in one optimisation step")
    learning_rate: float = Field(4e-3, gt=0, le=1, description="largest learning rate; falls to zero like a cosine")
    patience: float = Field(
        0.3, gt=0, le=1, description="share of the steps without a better held-out loss after which a training stops"
    )
    width: int = Field(32, ge=4, le=1024, description="channels of the teacher's network")
    depth: int = Field(3, ge=1, le=32, description="blocks of the teacher's network")
    groups: int = Field(4, ge=1, le=64, description="groups of channels that mix voxels by weights of their own")
    bins: int = Field(10, ge=2, le=64, description="bins of the splines")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the channels left out in each training step")
    student_steps: int = Field(
        12,
        ge=1,
        description="groups of voxels that the student makes one after the other, about; one for each layer at least",
    )
    student_width: int = Field(192, ge=8, le=8192, description="width of the student's networks of what is known")
    mirrors: bool = Field(
        True,
        description="learn from mirrored and turned showers too, where voxels and training showers allow it",
    )
    stored: Literal["single", "half"] = Field(
        "single", description="numbers of the model on disk; 'half' rounds what was learned, for half the size"
    )
    precision: Literal["auto", "single", "mixed"] = Field(
        "auto", description="numbers of the training's matrix products: bfloat16 where the processor has it, or single"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where networks live", json_schema_extra={USE_TIME: True}
    )

    @model_validator(mode="after")
    def _groups_divide(self) -> CaloFlowSettings:
        if self.width % self.groups:
            raise ValueError(f"width {self.width} is no multiple of groups {self.groups}")
        if self.sampler == "student" and self.student_passes == 0:
            raise ValueError('student_passes = 0: there is no student; say sampler = "teacher" as well')
        return self
