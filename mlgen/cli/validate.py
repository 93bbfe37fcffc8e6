"""``mlgen validate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlgen.card import Card
    from mlgen.validation.record import Comparison, ValidationResult
    from mlgen.validation.samples import SampleFiles

#: Observables that differ, shown in the terminal; the report has all.
SHOWN = 12
#: The same of separation powers of showers.
SHOWN_SEPARATIONS = 6


@click.command("validate")
@click.argument("sources", metavar="REFERENCE SAMPLE... | CARD", nargs=-1, required=True)
@click.option(
    "-o", "--output", metavar="FILE", default="validation.html", help="The report; validation.html when left out."
)
@click.option("--no-report", is_flag=True, help="Write no report.")
@click.option(
    "--plots", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Also write each plot there."
)
@click.option(
    "--plot-format", type=click.Choice(["png", "pdf", "svg"]), multiple=True, help="Format of the plots; png and pdf."
)
@click.option(
    "--fail-above",
    metavar="[MEASURE=]LIMIT",
    multiple=True,
    help="Exit with 3 when a measure is above its limit: sigma (a number alone), auc, chi2, wasserstein, fpd, kpd, "
    "separation (of showers).",
)
@click.option("--card", "card_file", metavar="CARD", help="Take [validation] and the seed from this card.")
@click.option(
    "--observable", "observables", metavar="NAME=EXPRESSION", multiple=True, help="An observable of your own."
)
@click.option("--select", metavar="EXPRESSION", help="Only events for which this is true.")
@click.option("--only", metavar="PATTERN", multiple=True, help="Only observables whose names match.")
@click.option("--no-classifier", is_flag=True, help="Train no classifier (quicker).")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of everything random.")
@click.option("--set", "settings", metavar="SECTION.KEY=VALUE", multiple=True, help="Set a key of the card.")
@click.option(
    "--showers",
    is_flag=True,
    help="Expect calorimeter showers, and nothing else; without it, showers are recognised by their files.",
)
@click.option(
    "--geometry",
    metavar="XML",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Binning of shower files that carry none (CaloChallenge).",
)
@click.option("--particle", metavar="NAME", help="Particle of that binning: photon, electron, pion.")
@options.force
@options.on_error
@options.input_format
@options.as_json
@options.plugin_files
@options.debug
def command(
    sources: tuple[str, ...],
    output: str,
    no_report: bool,
    plots: Path | None,
    plot_format: tuple[str, ...],
    fail_above: tuple[str, ...],
    force: bool,
    as_json: bool,
    showers: bool,
    geometry: Path | None,
    particle: str | None,
    **overrides: Any,
) -> None:
    """Compare samples with a reference, and write a report.

    Events (LHE, HepMC, ROOT, in any mix) or calorimeter showers (HDF5). NAME=FILE gives a sample a name, commas join
    files of one sample. With a card: run its chain with and without each stage that it replaces.

    \b
    mlgen validate truth.lhe.gz surrogate.lhe.gz
    mlgen validate truth.hepmc3 cfm=a.hepmc3 flow=b.root -o report.html
    mlgen validate truth.lhe new.lhe --observable 'mT=sqrt(2*pt("mu-")*missing_pt())'
    mlgen validate truth.lhe new.lhe --fail-above 3 --fail-above auc=0.52
    mlgen validate --showers truth.h5 surrogate.h5 --fail-above separation=0.01 --fail-above auc=0.65
    mlgen validate card.toml
    """  # noqa: D301 - click wants a real \b
    from mlgen.cli.terminal import print_json, reporter
    from mlgen.errors import UserError
    from mlgen.validation.comparing import validate
    from mlgen.validation.gates import Gate, gated
    from mlgen.validation.samples import ReadingOptions
    from mlgen.validation.writing import write_validation

    gates = [Gate.parse(text) for text in fail_above]
    card, files = _card_and_samples(sources, overrides)
    if showers and not files:
        raise UserError(
            f"--showers {sources[0]}: a card's chain makes events, and a file of showers has no card; give the showers "
            "of a reference and of a sample: mlgen validate --showers REFERENCE.h5 SAMPLE.h5"
        )
    report = None if no_report else Path(output)
    for path in (path for sample in files for path in sample.files):
        if report is not None and path.exists() and report.exists() and report.samefile(path):
            raise UserError(f"{output}: the report would replace a sample; choose another name")
    _check_outputs(report, plots, force)
    if files:
        reading = ReadingOptions(card.model.run.on_error, geometry, particle, showers)
        result = validate(
            files[0], files[1:], card.model.validation, seed=card.model.run.seed, reporter=reporter, options=reading
        )
    else:
        from mlgen.chain.closure import validate_chain

        result = validate_chain(card, reporter)
    result, failures = gated(result, gates)
    with reporter("drawing") as progress:
        written = write_validation(
            result, report, plots=plots, formats=plot_format or ("png", "pdf"), force=force, progress=progress
        )
    if as_json:
        from mlgen.validation.as_json import to_dict

        print_json(to_dict(result))
    else:
        _show(result, written)
    if failures:
        click.echo("".join(f"mlgen: gate: {failure}\n" for failure in failures), err=True, nl=False)
        raise click.exceptions.Exit(3)


def _card_and_samples(sources: tuple[str, ...], overrides: dict[str, Any]) -> tuple[Card, list[SampleFiles]]:
    """The card, and the samples: none when the card's own chain is to be validated."""
    from mlgen.cli.cards import card_with
    from mlgen.errors import UserError

    cards = [name for name in sources if name.endswith(".toml")]
    card_file = overrides.pop("card_file")
    if cards:
        if len(sources) > 1 or card_file:
            raise UserError(
                f"{cards[0]}: one card alone, or a reference and samples; --card takes the settings of a card for files"
            )
        return card_with(Path(cards[0]), {}, overrides), []
    if len(sources) < 2:
        raise UserError(f"{sources[0]}: a reference and at least one sample are expected, or one card (.toml)")
    return card_with(Path(card_file) if card_file else None, {}, overrides), _samples(
        sources, overrides["input_format"]
    )


