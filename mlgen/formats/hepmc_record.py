"""What mlgen writes into HepMC files beyond the standard, so that a Les Houches record comes back whole.

Everything is an attribute with a name that begins with ``mlgen_``; other programs pass it by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Attribute of the run: `RunInfo` as JSON, in parts ``mlgen_run_info``, ``mlgen_run_info_1``, ...
RUN_INFO = "mlgen_run_info"
#: Attributes of an event: the integers of its Les Houches record, its texts, and the weights that it lacks.
RECORD, COMMENTS, TAG_ATTRIBUTES, MISSING = "mlgen_lhe", "mlgen_comments", "mlgen_tag_attributes", "mlgen_missing"
#: Standard attributes of an event.
ALPHA_QCD, ALPHA_QED, SCALE, PROCESS = "alphaQCD", "alphaQED", "event_scale", "signal_process_id"
CROSS_SECTION, PDF_INFO, HEAVY_ION = "GenCrossSection", "GenPdfInfo", "GenHeavyIon"
#: Standard attributes of a particle: its colour lines.
FLOWS = "flow1", "flow2"
#: Attributes of an event that have a column or a field of their own.
TAKEN = frozenset((RECORD, COMMENTS, TAG_ATTRIBUTES, MISSING, ALPHA_QCD, ALPHA_QED, SCALE, PROCESS))

NOMINAL = "Default"
#: HepMC3 reads lines of up to 262,144 characters and stops silently at a longer one; escaping can double a text.
LONGEST_TEXT = 100_000

RECORD_INTEGERS = ("status", "mother1", "mother2", "color1", "color2")
RECORD_FLOATS = ("lifetime", "spin")


@dataclass(frozen=True, slots=True)
class Record:
    """What HepMC has no place for: columns of one event, and the number of beam particles in front of them."""

    beams: int
    integers: npt.NDArray[np.int32]
    floats: npt.NDArray[np.float64]


def pack(beams: int, integers: npt.NDArray[np.int32], floats: npt.NDArray[np.float64]) -> str:
    """Write a record as text.

    Args:
        beams: Beam particles in front.
        integers: Columns of `RECORD_INTEGERS`, shape ``(particles, 5)``.
        floats: Columns of `RECORD_FLOATS`, shape ``(particles, 2)``.
    """
    parts = [str(beams)]
    parts += [" ".join(map(str, column)) for column in integers.T.tolist()]
    parts += [" ".join(map(repr, column)) for column in floats.T.tolist()]
    return ";".join(parts)


def unpack(text: str) -> Record:
    """Inverse of `pack`.

    Raises:
        ValueError: The text is no record.
    """
    first, *others = text.split(";")
    n = len(RECORD_INTEGERS)
    if len(others) != n + len(RECORD_FLOATS):
        raise ValueError(f"{len(others) + 1} parts; {n + len(RECORD_FLOATS) + 1} are expected")
    integers = np.array([[int(word) for word in part.split()] for part in others[:n]], np.int32)
    floats = np.array([[float(word) for word in part.split()] for part in others[n:]], np.float64)
    if integers.shape[1] != floats.shape[1]:
        raise ValueError("its columns differ in length")
    return Record(int(first), integers, floats)


def weight_names(variations: Iterable[str]) -> list[str]:
    """Names of all weights as HepMC files can hold them, the nominal one first.

    HepMC3 splits names at blanks and refuses a name that comes twice; HepMC2 ends a name at a quotation mark.
    """
    names = [NOMINAL]
    for variation in variations:
        name = re.sub(r"\s+", "_", variation).replace('"', "'") or "unnamed"
        unique, number = name, 1
        while unique in names:
            number += 1
            unique = f"{name}_{number}"
        names.append(unique)
    return names


def parts_of(text: str, name: str) -> dict[str, str]:
    """Cut a long text into attributes ``name``, ``name_1``, ... that HepMC3 can read."""
    pieces = [text[start : start + LONGEST_TEXT] for start in range(0, len(text), LONGEST_TEXT)]
    return {f"{name}_{index}" if index else name: piece for index, piece in enumerate(pieces)}


def joined(attributes: dict[str, str], name: str) -> str | None:
    """Inverse of `parts_of`; None when there is no such attribute."""
    if name not in attributes:
        return None
    pieces: Sequence[str] = [attributes[name]]
    while f"{name}_{len(pieces)}" in attributes:
        pieces = [*pieces, attributes[f"{name}_{len(pieces)}"]]
    return "".join(pieces)
