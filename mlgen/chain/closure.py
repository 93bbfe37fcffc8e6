"""Runs a chain with and without each stage that it replaces, and compares what comes out."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mlgen.card import Card, InputSection, OutputSection
from mlgen.chain.plan import plan_chain
from mlgen.chain.run import run_chain
from mlgen.errors import CardError
from mlgen.formats.reading import open_events
from mlgen.formats.writing import create_events
from mlgen.plugins import plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.stages import Reporter, Stage, silent
from mlgen.validation.comparing import validate
from mlgen.validation.record import ValidationResult
from mlgen.validation.samples import ReadingOptions, SampleFiles

#: Formats that keep all that an event of the input holds, by the format of the input.
_KEEPS = {"hepmc2": "hepmc3", "hepmc3": "hepmc3", "root": "root"}


def validate_chain(card: Card, reporter: Reporter = silent) -> ValidationResult:
    """Show what each replacement of a chain does to its observables.

    The reference is the chain with nothing replaced. It is compared with the chain in which one stage at a time is
    replaced as the card says, and with the chain in which all of them are. A stage that passes events on (unweighting)
    is given one random half of the input, and the reference is the other half: the same events on both sides would
    agree far too well. A generator learns from what the card says, all of the input.

    Of a [process], the reference is weighted events with the classical sampler (with its own settings), from a seed of
    its own: independent of all that it is compared with.

    Args:
        card: The card. Its outputs are not written; models that it names are trained and kept as in a run.
        reporter: Where progress goes.

    Raises:
        CardError: The card replaces nothing, or the chain without replacements cannot be run.
        mlgen.errors.MlgenError: Whatever goes wrong in a run.
    """
    # A calorimeter changes no event.
    replaced = [stage for stage in Stage if card.stage(stage) is not None and stage is not Stage.CALORIMETER]
    if not replaced and card.model.calorimeter is not None:
        raise CardError(
            f"{card.place('calorimeter')}: only the [calorimeter] is replaced, which changes no event; compare its "
            "showers with those of a simulation: mlgen validate --showers REFERENCE.h5 SHOWERS.h5"
        )
    if not replaced:
        raise CardError(f"{card.source}: no stage is replaced, so nothing can be compared; {_to_give(card)}")
    if card.model.process is not None:
        return _validate_process(card, replaced, reporter)
    if card.model.input is None:
        raise CardError(
            f"{card.source}: without [input] there is no chain to compare with: name the events that the chain would "
            "go on with if nothing were replaced"
        )
    inputs = tuple(card.path(name) for name in card.model.input.file)
    if any(str(path) == "-" for path in inputs):
        raise CardError(f"{card.source}: [input] file: the events are read several times; standard input cannot be")
    with tempfile.TemporaryDirectory(prefix="mlgen-validate-") as name:
        folder = Path(name)
        with_model = _with_model(card, folder)
        reference = SampleFiles("nothing replaced", inputs, card.model.input.format)
        passed_on = with_model
        if Stage.UNWEIGHTING in replaced:
            first, second = _halves(card, inputs, folder)
            reference = SampleFiles(reference.name, (second,), origin=_shown(card, "a random half of the input"))
            # Named relative to the folder: its own name is another one each time, and would end in the provenance.
            section = InputSection(file=[first.name])
            model = card.model.model_copy(update={"input": section})
            passed_on = dataclasses.replace(card, model=model, directory=folder)
        samples = []
        for number, (name, stages) in enumerate(_variants(card, replaced)):
            used = with_model if Stage.GENERATOR in stages else passed_on
            path = _run(used, stages, folder / f"{number}", reporter)
            samples.append(SampleFiles(name, (path,), origin=_shown(card, name)))
        result = validate(
            reference,
            samples,
            card.model.validation,
            seed=card.model.run.seed,
            reporter=reporter,
            options=ReadingOptions(on_error=card.model.run.on_error),
        )
    if Stage.UNWEIGHTING in replaced and Stage.GENERATOR in replaced:
        # `validate` finds this out by itself only where the reference is the whole input.
        remark = "The generator is trained on all of the input, the half that is the reference here included."
        result = dataclasses.replace(result, remarks=(*result.remarks, remark))
    return result


def _to_give(card: Card) -> str:
    return "give [generator]" if card.model.process is None else "give [phase_space], [amplitude] or [unweighting]"


def _validate_process(card: Card, replaced: Sequence[Stage], reporter: Reporter) -> ValidationResult:
    with tempfile.TemporaryDirectory(prefix="mlgen-validate-") as name:
        folder = Path(name)
        # Planned as a run is, so that what is wrong with any stage is said before the first event.
        plans = [
            plan_chain(_with_stages(card, stages, folder / "planned.lhe")) for _, stages in _variants(card, replaced)
        ]
        learning = ("unweighting",) if any(plan.unweighting_learns for plan in plans) else ()
        with_model = _with_model(card, folder, *learning)
        # Not the card's own, nor one that a user is likely to have chosen.
        other_seed = int(random_generator(card.model.run.seed, Work.COMPARE, 4).integers(2**62))
        run_section = card.model.run.model_copy(update={"seed": other_seed})
        independent = dataclasses.replace(card, model=card.model.model_copy(update={"run": run_section}))
        path = _run_process(independent, (), folder / "reference.lhe", reporter)
        classical = plugin_manager().classical(Stage.PHASE_SPACE).offer.name
        origin = f"nothing replaced: phase space {classical}, weighted, another seed"
        reference = SampleFiles("nothing replaced", (path,), origin=_shown(card, origin))
        samples = []
        for number, (name, stages) in enumerate(_variants(card, replaced)):
            path = _run_process(with_model, stages, folder / f"{number}.lhe", reporter)
            samples.append(SampleFiles(name, (path,), origin=_shown(card, name)))
        return validate(reference, samples, card.model.validation, seed=card.model.run.seed, reporter=reporter)


def _run_process(card: Card, stages: Sequence[Stage], path: Path, reporter: Reporter) -> Path:
    run_chain(plan_chain(_with_stages(card, stages, path)), reporter)
    return path


def _with_stages(card: Card, stages: Sequence[Stage], output: Path) -> Card:
    """The card with only some of its stages, and with one output."""
    left_out = {stage.value: None for stage in Stage if stage not in stages}
    # New named weights change no event, and a shower changes them in the same way whatever is replaced before it.
    update = {**left_out, "reweighting": (), "shower": None, "output": OutputSection(files=[str(output.absolute())])}
    return dataclasses.replace(card, model=card.model.model_copy(update=update))


def _shown(card: Card, what: str) -> tuple[str, ...]:
    return (f"{card.source}: {what}",)


def _with_model(card: Card, folder: Path, *others: str) -> Card:
    """The card, what it trains with a folder for its model: trained once, whatever number of chains use it.

    Args:
        card: The card.
        folder: Where the folders are.
        others: Sections that are trained in this card, and not in every one.
    """
    changes = {}
    for name in ("phase_space", "amplitude", "generator", *others):
        section = getattr(card.model, name)
        if section is not None and section.model is None:
            changes[name] = section.model_copy(update={"model": str((folder / f"model of {name}").absolute())})
    return dataclasses.replace(card, model=card.model.model_copy(update=changes)) if changes else card


def _variants(card: Card, replaced: Sequence[Stage]) -> Iterator[tuple[str, tuple[Stage, ...]]]:
    """One stage at a time, then all of them."""
    chosen = [(stage,) for stage in replaced]
    for stages in itertools.chain(chosen, [tuple(replaced)] if len(replaced) > 1 else []):
        names = ((stage.value.replace("_", " "), card.stage(stage)) for stage in stages)
        yield " and ".join(f"{name} {section.plugin}" for name, section in names if section is not None), stages


def _halves(card: Card, inputs: Sequence[Path], folder: Path) -> tuple[Path, Path]:
    """Write the input as two random halves; without a generator, only as many events as the card reads."""
    section, run = card.model.input, card.model.run
    limit = run.events if card.model.generator is None else None
    left = limit if limit is not None else -1
    with open_events(*inputs, format_name=section.format if section else None, on_error=run.on_error) as events:
        suffix = _KEEPS.get(events.formats[0], "lhe")
        paths = folder / f"first.{suffix}", folder / f"second.{suffix}"
        with create_events(paths[0], events.run_info) as first, create_events(paths[1], events.run_info) as second:
            for number, batch in enumerate(events):
                kept = batch[:left] if left >= 0 else batch
                left -= len(kept) if left >= 0 else 0
                side = random_generator(run.seed, Work.COMPARE, 3, number).random(len(kept)) < 0.5
                for output, chosen in ((first, side), (second, ~side)):
                    if chosen.any():
                        output.write(kept[np.flatnonzero(chosen)])
                if left == 0:
                    break
    return paths


def _run(card: Card, stages: Sequence[Stage], stem: Path, reporter: Reporter) -> Path:
    """Run the card with only some of its stages; returns the file that was written."""
    inputs = [card.path(name) for name in card.model.input.file] if card.model.input else []
    with open_events(*inputs, format_name=card.model.input.format if card.model.input else None) as events:
        suffix = _KEEPS.get(events.formats[0], "lhe")
    path = stem.with_suffix(f".{suffix}").absolute()
    run_chain(plan_chain(_with_stages(card, stages, path)), reporter)
    return path
