"""Files of momenta and amplitudes that other programs wrote.

=========================  ============================================================================================
``.npz``, ``.h5``          momenta ``momenta`` or ``p``, ``(n, particles, 4)``; values ``values``, ``value``, ``me`` or
                           ``me_*``, ``(n,)``; if known, PDG ids ``pdg_ids`` or ``pdg``, ``(particles,)``
``.csv``, ``.csv.gz``      a line of names ``E1, px1, py1, pz1, E2, ...`` and ``value``, ``values``, ``me`` or ``me_*``
                           in any order; before it, if known, ``# pdg: 21 21 6 -6 21``
=========================  ============================================================================================

Particles are numbered from 1, the two incoming ones first; momenta are in GeV.
"""

from __future__ import annotations

import gzip
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from mlgen.errors import InputError, nearest
from mlgen.formats.columnar import explained
from mlgen.stages import FloatArray

#: Suffixes of the files that can be read.
SUFFIXES = (".npz", ".h5", ".hdf5", ".csv", ".csv.gz")

_MOMENTA = ("momenta", "p")
_VALUES = ("values", "value", "me")
_PDG_IDS = ("pdg_ids", "pdg")
#: How the names of values begin where there may be several kinds of them.
_VALUES_PREFIX = "me_"
#: p^2 may be negative by this part of E^2: what single precision leaves of a massless particle.
_TOLERANCE = 1e-6
_COMPONENTS = ("px", "py", "pz", "e")
_COMPONENT = re.compile(r"(e|px|py|pz)([0-9]+)")
_PDG_LINE = re.compile(r"#\s*pdg(?:[ _]ids?)?\s*:(.*)", re.IGNORECASE)
#: Names that a message lists.
_LISTED = 20


@dataclass(frozen=True, slots=True)
class AmplitudePoints:
    """What a file of points holds.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV.
        values: |M|^2, ``(n,)``.
        pdg_ids: Of all particles, in the order of the momenta; None where the file does not say.
        remarks: How the file was understood, in sentences.
    """

    momenta: FloatArray
    values: FloatArray
    pdg_ids: tuple[int, ...] | None = None
    remarks: tuple[str, ...] = ()


def read_points(path: Path, *, momenta_key: str | None = None, values_key: str | None = None) -> AmplitudePoints:
    """Read momenta and amplitudes; the suffix of the file says how.

    What the numbers are is not looked at, apart from which component is the energy: `mlgen.amplitudes.checks` does
    that.

    Args:
        path: The file; see this module for what may stand in it.
        momenta_key: Name of the array of momenta; None: one of the usual ones.
        values_key: Name of the array or column of values; None: one of the usual ones.

    Raises:
        InputError: The file is not there or damaged; an array is missing, there are several, or it has the wrong shape
            or type; or it cannot be told which component is the energy.
    """
    source, name = str(path), path.name.lower()
    if not name.endswith(SUFFIXES):
        raise InputError(source, f"is not known as a file of amplitudes; its name has to end in {', '.join(SUFFIXES)}")
    if not path.is_file():
        problem = "is a directory; a file of amplitudes is expected" if path.is_dir() else "there is no such file"
        raise InputError(source, problem)
    if name.endswith(".npz"):
        if not zipfile.is_zipfile(path):
            raise InputError(source, "is no whole NumPy archive, as np.savez writes it")
        with explained(source, "cannot be opened as a NumPy archive"):
            opened = np.load(path, allow_pickle=False)
        with opened:
            return _from_arrays(source, opened, momenta_key, values_key)
    if name.endswith((".h5", ".hdf5")):
        import h5py

        with explained(source, "cannot be opened as an HDF5 file"):
            file = h5py.File(path, "r")
        with file:
            return _from_arrays(source, file, momenta_key, values_key)
    if momenta_key is not None:
        raise InputError(source, f"momenta_key = '{momenta_key}': the columns E1, px1, ... of a table name the momenta")
    return _from_table(source, path, values_key)


# Arrays


def _from_arrays(
    source: str, arrays: Mapping[str, Any], momenta_key: str | None, values_key: str | None
) -> AmplitudePoints:
    names = list(arrays)
    momenta_name = _choose(source, "momenta", names, _MOMENTA, momenta_key)
    known = _VALUES if set(_VALUES) & set(names) else _prefixed(source, arrays)
    values_name = _choose(source, "values", names, known, values_key)
    stored = _numbers(source, arrays, momenta_name)
    if stored.ndim != 3 or stored.shape[2] != 4:
        wanted = "(points, particles, 4) is expected"
        if stored.ndim == 3 and stored.shape[2] == 3:
            wanted += ", with the energy"
        raise InputError(source, f"'{momenta_name}' has the shape {stored.shape}; {wanted}")
    values = _numbers(source, arrays, values_name)
    if values.shape != stored.shape[:1]:
        raise InputError(
            source,
            f"'{values_name}' has the shape {values.shape}; {stored.shape[:1]} is expected, one value for each point of"
            f" '{momenta_name}'",
        )
    if not len(values):
        raise InputError(source, f"holds no points: '{momenta_name}' is empty")
    momenta, remark = _energy_last(source, momenta_name, stored)
    return AmplitudePoints(momenta, values, _stored_pdg_ids(source, arrays, momenta.shape[1]), (remark,))


