"""What the packages of the five stages differ in, as far as it is not in their own templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlgen.stages import CONTRACTS, Stage


@dataclass(frozen=True, slots=True)
class StagePackage:
    """The package of one stage.

    Args:
        does: What plugins of the stage do, in a few words.
        description: What the package is, as the beginning of a sentence.
        about: What its model does, for the README: one or two sentences.
        module: The module that implements the contract, without suffix.
        requirements: What its modules import besides mlgen.
        outputs: Files that the card writes, beside models.
        input_note: What the card starts from, for the README.
        elsewhere: What to do with a network that was trained elsewhere, for the README.
        more: Further modules of the package, and what they are.
        shared: Those of them whose template several stages have.
    """

    does: str
    description: str
    about: str
    module: str
    requirements: tuple[str, ...]
    outputs: tuple[str, ...]
    input_note: str
    elsewhere: str
    more: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=lambda: _CHECKS)


#: mlgen itself checks what the density of a generator returns.
_CHECKS: Mapping[str, str] = {"model_checks.py": "checks what the model returns, and keeps its arrays"}

#: The package of each stage, in the order of the chain.
STAGE_PACKAGES: Mapping[Stage, StagePackage] = {
    Stage.PHASE_SPACE: StagePackage(
        does="draws points of phase space, with their density",
        description="A sampler of phase space",
        about="One histogram for each dimension and each group of channels is adapted to the integrand, as in VEGAS "
        "but with bins of equal width. Exact: weights average to the cross section whatever was learned.",
        module="sampler",
        requirements=("numpy", "pydantic"),
        outputs=("events.lhe.gz",),
        input_note="`card.toml` starts from the process `e+ e- > mu+ mu-`, which needs no input file.",
        elsewhere="load it in `Model.initialise`, from a file that a setting names, and let `learn` and `adapt` do "
        "nothing. The host draws as many points of each channel as their weights ask for.",
    ),
    Stage.AMPLITUDE: StagePackage(
        does="stands in for |M|^2, with an uncertainty",
        description="A surrogate of the matrix element",
        about="An ensemble of regressions on random features of Lorentz invariants learns the logarithm of |M|^2, "
        "whatever the order of like particles. The spread of the ensemble is the statistical error; the systematic one "
        "is the error on points that were not learned from.",
        module="surrogate",
        requirements=("numpy", "pydantic"),
        outputs=("events.lhe.gz",),
        input_note="`card.toml` starts from the process `e+ e- > mu+ mu-`, and draws its training points from it.",
        elsewhere="read its arrays in `Model.fit`, from a file that a setting names, and give them in `state`. "
        "Inputs are scaled by the training points of the card, so that it has to have seen the same; where it has "
        "other inputs, change `invariants.py` too.",
        more={"invariants.py": "Lorentz invariants of the process"},
    ),
    Stage.UNWEIGHTING: StagePackage(
        does="makes unit-weight events of weighted ones",
        description="An unweighting",
        about="Hit-or-miss, with the smallest maximum that leaves no more than a share of the cross section in the "
        "excess of overweights. Signs and excess are kept. Exact: averages are those of the weighted events.",
        module="unweighter",
        requirements=("numpy", "pydantic"),
        outputs=("unweighted.lhe.gz",),
        input_note="`card.toml` reads `weighted.lhe.gz`: 5,000 invented events, some of negative weight.",
        elsewhere="for a network that predicts weights, look at `train` and `learns` of the contract, and at "
        "`mlgen.stages.Candidates.features`; the host calls `train` before `prepare` where `learns` is true.",
    ),
    Stage.GENERATOR: StagePackage(
        does="generates whole hard events, learned from events",
        description="A generator of hard events",
        about="A mixture of normal distributions whose shares and means a small network gives. What it learns are "
        "points of order one; momenta, flavours, colours and weights are made by mlgen, so that events are valid "
        "whatever was learned.",
        module="generator",
        requirements=("numpy", "pydantic", "torch"),
        outputs=("new.lhe.gz",),
        input_note="`card.toml` learns from `events.lhe.gz`: 3,000 invented events like `q q~ > Z (g) > mu- mu+`.",
        elsewhere="load its weights in `Model.initialise`, from a file that a setting names, and set `steps = 1` and a "
        "small `learning_rate` in the card. It has to be a density of mlgen's points (`mlgen.representation`), so that "
        "it has to be trained on those.",
        shared={},
    ),
    Stage.CALORIMETER: StagePackage(
        does="gives the cells that one particle lights up",
        description="A calorimeter surrogate",
        about="A library of frozen showers: of those of the same particle that are nearest in energy one is drawn, "
        "scaled to the energy of the particle, and turned or mirrored as far as the bins allow it. No shower deposits "
        "a larger share of its energy than one of the training does.",
        module="surrogate",
        requirements=("numpy", "pydantic"),
        outputs=("cells.root", "cells.h5"),
        input_note="`card.toml` reads `events.lhe.gz`, 200 invented events with electrons, and learns from "
        "`showers.h5`, 2,000 invented showers of photons.",
        elsewhere="read its arrays in `Model.learn`, from a file that a setting names, give them in `state`, and use "
        "them in `voxels`. The card then still needs some showers: they say what the voxels are, and which particles "
        "and energies the network knows.",
    ),
}


def contract_name(stage: Stage) -> str:
    """Name of the class that plugins of a stage implement."""
    return CONTRACTS[stage].__name__
