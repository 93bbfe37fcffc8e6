"""What may stand in the card's section ``[process]``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from mlgen.errors import ProcessError, nearest
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.particles import find_particle, resolve_labels

BeamName = Literal["p", "p~", "e-", "e+"]
PROTONS = ("p", "p~")

#: The alpha_s of a reaction of leptons, which has no parton densities to take it from.
ALPHA_S_WITHOUT_PDF = 0.118

#: Scales that follow the event.
DYNAMIC_SCALES = ("ht", "ht/2", "sqrt(s-hat)")
_SCALE_MASS = re.compile(r"m\(([^\s()]+)\)")
_SCALES = "a number in GeV, 'ht', 'ht/2', 'sqrt(s-hat)' or the mass of a particle as in 'm(z)'"


def _check_scale(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{value!r} is no scale; expected is {_SCALES}")
    if not isinstance(value, str):
        if not 0 < value < float("inf"):
            raise ValueError(f"{value} GeV is no scale; it has to be greater than 0")
        return float(value)
    tidy = re.sub(r"\s+", "", value).lower()
    if tidy in DYNAMIC_SCALES:
        return tidy
    name = mass_scale(tidy)
    if name is None:
        raise ValueError(f"'{value}' is no scale{nearest(tidy, DYNAMIC_SCALES)}; expected is {_SCALES}")
    try:
        find_particle(name)
    except ProcessError as error:
        raise ValueError(f"scale '{value}': {error}") from error
    return tidy


#: A fixed scale in GeV, or the name of one that follows the event.
Scale = Annotated[float | str, BeforeValidator(_check_scale)]


def mass_scale(scale: str) -> str | None:
    """Return the particle whose mass a scale of the settings is, as in ``m(z)``; None for one of another kind."""
    match = _SCALE_MASS.fullmatch(scale)
    return match[1] if match else None


def _check_bound(value: Any) -> Any:
    both = list(value) if isinstance(value, (list, tuple)) else [value]
    numbers = [bound for bound in both if isinstance(bound, (int, float)) and not isinstance(bound, bool)]
    if len(numbers) != len(both) or (isinstance(value, (list, tuple)) and len(both) != 2):
        raise ValueError(f"{value!r} is no cut; expected is a number, or [minimum, maximum]")
    if not (all(bound >= 0 for bound in numbers) and math.isfinite(numbers[0])):
        raise ValueError(f"{value!r} is no cut; bounds are numbers that are not negative, and only a maximum is 'inf'")
    if len(numbers) == 2 and not numbers[0] < numbers[1]:
        raise ValueError(f"{value!r} leaves no phase space: the minimum has to be below the maximum")
    return tuple(map(float, numbers)) if len(numbers) == 2 else float(numbers[0])


#: One number or ``(minimum, maximum)``.
Bound = Annotated[float | tuple[float, float], BeforeValidator(_check_bound)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CutSettings(_Section):
    """Which outgoing particles are looked at. A key names particles or labels, and holds for all that fit."""

    pt: dict[str, Bound] = Field(
        {}, description="transverse momentum in GeV: a minimum or [minimum, maximum], as in { j = 20 }"
    )
    eta: dict[str, Bound] = Field({}, description="|pseudorapidity|: a maximum or [minimum, maximum]")
    rapidity: dict[str, Bound] = Field({}, description="|rapidity|: a maximum or [minimum, maximum]")
    delta_r: dict[str, Bound] = Field(
        {},
        description='distance of two in pseudorapidity and azimuth: a minimum or [minimum, maximum]: { "j j" = 0.4 }',
    )
    mass: dict[str, Bound] = Field(
        {},
        description="invariant mass of two or more in GeV: a minimum or [minimum, maximum], "
        'as in { "mu+ mu-" = [60, 120] }',
    )

    @model_validator(mode="after")
    def _as_many_names_as_it_takes(self) -> Self:
        for observable, (fewest, most) in _NAMES_OF_CUT.items():
            for key in getattr(self, observable):
                if not fewest <= len(key.split()) <= most:
                    raise ValueError(
                        f'the cut {observable} = {{ "{key}" = ... }} takes {_in_words(fewest, most)}, '
                        f"not {len(key.split())}"
                    )
                if getattr(self, observable)[key] == 0 and observable in _UPPER_BOUNDS:
                    raise ValueError(
                        f'the cut {observable} = {{ "{key}" = 0 }} leaves no phase space: 0 is the maximum'
                    )
        return self


#: How many particles a cut takes, at least and at most.
_NAMES_OF_CUT: Mapping[str, tuple[int, int]] = {
    "pt": (1, 1),
    "eta": (1, 1),
    "rapidity": (1, 1),
    "delta_r": (2, 2),
    "mass": (2, 99),
}


#: Those for which one number is a maximum; for the others it is a minimum.
_UPPER_BOUNDS = frozenset({"eta", "rapidity"})


def cut_limits(observable: str, bound: float | tuple[float, float]) -> tuple[float, float]:
    """Return minimum and maximum of a cut of `CutSettings`."""
    if isinstance(bound, tuple):
        return bound
    return (0.0, bound) if observable in _UPPER_BOUNDS else (bound, math.inf)


def _in_words(fewest: int, most: int) -> str:
    if fewest == most:
        return "one particle" if most == 1 else "two particles"
    return "two particles or more"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


class ChannelSettings(_Section):
    """Phase-space channels beyond or instead of those of the diagrams. They change the efficiency, not the result."""

    only: Names | None = Field(None, description="these channels alone; all when left out")
    drop: Names = Field((), description="channels to leave out")
    add: Names = Field((), description="channels to add to those of the diagrams")


class MatrixElementSettings(BaseModel):
    """Where |M|^2 comes from; all other keys are settings of that source."""

    model_config = ConfigDict(extra="allow", frozen=True)

    program: str = Field(description="name of the source, as 'mlgen plugins' lists them")

    @property
    def settings(self) -> dict[str, Any]:
        """The source's own keys."""
        return dict(self.model_extra or {})


