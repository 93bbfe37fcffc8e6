"""What event formats keep, found out by writing a sample in each of them and reading it again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sphinx.pycode import ModuleAnalyzer

from mlgen import cells
from mlgen.event_format import EventFormat
from mlgen.events import EventBatch
from mlgen.formats import create_events, open_events
from mlgen.run_info import RunInfo
from mlgen_reference import builtin
from mlgen_reference.markdown import code, plain, section, table
from mlgen_reference.probe import hard_events, hard_run_info, shower_run_info, showered_events

#: Status of a beam particle in a graph.
BEAM = 4

Sample = tuple[EventBatch, RunInfo]
Feature = Callable[[EventBatch, RunInfo], Any]


def _particles(*names: str) -> Feature:
    """Columns of particles; of a graph without its beams, which a hard event does not have."""

    def look(events: EventBatch, _: RunInfo) -> Any:
        kept = events.column("status") != BEAM
        return [column[kept] for column in events.columns(names).values()]

    return look


def _of_event(name: str) -> Feature:
    return lambda events, _: getattr(events, name)


def _of_run(name: str) -> Feature:
    return lambda _, run_info: getattr(run_info, name)


#: What a hard event and its file have, and how to look at it.
HARD: Mapping[str, Feature] = {
    "hard event, as it was": lambda events, _: events.has_graph,
    "momenta": _particles("px", "py", "pz", "energy"),
    "masses as the file has them": _particles("generated_mass"),
    "PDG ids": _particles("pdg_id"),
    "status": _particles("status"),
    "mothers": _particles("mother1", "mother2"),
    "colour lines": _particles("color1", "color2"),
    "lifetimes": _particles("lifetime"),
    "spins": _particles("spin"),
    "nominal weights": _of_event("weight"),
    "named weights: values": lambda events, _: dict(events.variations),
    "named weights: names": _of_run("variation_names"),
    "named weights: descriptions, attributes, groups": lambda _, run_info: (
        run_info.variations,
        run_info.variation_groups,
    ),
    "process of the event": _of_event("process_id"),
    "scale": _of_event("scale"),
    "couplings": lambda events, _: (events.alpha_qed, events.alpha_qcd),
    "comments after an event": _of_event("comments"),
    "attributes of an event's tag": _of_event("tag_attributes"),
    "beams and PDF sets": _of_run("beams"),
    "cross sections of the processes": _of_run("processes"),
    "normalisation of the weights (`IDWTUP`)": _of_run("weight_strategy"),
    "header blocks": _of_run("header"),
    "blocks of `<init>`": _of_run("init_text"),
    "name of the generator": _of_run("generator"),
    "version and attributes of the Les Houches file": lambda _, run_info: (
        run_info.lhe_version,
        run_info.lhe_attributes,
    ),
    "provenance": _of_run("provenance"),
}
#: The same of showered events, where it differs.
SHOWERED: Mapping[str, Feature] = {
    "momenta": _particles("px", "py", "pz", "energy"),
    "masses as the file has them": _particles("generated_mass"),
    "PDG ids": _particles("pdg_id"),
    "status": _particles("status"),
    "the graph: where particles are produced and end": _particles("production_vertex", "end_vertex"),
    "vertices: place, time and status": lambda events, _: [
        None if events.vertices is None else [row.tolist() for row in events.vertices]
    ],
    "colour lines": _particles("color1", "color2"),
    "lifetimes": _particles("lifetime"),
    "spins": _particles("spin"),
    "nominal weights": _of_event("weight"),
    "named weights: names and values": lambda events, _: dict(events.variations),
    "process, scale, couplings": lambda events, _: (
        events.process_id,
        events.scale,
        events.alpha_qed,
        events.alpha_qcd,
    ),
    "further attributes of events": lambda events, _: [row.get("probe_note") for row in events.attributes],
    "beams": lambda _, run_info: [(beam.pdg_id, beam.energy) for beam in run_info.beams],
    "total cross section": lambda _, run_info: (run_info.cross_section, run_info.cross_section_error),
    "header blocks": _of_run("header"),
    "name of the generator": _of_run("generator"),
    "provenance": _of_run("provenance"),
}
_YES, _CLOSE, _NO = "yes", "rounded", "no"


def overview() -> str:
    """The formats with their suffixes, and what they can hold."""
    rows = [
        (
            f"[{code(found.name)}](#{found.name})",
            ", ".join(code(suffix) for suffix in found.suffixes),
            plain(found.summary),
            *("yes" if can else "no" for can in (found.streams, found.shower_level, found.holds_cells)),
        )
        for found in _formats()
    ]
    head = ("Format", "Suffixes", "What it is", "Compressed, piped", "Showered events", "Cells")
    return table(head, rows)


def kept() -> str:
    """Two tables: what each format keeps of hard events, and of showered ones; and what its class says of itself."""
    out = [section(2, "What is kept of hard events", "kept-hard"), _table(_formats(), hard_events, hard_run_info, HARD)]
    showered = [found for found in _formats() if found.shower_level]
    out.append(section(2, "What is kept of showered events", "kept-showered"))
    out.append(_table(showered, showered_events, shower_run_info, SHOWERED))
    out.append(section(2, "The event formats"))
    for found in _formats():
        kind = type(found)
        out += [section(3, f"`{found.name}`", found.name), f"{plain(found.summary)}.\n", _docstring(kind)]
    return "\n".join(out)


def cell_columns() -> str:
    """The columns of cells and of the particles that made them."""
    comments = ModuleAnalyzer.for_module(cells.__name__).find_attr_docs()
    out = []
    for title, name in (("Cells", "CELL_COLUMNS"), ("Particles", "SHOWER_PARTICLE_COLUMNS")):
        columns = ", ".join(f"`{column}` ({kind.__name__})" for column, kind in getattr(cells, name).items())
        out.append(f"{title}: {columns}. {plain(' '.join(comments['', name]))}\n")
    return "\n".join(out)


def model_record() -> str:
    """The fields of ``model.json``."""
    return "\n".join(
        f"```{{eval-rst}}\n.. autoclass:: mlgen.model_record.{name}\n```\n" for name in ("ModelRecord", "TrainedOn")
    )


def keeps(event_format: EventFormat, sample: Sample, features: Mapping[str, Feature]) -> dict[str, str]:
    """Write a sample, read it again, and say of each feature whether it came back."""
    events, run_info = sample
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"probe{event_format.suffixes[0]}"
        with create_events(path, run_info) as output:
            output.write(events)
        with open_events(path) as stream:
            again = EventBatch.concatenate(list(stream))
            run_info_again = stream.run_info
    return {
        name: _verdict(_or_none(look, events, run_info), _or_none(look, again, run_info_again))
        for name, look in features.items()
    }


def _or_none(look: Feature, events: EventBatch, run_info: RunInfo) -> Any:
    try:
        return look(events, run_info)
    except (KeyError, ValueError, AttributeError):  # the column is not there: nothing came back
        return None


def _verdict(written: Any, read: Any) -> str:
    if same(written, read):
        return _YES
    return _CLOSE if same(written, read, tolerance=1e-6) else _NO


def same(first: Any, second: Any, *, tolerance: float = 0.0) -> bool:
    """Whether two values are the same, whatever they are made of; numbers up to a relative tolerance."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return set(first) == set(second) and all(same(first[k], second[k], tolerance=tolerance) for k in first)
    if isinstance(first, np.ndarray):
        first = first.tolist()
    if isinstance(second, np.ndarray):
        second = second.tolist()
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        pairs = zip(first, second, strict=False)
        return len(first) == len(second) and all(same(a, b, tolerance=tolerance) for a, b in pairs)
    if isinstance(first, float) and isinstance(second, (int, float)):
        return bool(np.isclose(first, second, rtol=tolerance, atol=0.0, equal_nan=True))
    if isinstance(first, str) and isinstance(second, str):
        return first.strip() == second.strip()
    return bool(first == second)


def _table(
    formats: Iterable[EventFormat],
    events: Callable[[], EventBatch],
    run_info: Callable[[], RunInfo],
    features: Mapping[str, Feature],
) -> str:
    found = {one.name: keeps(one, (events(), run_info()), features) for one in formats}
    rows = [(name, *(verdicts[name] for verdicts in found.values())) for name in features]
    return table(("", *(f"`{name}`" for name in found)), rows)


def _formats() -> tuple[EventFormat, ...]:
    return tuple(registered.offer for registered in builtin.plugins().event_formats)


def _docstring(kind: type[Any]) -> str:
    """The docstring of a format's class, and that of its module where it describes the layout of that one."""
    return f"```{{eval-rst}}\n.. autoclass:: {kind.__module__}.{kind.__name__}\n```\n"
