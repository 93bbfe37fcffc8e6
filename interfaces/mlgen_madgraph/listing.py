"""Which libraries there are, and what each computes."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgen.errors import ProcessError
from mlgen.hard_process.matrix_element import ColorFlow
from mlgen.hard_process.particles import find_particle
from mlgen.hard_process.subprocess import Subprocess
from mlgen_madgraph.settings import UmamiSettings


@dataclass(frozen=True, slots=True)
class Entry:
    """One subprocess of a library.

    Args:
        subprocess: Its particles, in the order of the library's momenta.
        library: The file.
        flavor: Number of the flavours among those of the library; None where it has one set only.
        color_flows: By the library's colour index; empty where they are not known.
    """

    subprocess: Subprocess
    library: Path
    flavor: int | None = None
    color_flows: tuple[ColorFlow, ...] = ()


def entries(settings: UmamiSettings) -> list[Entry]:
    """Return all subprocesses of the libraries that the settings name.

    Raises:
        ProcessError: A file is not there, or cannot be understood.
    """
    if settings.folder is not None:
        return list(_in_folder(Path(settings.folder).expanduser()))
    found = []
    for text, name in settings.libraries.items():
        library = Path(name).expanduser()
        if not library.is_file():
            raise ProcessError(f"the UMAMI library of {text} is not there: '{library}'")
        found.append(Entry(_subprocess(text), library))
    return found


def parameter_card(settings: UmamiSettings) -> Path:
    """Return the parameter card.

    Raises:
        ProcessError: It is not there.
    """
    card = Path(settings.param_card or Path(settings.folder or "") / "Cards" / "param_card.dat").expanduser()
    if not card.exists():
        raise ProcessError(f"the parameter card of the UMAMI libraries is not there: '{card}'\nSet param_card")
    return card


def _in_folder(folder: Path) -> Iterator[Entry]:
    """Read ``SubProcesses/subprocesses.json``, which MadGraph writes beside the libraries."""
    index = folder / "SubProcesses" / "subprocesses.json"
    try:
        records = json.loads(index.read_text())
    except OSError as error:
        raise ProcessError(
            f"'{folder}' is no folder with UMAMI libraries: '{index}' cannot be read ({error.strerror})\n"
            "In MadGraph 7: generate ..., output mg7 FOLDER; then 'make' in FOLDER/SubProcesses"
        ) from error
    except ValueError as error:
        raise ProcessError(f"'{index}' is not valid JSON: {error}") from error
    try:
        for record in records:
            yield from _of_record(folder, record)
    except (KeyError, IndexError, TypeError) as error:
        raise ProcessError(
            f"'{index}' is not as MadGraph 7 writes it: {type(error).__name__}: {error}\n"
            "Name the libraries one by one with the setting 'libraries'"
        ) from error


def _of_record(folder: Path, record: dict[str, Any]) -> Iterator[Entry]:
    pattern = glob.escape(str(folder)) + "/" + record["me_path"].format(device="*")
    # A library for the CPU is preferred: momenta are in its memory.
    libraries = sorted(glob.glob(pattern), key=lambda name: ("cuda" in name or "hip" in name, name))
    if not libraries:
        raise ProcessError(
            f"no UMAMI library fits '{pattern}'\nCompile them: run 'make' in '{folder / 'SubProcesses'}'"
        )
    for number, flavor in enumerate(record["flavors"]):
        flows = tuple(
            ColorFlow(tuple(int(leg[0]) for leg in flow), tuple(int(leg[1]) for leg in flow))
            for flow in record["color_flows"][number]
        )
        for ids in flavor["options"]:
            subprocess = Subprocess((int(ids[0]), int(ids[1])), tuple(int(i) for i in ids[2:]))
            yield Entry(subprocess, Path(libraries[0]), int(flavor["index"]), flows)


def _subprocess(text: str) -> Subprocess:
    incoming, arrow, outgoing = text.partition(">")
    names = incoming.split()
    if not arrow or len(names) != 2 or not outgoing.split():
        raise ProcessError(
            f"'{text}' in 'libraries' is no subprocess; two particles, '>' and others are expected: 'g g > t t~'"
        )
    first, second = (find_particle(name).pdg_id for name in names)
    return Subprocess((first, second), tuple(find_particle(name).pdg_id for name in outgoing.split()))
