"""Runs a chain with and without each stage that it replaces, and compares what comes out."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlgen.card import Card, OutputSection
from mlgen.chain.plan import plan_chain
from mlgen.chain.run import run_chain
from mlgen.errors import CardError
from mlgen.stages import Reporter, Stage, silent
from mlgen.validation.comparing import validate
from mlgen.validation.record import ValidationResult
from mlgen.validation.samples import ReadingOptions, SampleFiles

#: Formats that keep all that an event of the input holds, by the format of the input.
_KEEPS = {"hepmc2": "hepmc3", "hepmc3": "hepmc3", "root": "root"}


def validate_chain(card: Card, reporter: Reporter = silent) -> ValidationResult:
    """Show what each replacement of a chain does to its observables.

    The reference is the chain with nothing replaced. It is compared with the chain in which one stage at a time is
    replaced as the card says, and with the chain in which all of them are.

    Args:
        card: The card. Its outputs are not written; models that it names are trained and kept as in a run.
        reporter: Where progress goes.

    Raises:
        CardError: The card replaces nothing, or the chain without replacements cannot be run.
        mlgen.errors.MlgenError: Whatever goes wrong in a run.
    """
    replaced = [stage for stage in Stage if card.stage(stage) is not None]
    if not replaced:
        raise CardError(f"{card.source}: no stage is replaced, so nothing can be compared; give [generator]")
    if card.model.input is None:
        raise CardError(
            f"{card.source}: without [input] there is no chain to compare with: name the events that the chain would "
            "go on with if nothing were replaced"
        )
    inputs = tuple(card.path(name) for name in card.model.input.file)
    if any(str(path) == "-" for path in inputs):
        raise CardError(f"{card.source}: [input] file: the events are read several times; standard input cannot be")
    with tempfile.TemporaryDirectory(prefix="mlgen-validate-") as folder:
        samples = [
            SampleFiles(name, (_run(card, stages, Path(folder) / f"{number}", reporter),))
            for number, (name, stages) in enumerate(_variants(card, replaced))
        ]
        section = card.model.input
        return validate(
            SampleFiles("nothing replaced", inputs),
            samples,
            card.model.validation,
            seed=card.model.run.seed,
            reporter=reporter,
            options=ReadingOptions(on_error=card.model.run.on_error, format_name=section.format),
        )


def _variants(card: Card, replaced: Sequence[Stage]) -> Iterator[tuple[str, tuple[Stage, ...]]]:
    """One stage at a time, then all of them."""
    chosen = [(stage,) for stage in replaced]
    for stages in itertools.chain(chosen, [tuple(replaced)] if len(replaced) > 1 else []):
        names = ((stage.value.replace("_", " "), card.stage(stage)) for stage in stages)
        yield " and ".join(f"{name} {section.plugin}" for name, section in names if section is not None), stages


def _run(card: Card, stages: Sequence[Stage], stem: Path, reporter: Reporter) -> Path:
    """Run the card with only some of its stages; returns the file that was written."""
    from mlgen.formats.reading import open_events

    inputs = [card.path(name) for name in card.model.input.file] if card.model.input else []
    with open_events(*inputs, format_name=card.model.input.format if card.model.input else None) as events:
        suffix = _KEEPS.get(events.formats[0], "lhe")
    path = stem.with_suffix(f".{suffix}").absolute()
    left_out = {stage.value: None for stage in Stage if stage not in stages}
    model = card.model.model_copy(update={**left_out, "output": OutputSection(files=[str(path)])})
    run_chain(plan_chain(dataclasses.replace(card, model=model)), reporter)
    return path