def _prefixed(source: str, arrays: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of one-dimensional arrays of floating-point numbers that may be values."""
    found = []
    for name in arrays:
        if name.startswith(_VALUES_PREFIX):
            with explained(source, f"'{name}' cannot be read"):
                array = arrays[name]
            if getattr(array, "ndim", None) == 1 and array.dtype.kind == "f":
                found.append(name)
    return tuple(found)


def _numbers(source: str, arrays: Mapping[str, Any], name: str) -> FloatArray:
    """Read an array of real numbers."""
    with explained(source, f"'{name}' cannot be read"):
        array = arrays[name]
        # Of a group there is nothing to read.
        content = array[()] if hasattr(array, "dtype") and array.dtype.kind in "fiu" else None
    if content is None:
        raise InputError(source, f"'{name}' is no array of real numbers")
    return np.ascontiguousarray(content, dtype=np.float64)


def _stored_pdg_ids(source: str, arrays: Mapping[str, Any], particles: int) -> tuple[int, ...] | None:
    name = next((name for name in _PDG_IDS if name in arrays), None)
    if name is None:
        return None
    ids = _numbers(source, arrays, name)
    if ids.ndim == 2 and len(ids):
        if np.any(ids != ids[0]):
            raise InputError(source, f"'{name}' differs from point to point; a file of one process is expected")
        ids = ids[0]
    if ids.shape != (particles,) or np.any(ids != np.round(ids)):
        raise InputError(source, f"'{name}' has the shape {ids.shape}; whole numbers, {(particles,)}, are expected")
    return tuple(int(pdg_id) for pdg_id in ids)


def _energy_last(source: str, name: str, stored: FloatArray) -> tuple[FloatArray, str]:
    """Put the energy last, which is the one component that is never less than the length of the other three.

    Returns:
        Momenta as ``(px, py, pz, energy)``, and a remark on how they were stored.
    """
    finite = np.isfinite(stored).all(axis=(1, 2))
    if not finite.all():
        first, count = int(np.argmin(finite)), int(np.count_nonzero(~finite))
        raise InputError(source, f"'{name}' is not finite at point {first + 1:,} ({count:,} of {len(stored):,} points)")
    squares = stored**2
    total = squares.sum(axis=2)
    # E^2 - p^2 >= -tolerance * E^2, where p^2 is the total without E^2. A point counts when all its particles fit.
    fits = {
        place: ((stored[:, :, place] > 0) & ((2 + _TOLERANCE) * squares[:, :, place] >= total)).all(axis=1)
        for place in (0, 3)
    }
    as_first, as_last = bool(fits[0].all()), bool(fits[3].all())
    if as_first and as_last:
        raise InputError(
            source,
            f"'{name}': both the first and the last component could be the energy; store points whose particles do not"
            " all move along one axis",
        )
    if as_last:
        return stored, f"The momenta are stored as (px, py, pz, energy) in '{name}', as their masses show."
    if as_first:
        momenta = np.ascontiguousarray(np.roll(stored, -1, axis=2))
        return momenta, f"The momenta are stored as (energy, px, py, pz) in '{name}', as their masses show."
    reasons = (
        f"the {word} one is less than the length of the other three, or not positive, in"
        f" {np.count_nonzero(~fits[place]):,} of {len(stored):,} points, first in point {np.argmin(fits[place]) + 1:,}"
        for place, word in ((0, "first"), (3, "last"))
    )
    raise InputError(
        source,
        f"'{name}': neither the first nor the last of the four components can be the energy: {'; '.join(reasons)}",
        advice="Energies have to be positive, those of incoming particles too.",
    )


# Tables


def _from_table(source: str, path: Path, values_key: str | None) -> AmplitudePoints:
    with explained(source, "cannot be read as text"), _text(path) as stream:
        header = _header(source, stream)
        columns, particles = header.momentum_columns(source)
        names = list(header.columns)
        known = _VALUES if set(_VALUES) & set(names) else tuple(n for n in names if n.startswith(_VALUES_PREFIX))
        key = None if values_key is None else values_key.lower()
        value_name = _choose(source, "values", names, known, key)
        used = [*columns, header.columns[value_name]]
        try:
            with warnings.catch_warnings():
                # That there is nothing is said below.
                warnings.filterwarnings("ignore", "loadtxt: input contained no data")
                # NumPy's type says less than it takes.
                read = cast("Callable[..., FloatArray]", np.loadtxt)
                table = read(stream, delimiter=",", comments="#", usecols=used, ndmin=2)
        except ValueError as error:
            raise _unreadable_line(source, path, header, used, str(error)) from error
    if not len(table):
        raise InputError(source, "holds no points: nothing follows the line of column names")
    if header.pdg_ids is not None and len(header.pdg_ids) != particles:
        raise InputError(
            source, f"the line '# pdg:' has {len(header.pdg_ids)} numbers, but there are columns for {particles}"
        )
    unused = [name for name, column in header.columns.items() if column not in used]
    remarks = (f"Columns that were not used: {', '.join(unused[:_LISTED])}.",) if unused else ()
    momenta = np.ascontiguousarray(table[:, :-1]).reshape(len(table), particles, 4)
    return AmplitudePoints(momenta, np.ascontiguousarray(table[:, -1]), header.pdg_ids, remarks)


@dataclass(frozen=True, slots=True)
class _Header:
    """What stands above the numbers: place of each column by its name in small letters, PDG ids, number of lines."""

    columns: Mapping[str, int]
    pdg_ids: tuple[int, ...] | None
    lines: int

    def momentum_columns(self, source: str) -> tuple[list[int], int]:
        """Return the places of px, py, pz and energy of the first particle, of the second, ...; and their number."""
        numbers = {int(match[2]) for name in self.columns if (match := _COMPONENT.fullmatch(name))}
        particles = max(numbers, default=0)
        if not particles:
            raise InputError(
                source,
                f"line {self.lines} names no momenta: columns E1, px1, py1, pz1, E2, ... are expected; it has"
                f" {_listed(list(self.columns))}",
            )
        wanted = [f"{component}{number}" for number in range(1, particles + 1) for component in _COMPONENTS]
        missing = [name for name in wanted if name not in self.columns]
        if missing:
            raise InputError(
                source,
                f"the columns {_listed(missing)} are missing: there are momenta up to particle {particles},"
                " each of which needs E, px, py and pz; the first particle has number 1",
                line=self.lines,
            )
        return [self.columns[name] for name in wanted], particles


def _text(path: Path) -> TextIO:
    # Spreadsheets put a byte-order mark in front.
    if path.name.lower().endswith(".gz"):
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig"))
    return path.open(encoding="utf-8-sig")


def _header(source: str, stream: TextIO) -> _Header:
    pdg_ids: tuple[int, ...] | None = None
    for number, line in enumerate(iter(stream.readline, ""), 1):
        text = line.strip()
        if match := _PDG_LINE.match(text):
            try:
                pdg_ids = tuple(int(word) for word in match[1].replace(",", " ").split())
            except ValueError:
                raise InputError(
                    source, f"'{text}' is no list of PDG ids; '# pdg: 21 21 6 -6' is expected", line=number
                ) from None
        if text and not text.startswith("#"):
            names = [name.strip().strip("\"'").lower() for name in text.split(",")]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise InputError(source, f"columns of the same name: {_listed(twice)}", line=number)
            return _Header({name: column for column, name in enumerate(names)}, pdg_ids, number)
    raise InputError(source, "holds no line of column names; 'E1, px1, py1, pz1, E2, ..., value' is expected")


def _unreadable_line(source: str, path: Path, header: _Header, used: Sequence[int], reason: str) -> InputError:
    """Find the first line that NumPy cannot have read: it counts lines in more than one way."""
    with _text(path) as stream:
        for number, line in enumerate(stream, 1):
            text = line.partition("#")[0].strip()
            if number <= header.lines or not text:
                continue
            words = text.split(",")
            if len(words) <= max(used):
                problem = f"has {len(words)} columns; the line of names has {len(header.columns)}"
                return InputError(source, problem, line=number)
            for column in used:
                try:
                    float(words[column])
                except ValueError:
                    name = list(header.columns)[column]
                    problem = f"'{words[column].strip()}' in column '{name}' is not a number"
                    return InputError(source, problem, line=number)
    return InputError(source, f"cannot be read as a table of numbers: {reason}")


# Both


def _choose(source: str, what: str, present: Sequence[str], known: Sequence[str], key: str | None) -> str:
    """Return the name of the array or column that was asked for, or the only one that is known.

    Args:
        source: The file.
        what: ``momenta`` or ``values``.
        present: Names in the file.
        known: Names that count when no other is given.
        key: The name that was asked for.
    """
    if key is not None:
        if key not in present:
            hint = nearest(key, present)
            raise InputError(source, f"{what}_key = '{key}': no such name; there are {_listed(present)}{hint}")
        return key
    found = [name for name in known if name in present]
    if len(found) == 1:
        return found[0]
    usual = {"momenta": "'momenta' or 'p'", "values": "'values', 'value', 'me' or 'me_...'"}[what]
    if found:
        problem = f"holds {len(found)} sets of {what}: {_listed(found)}"
        raise InputError(source, problem, advice=f"Choose one with {what}_key.")
    raise InputError(
        source,
        f"holds no {what}: {usual} is expected; there are {_listed(present)}",
        advice=f"Where they have another name, give it as {what}_key.",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(names[:_LISTED]) or "none") + more