def _as_program(value: Any) -> Any:
    return {"program": value} if isinstance(value, str) else value


def _check_beams(value: Any) -> Any:
    beams = list(value) if isinstance(value, (list, tuple)) else None
    known = get_args(BeamName)
    if beams is None or len(beams) != 2:
        raise ValueError(f'{value!r} are no two beams; expected are two of {", ".join(known)}, as in ["p", "p"]')
    for beam in beams:
        if beam not in known:
            raise ValueError(f"there is no beam '{beam}'{nearest(str(beam), known)}; there are: {', '.join(known)}")
    if len({beam in PROTONS for beam in beams}) > 1:
        raise ValueError(f"{beams[0]} on {beams[1]} is not supported; both beams have to be (anti)protons, or leptons")
    return beams


def _check_alpha_s(value: Any) -> Any:
    if value is None or value == "pdf":
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"{value!r} is no alpha_s; expected is a number greater than 0, or 'pdf'")
    return float(value)


class ProcessSettings(_Section):
    """The section ``[process]``: a reaction to compute.

    Checked are the settings by themselves; the reaction they give is checked by `mlgen.hard_process.reaction`.
    """

    reaction: str = Field(description="for instance 'p p > mu+ mu- j', of particles and labels as in MadGraph")
    beams: Annotated[tuple[BeamName, BeamName], BeforeValidator(_check_beams)] = Field(
        ("p", "p"), description="two of p, p~, e- and e+, in the order of the incoming particles"
    )
    energy: float = Field(gt=0, allow_inf_nan=False, description="of both beams together, in GeV; equal beams")
    pdf: str | None = Field(
        None,
        description="parton densities: the name of an LHAPDF set, of which member 0 is taken, or a file (.dat); "
        "for beams of protons",
    )
    scale: Scale = Field(
        "ht/2",
        description="factorisation and renormalisation scale: a number in GeV, 'ht/2' (half the sum of transverse "
        "masses of the outgoing particles), 'ht', 'sqrt(s-hat)', or the mass of a particle as in 'm(z)'",
    )
    factorisation_scale: Scale | None = Field(None, description="like scale, and in place of it for parton densities")
    renormalisation_scale: Scale | None = Field(None, description="like scale, and in place of it for alpha_s")
    alpha_s: Annotated[float | Literal["pdf"] | None, BeforeValidator(_check_alpha_s)] = Field(
        None,
        description="strong coupling: a fixed number, or 'pdf' to run as the parton densities do; left out: 'pdf' for "
        f"protons, {ALPHA_S_WITHOUT_PDF} for leptons",
    )
    labels: dict[str, str] = Field(
        {}, description='what labels stand for, in addition to p, j, l+, l-, vl, vl~: { b = "b b~" }'
    )
    parameters: ModelParameters = Field(
        ModelParameters(), description="masses, widths and couplings of the model, and a Z': { mass = { t = 172.5 } }"
    )
    cuts: CutSettings = Field(CutSettings(), description="cuts on the outgoing particles")
    channels: ChannelSettings = Field(ChannelSettings(), description="phase-space channels")
    matrix_element: Annotated[MatrixElementSettings | None, BeforeValidator(_as_program)] = Field(
        None,
        description="where |M|^2 comes from: a name, or { program = name, ... } with settings; left out: the first "
        "source that has the reaction",
    )

    @property
    def has_protons(self) -> bool:
        """Whether the beams are of (anti)protons; they are of leptons otherwise."""
        return self.beams[0] in PROTONS

    @property
    def fixed_alpha_s(self) -> float | None:
        """The strong coupling where it is a number; None where it runs as the parton densities say."""
        if self.alpha_s is None:
            return None if self.has_protons else ALPHA_S_WITHOUT_PDF
        return None if isinstance(self.alpha_s, str) else self.alpha_s

    @property
    def scales(self) -> tuple[float | str, float | str]:
        """The factorisation and the renormalisation scale that hold."""
        return (
            self.scale if self.factorisation_scale is None else self.factorisation_scale,
            self.scale if self.renormalisation_scale is None else self.renormalisation_scale,
        )

    @field_validator("labels")
    @classmethod
    def _labels_stand_for_particles(cls, labels: dict[str, str]) -> dict[str, str]:
        try:
            resolve_labels(labels)
        except ProcessError as error:
            raise ValueError(str(error)) from error
        return labels

    @model_validator(mode="after")
    def _parton_densities_for_protons(self) -> Self:
        beams = f"{self.beams[0]} and {self.beams[1]}"
        if self.has_protons and not self.pdf:
            raise ValueError(
                f"beams of {beams} need parton densities; name an LHAPDF set, as in pdf = 'NNPDF23_lo_as_0130_qed'"
            )
        if not self.has_protons and self.pdf:
            raise ValueError(f"pdf = '{self.pdf}' has no effect: {beams} have no parton densities here; take it out")
        if not self.has_protons and self.alpha_s == "pdf":
            raise ValueError(
                f"alpha_s = 'pdf', but {beams} have no parton densities to take it from; give a number, or take it out"
            )
        return self

    @model_validator(mode="after")
    def _refuse_a_scale_without_effect(self) -> Self:
        # By value, not by `model_fields_set`: what `model_dump` gives has to be accepted again.
        default = type(self).model_fields["scale"].default
        if self.scale != default and None not in (self.factorisation_scale, self.renormalisation_scale):
            raise ValueError(
                "scale has no effect where factorisation_scale and renormalisation_scale are set; take one of them out"
            )
        return self