def _samples(sources: tuple[str, ...], format_name: str | None) -> list[SampleFiles]:
    from mlgen.errors import UserError
    from mlgen.validation.samples import SampleFiles

    samples = []
    for source in sources:
        name, equals, files = source.partition("=")
        if not equals or Path(source).exists():
            name, files = "", source
        paths = (Path(files),) if Path(files).exists() else tuple(Path(file) for file in files.split(","))
        samples.append(SampleFiles(name or ", ".join(path.name for path in paths), paths, format_name))
    if sum(str(path) == "-" for sample in samples for path in sample.files) > 1:
        raise UserError("standard input ('-') is there twice; it can be read once only")
    names = [sample.name for sample in samples]
    for index, sample in enumerate(samples):
        if names.count(sample.name) > 1:
            # Files of one name from several directories.
            longer = ", ".join("/".join(path.parts[-2:]) for path in sample.files)
            samples[index] = SampleFiles(longer, sample.files, format_name)
    twice = [sample.name for sample in samples[1:] if [s.name for s in samples[1:]].count(sample.name) > 1]
    if twice:
        raise UserError(f"{twice[0]}: the same sample is there twice; give each a name: NAME=FILE")
    return samples


def _check_outputs(report: Path | None, plots: Path | None, force: bool) -> None:
    """What can be wrong with the outputs is said before hours of work."""
    from mlgen.errors import OutputError
    from mlgen.report import check_report

    if report is not None:
        check_report(report, force=force)
    if plots is not None:
        try:
            plots.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{plots}: the directory cannot be made: {error.strerror}") from error


def _show(result: ValidationResult, written: list[Path]) -> None:
    from mlgen.cli.terminal import number, shown, table

    reference = result.reference
    rows = [("reference", f"{reference.name} ({reference.format}), {number(reference.selected)} {reference.what}")]
    for comparison in result.comparisons:
        rows += [("", ""), *_rows(comparison)]
    rows += [("remark", f"{reference.name}: {remark}") for remark in reference.remarks]
    rows += [("remark", remark) for remark in result.remarks]
    rows += [("written", shown(path)) for path in written]
    table(rows)


def _rows(comparison: Comparison) -> Iterator[tuple[str, str]]:
    from mlgen.cli.terminal import number
    from mlgen.validation.record import Verdict

    sample = comparison.sample
    yield "sample", f"{sample.name} ({sample.format}), {number(sample.selected)} {sample.what}"
    yield "verdict", comparison.words
    yield from (("  content", difference) for difference in comparison.differences)
    measures = (*(comparison.classifier.measures if comparison.classifier else ()), *comparison.distances)
    for measure in measures:
        floor = "no null floor"
        if math.isfinite(measure.floor):
            floor = f"null floor {measure.floor:.4g} +- {measure.floor_error:.1g}"
        yield measure.name, f"{measure.value:.4g} +- {measure.error:.1g} ({floor})"
    yield from _separations(comparison)
    flagged = [r for r in comparison.observables if r.verdict in (Verdict.DIFFERS, Verdict.MISSING)]
    flagged.sort(
        key=lambda r: (r.adjusted_p_value, -abs(r.test.deviation.significance) if r.test and r.test.deviation else 0)
    )
    yield from ((r.observable.name, r.words) for r in flagged[:SHOWN])
    if len(flagged) > SHOWN:
        yield "", f"and {len(flagged) - SHOWN} further observables"
    for tail in comparison.classifier.tails if comparison.classifier else ():
        sign = "<" if tail.side == "low" else ">"
        yield (
            f"w {sign} {tail.weight:.3g}",
            (
                f"{tail.share:.1%} of the events; {tail.observable} in {tail.lower:.4g} to {tail.upper:.4g} "
                f"(all events: {tail.bulk_lower:.4g} to {tail.bulk_upper:.4g})"
            ),
        )
    for measure_name, value, limit in comparison.gates:
        yield f"gate {measure_name}", f"{value:.4g}, limit {limit:g}"
    yield from (
        ("remark", remark)
        for remark in (
            *sample.remarks,
            *(comparison.classifier.remarks if comparison.classifier else ()),
            *(comparison.showers.remarks if comparison.showers else ()),
        )
    )


def _separations(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """The largest separation powers, and the total response in any case."""
    powers = comparison.showers.separations if comparison.showers is not None else ()
    largest = sorted(powers, key=lambda power: -power.value)[:SHOWN_SEPARATIONS]
    for power in [*largest, *(p for p in powers if p.name == "E_total / E_inc" and p not in largest)]:
        yield (
            f"S^2 {power.name}",
            f"{power.value:.3g} +- {power.error:.1g} (expected of equal samples {power.expected:.3g} +- "
            f"{power.spread:.1g}, null floor {power.floor:.3g})",
        )
    if len(powers) > SHOWN_SEPARATIONS:
        yield "", f"and {len(powers) - SHOWN_SEPARATIONS} further separation powers, in the report"
