"""What can be set for a validation: the card's [validation] section."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObservableSettings(_Section):
    """One observable of the user's own."""

    expression: str = Field(description="for instance \"m('mu-', 'mu+')\"")
    label: str | None = Field(None, description="for axes, as Matplotlib mathtext; the name when left out")
    unit: str = Field("", description="GeV, rad, ...")
    bins: int | None = Field(None, ge=2, le=1000, description="number of bins")
    range: tuple[float, float] | None = Field(None, description="lower and upper end of the axis")
    log: bool | None = Field(None, description="logarithmic axis; chosen from the values when left out")


class JetSettings(_Section):
    """Jets from the hadrons of shower-level events; needs the package fastjet."""

    algorithm: Literal["anti-kt", "kt", "cambridge-aachen"] = Field(
        "anti-kt", description="which particles are put together first"
    )
    radius: float = Field(0.4, gt=0, le=3, description="distance R in rapidity and azimuth")
    pt_min: float = Field(20.0, ge=0, description="smallest transverse momentum of a jet, GeV")
    abs_eta_max: float = Field(5.0, gt=0, description="largest |pseudorapidity| of a jet")


#: Events of each sample, and events that a comparison may use, below which there is no classifier test: a training on
#: half of them would learn noise, and the AUC would have an error of more than 0.04.
FEWEST_EVENTS = 200


class ClassifierSettings(_Section):
    """The classifier two-sample test."""

    methods: list[Literal["gradient boosting", "network"]] = Field(
        ["gradient boosting", "network"], min_length=1, description="classifiers to train"
    )
    seeds: int = Field(3, ge=1, le=100, description="trainings of each method")
    events: int = Field(50_000, ge=FEWEST_EVENTS, description="events of each sample that are used, at most")


class VoxelNetworkSettings(_Section):
    """The network of the low-level classifiers, and its training.

    Three hidden layers of 512 are CaloFlow's and the CaloChallenge's classifier (arXiv:2106.05285, sec. IV C;
    arXiv:2410.21611), which train it with Adam without regularisation; there 40,000 to 120,000 showers were at hand.
    """

    layers: int = Field(3, ge=1, le=10, description="hidden layers")
    width: int = Field(512, ge=8, le=8192, description="width of each")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of the activations that are dropped in training")
    batch_size: int = Field(256, ge=8, description="showers of both samples in a batch, half of each")
    learning_rate: float = Field(1e-3, gt=0, description="largest learning rate of AdamW, with a cosine schedule")
    weight_decay: float = Field(1e-2, ge=0, description="of AdamW")
    epochs: int = Field(30, ge=1, description="epochs, at most")
    patience: int = Field(5, ge=1, description="epochs without a better validation after which a training ends")
    training_share: float = Field(0.6, gt=0, lt=1, description="share of the showers that train")
    validation_share: float = Field(
        0.2, gt=0, lt=1, description="share that says which epoch is kept; the others are judged"
    )

    @model_validator(mode="after")
    def _some_are_judged(self) -> VoxelNetworkSettings:
        if self.training_share + self.validation_share >= 1:
            raise ValueError("training_share and validation_share leave no showers to judge; their sum must be below 1")
        return self


class ShowerSettings(_Section):
    """What is asked of calorimeter showers only."""

    threshold: float = Field(
        0.0, ge=0, description="MeV; voxel energies up to this count as zero for separation powers and classifiers"
    )
    showers: int = Field(
        50_000, ge=FEWEST_EVENTS, description="showers of each sample for separation powers and images, at most"
    )
    energies: list[Annotated[float, Field(gt=0)]] = Field(
        [10.0, 50.0, 100.0], description="GeV; average showers are also shown around these incident energies"
    )
    classifier_showers: int = Field(
        10_000, ge=FEWEST_EVENTS, description="showers of each sample for the low-level classifiers, at most"
    )
    forms: list[Literal["voxels", "normalised voxels", "logarithmic voxels"]] = Field(
        ["voxels", "normalised voxels", "logarithmic voxels"],
        description="what the low-level classifiers see; none, no such classifier",
    )
    floor_seeds: int = Field(1, ge=0, description="trainings of each low-level classifier for the null floor")
    network: VoxelNetworkSettings = VoxelNetworkSettings()


def _as_settings(value: Any) -> Any:
    return {"expression": value} if isinstance(value, str) else value


class ValidationSettings(_Section):
    """[validation]: what is compared, and how."""

    observables: dict[str, Annotated[ObservableSettings, BeforeValidator(_as_settings)]] = Field(
        default_factory=dict, description="observables of your own: a name and an expression, or a table"
    )
    select: str = Field("", description="only events for which this expression is true")
    only: list[str] = Field(default_factory=list, description="only observables whose names match ('pT(*)')")
    leave_out: list[str] = Field(default_factory=list, description="no observables whose names match")
    leading: int = Field(4, ge=1, le=20, description="leading objects of each type that are looked at")
    bins: int = Field(50, ge=2, le=1000, description="bins of a histogram; fewer for few events")
    band: list[str] = Field(
        ["mlgen.*.syst.*", "mlgen.*.stat.*"], description="named weights that make the uncertainty band"
    )
    jets: JetSettings = JetSettings()
    classifier: ClassifierSettings | Literal[False] = Field(
        default_factory=ClassifierSettings, description="false leaves the classifier out"
    )
    showers: ShowerSettings = ShowerSettings()
    significance: float = Field(0.01, gt=0, lt=0.5, description="chance of flagging a sample that does not differ")
