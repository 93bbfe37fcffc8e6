"""The run information of HepMC files, both ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlgen import __version__
from mlgen.formats import hepmc_record as record
from mlgen.formats.hepmc_raw import ENERGY, PDG_ID, STATUS, BrokenEventError, RawEvents, unescape
from mlgen.run_info import Beam, Process, RunInfo


def run_for(run_info: RunInfo, version: int) -> Any:
    """The run as pyhepmc writes it: weight names, tools, and in HepMC3 everything else as attributes."""
    import pyhepmc

    run = pyhepmc.GenRunInfo()
    run.weight_names = record.weight_names(run_info.variation_names)
    foreign = run_info.foreign.get("hepmc3", {})
    tools = [tuple(tool) for tool in foreign.get("tools", ())]
    if run_info.generator and not tools:
        name, _, number = run_info.generator.partition(" ")
        tools.append((name, number.strip(), "event generator"))
    if not any(name == "mlgen" for name, *_ in tools):
        last = run_info.provenance[-1] if run_info.provenance else {}
        number = str(last.get("version", last.get("mlgen", __version__)))
        tools.append(("mlgen", number, "machine-learned stages of the Monte Carlo chain"))
    tools += _stages(run_info)
    run.tools = [pyhepmc.GenRunInfo.ToolInfo(*tool) for tool in tools]
    if version == 3:
        for name, text in foreign.get("attributes", {}).items():
            run.attributes[name] = text
        for name, text in record.parts_of(run_info.to_json(), record.RUN_INFO).items():
            run.attributes[name] = text
    return run


def _stages(run_info: RunInfo) -> list[tuple[str, str, str]]:
    """A tool for each stage of the last run that had any; a conversion after it has none."""
    stages = next((stages for entry in reversed(run_info.provenance) if (stages := entry.get("stages"))), ())
    tools = []
    for stage in stages:
        model = stage.get("model_sha256")
        description = ", ".join(
            part for part in (stage.get("stage"), stage.get("exactness"), f"model {model}" if model else "") if part
        )
        tools.append((f"mlgen:{stage.get('plugin', 'unknown')}", str(stage.get("version", "")), description))
    return tools


def attributes_and_tools(lines: Sequence[bytes]) -> tuple[dict[str, str], list[tuple[str, str, str]]]:
    """Attributes and tools from the lines before the first event."""
    attributes, tools = {}, []
    for line in lines:
        kind, _, rest = line.rstrip(b"\r\n").partition(b" ")
        if kind == b"A":
            name, _, text = rest.partition(b" ")
            attributes[name.decode("utf-8", "replace")] = unescape(text)
        elif kind == b"T":
            tool, version, description, *_ = [*unescape(rest).split("\n", 2), "", ""]
            tools.append((tool, version, description))
    return attributes, tools


def listed_names(lines: Sequence[bytes]) -> list[str]:
    """Names of all weights from the lines before the first event, none when there is no list."""
    for line in lines:
        if line.startswith(b"W "):
            return unescape(line[2:].rstrip(b"\r\n")).split("\n")
    return []


def names_for(names: list[str], weights: int) -> list[str]:
    """Names of all weights, each once: those listed, or ``weight_1``, ... for the further ones without a list."""
    if len(names) != weights and len(split := " ".join(names).split()) == weights:
        # Some programs separate the names by blanks.
        names = split
    if names:
        before: Counter[str] = Counter()
        unique = []
        for name in names:
            before[name] += 1
            unique.append(name if before[name] == 1 else f"{name} ({before[name]})")
        return unique
    return ["", *(f"weight_{index}" for index in range(1, weights))]


def beams_of(first: RawEvents) -> tuple[Beam, ...]:
    """Beams from the first event, which stands alone."""
    rows = np.flatnonzero(first.particles[:, STATUS] == 4)[:2]
    return tuple(Beam(int(first.particles[row, PDG_ID]), float(first.particles[row, ENERGY])) for row in rows)


def processes_of(first: RawEvents) -> tuple[Process, ...]:
    """The cross section as the first event estimates it.

    Generators write a running estimate into every event, and the last one is the best, but a stream cannot know it
    at its beginning. Each event keeps its own in `EventBatch.attributes`.
    """
    attributes = first.attributes[0]
    words = attributes.get(record.CROSS_SECTION, "").split()
    if len(words) < 2:
        return ()
    try:
        cross_section, error = float(words[0]), float(words[1])
        process = int(attributes.get(record.PROCESS, "0"))
    except ValueError as problem:
        raise BrokenEventError(f"its cross section or process is malformed: {problem}") from problem
    return (Process(process, cross_section, error, 0.0),)
