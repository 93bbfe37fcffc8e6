"""``mlgen info``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlgen.cli import options

if TYPE_CHECKING:
    from mlgen.event_format import OnError
    from mlgen.summary import Summary

#: What is shown by name; the rest is counted. --json has everything.
SHOWN_STATES = 12
SHOWN_VARIATIONS = 8


@click.command("info")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@options.input_format
@options.on_error
@click.option("--geometry", metavar="FILE", type=click.Path(path_type=Path), help="Binning of showers (XML or JSON).")
@click.option("--particle", metavar="NAME", help="Incident particle of showers: photon, electron, pion.")
@options.as_json
@options.plugin_files
@options.debug
def command(
    files: tuple[str, ...],
    input_format: str | None,
    on_error: str | None,
    geometry: Path | None,
    particle: str | None,
    as_json: bool,
) -> None:
    """Say what is in a file: of events, generator, beams, processes, weights, particles and cells; or of showers.

    Of a folder with a trained model: its plugin, settings, training data and figures. Several files are read as one
    sample. The whole file is read, in constant memory. Files of showers that do not say what their voxels are, as those
    of the CaloChallenge, need --geometry and --particle.
    """
    from mlgen.formats.shower_files import is_shower_file

    if any(Path(name).is_dir() for name in files):
        _model(files, as_json)
        return
    # A pipe can be read once only, and showers come in none.
    if all(Path(name).is_file() and is_shower_file(name) for name in files):
        _showers(files, geometry, particle, as_json)
    else:
        _events(files, input_format, on_error, as_json)


def _model(files: tuple[str, ...], as_json: bool) -> None:
    from mlgen.cli.model_info import is_model, model_content, model_rows
    from mlgen.cli.terminal import print_json, table
    from mlgen.errors import UserError

    folder = next(Path(name) for name in files if Path(name).is_dir())
    if not is_model(folder):
        raise UserError(f"{folder}: is a folder, and none of a trained model (no model.json); a file is expected")
    if len(files) > 1:
        raise UserError(f"{folder}: is the folder of a model; name it alone")
    if as_json:
        print_json({"model": str(folder)} | model_content(folder))
    else:
        table(list(model_rows(folder)))


def _showers(files: tuple[str, ...], geometry: Path | None, particle: str | None, as_json: bool) -> None:
    from mlgen.cli.shower_info import shower_rows, summarise_showers
    from mlgen.cli.terminal import print_json, reporter, table
    from mlgen.formats.shower_files import open_showers

    with open_showers(*files, geometry=geometry, particle=particle) as showers, reporter("reading") as progress:
        summary = summarise_showers(showers, progress)
        if as_json:
            print_json({"files": list(files), "formats": [showers.format]} | summary.to_dict(showers))
        else:
            table([("file", "\n".join(files)), ("format", showers.format), *shower_rows(showers, summary)])


def _events(files: tuple[str, ...], input_format: str | None, on_error: str | None, as_json: bool) -> None:
    from mlgen.cli.cell_info import cell_rows, summarise_cells
    from mlgen.cli.terminal import print_json, reporter, table
    from mlgen.formats import open_events
    from mlgen.summary import summarise

    mode: OnError = "skip" if on_error == "skip" else "stop"
    with (
        open_events(*files, on_error=mode, format_name=input_format) as events,
        reporter("reading") as progress,
    ):
        summary = summarise(events, progress)
        formats = list(dict.fromkeys(events.formats))
    cells = summarise_cells(files)
    if as_json:
        of_cells = {"cells": cells.to_dict()} if cells is not None else {}
        print_json({"files": list(files), "formats": formats} | summary.to_dict() | of_cells)
    else:
        of_cells_too = cell_rows(cells) if cells is not None else ()
        table([("file", "\n".join(files)), ("format", ", ".join(formats)), *_rows(summary), *of_cells_too])


def particle_name(pdg_id: int) -> str:
    """Return the name of a particle, its PDG id when it has none."""
    from particle import InvalidParticle, Particle, ParticleNotFound

    try:
        return str(Particle.from_pdgid(pdg_id).name)
    except (ParticleNotFound, InvalidParticle):
        return str(pdg_id)


def _rows(summary: Summary) -> Iterator[tuple[str, str]]:
    from mlgen.cli.terminal import number, with_error

    info = summary.run_info
    yield "generator", info.generator or "unknown"
    beams = [f"{particle_name(b.pdg_id)} {b.energy:g} GeV" + (f", PDF {b.pdf_set}" if b.pdf_set > 0 else "")
             for b in info.beams if b.pdg_id]  # fmt: skip
    yield "beams", " on ".join(beams) or "unknown"
    for process in info.processes:
        yield f"process {process.process_id}", with_error(process.cross_section, process.error)
    yield "cross section", with_error(info.cross_section, info.cross_section_error)
    yield "events", number(summary.events)
    if summary.skipped.count:
        yield "left out", f"{summary.skipped.count:,} that could not be read"
        yield from (("", reason) for reason in summary.skipped.reasons)
    yield "weights", f"{info.normalisation.value} (IDWTUP {info.weight_strategy})"
    yield "  smallest, largest", f"{number(summary.smallest_weight)}, {number(summary.largest_weight)}"
    yield "  mean", number(summary.mean_weight, 6)
    if summary.trials != summary.events:
        over_trials = with_error(summary.sum_of_weights / summary.trials, 0.0)
        yield "  sum over trials", f"{over_trials} ({number(summary.trials)} trials)"
    yield "  negative", f"{summary.negative_fraction:.2%} ({summary.negative:,} events)"
    yield "  effective sample size", number(summary.effective_sample_size, 5)
    names = info.variation_names
    shown = ", ".join(names[:SHOWN_VARIATIONS]) + (", ..." if len(names) > SHOWN_VARIATIONS else "")
    yield "variations", f"{len(names)}: {shown}" if names else "none"
    for index, group in enumerate(info.variation_groups):
        members = sum(variation.group == index for variation in info.variations)
        yield "  group", f"{group.get('name') or group.get('type') or index + 1}: {members}"
    yield "level", "after the shower" if summary.shower_level else "hard process"
    for n, count in sorted(summary.multiplicities.items()):
        yield f"  {n} final particles", f"{count:,} events"
    for (incoming, outgoing), count in summary.reactions.most_common(SHOWN_STATES):
        text = f"{' '.join(map(particle_name, incoming))} > {' '.join(map(particle_name, outgoing))}"
        yield "  " + text, f"{count:,}"
    left = len(summary.reactions) - SHOWN_STATES
    if left > 0:
        yield f"  {left} further reactions", f"{sum(c for _, c in summary.reactions.most_common()[SHOWN_STATES:]):,}"
    common = summary.particles.most_common(SHOWN_STATES)
    yield "final particles", ", ".join(f"{particle_name(pdg_id)} {count:,}" for pdg_id, count in common)
    for record in info.provenance:
        stages = "".join(f", {s['stage']} {s['plugin']} ({s['exactness']})" for s in record.get("stages", ()))
        seed = f", seed {record['seed']}" if "seed" in record else ""
        yield "made by", f"{record.get('program')} {record.get('version')} {record.get('command')}{seed}{stages}"
