"""Writes batches into an LHEH5 file; the layout is described in `mlgen.formats.lheh5`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from mlgen.errors import OutputError
from mlgen.event_format import EventWriter
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats.columnar import check_finite, check_hard, check_variations, pieces, to_bytes, variation_table
from mlgen.formats.lheh5_file import RememberingFile
from mlgen.formats.lheh5_tables import (
    EVENTS,
    GENERATORS,
    INIT,
    NOMINAL,
    PARTICLES,
    PROCESSES,
    FloatArray,
    scales_of,
    scales_text,
    trials_of,
    trials_text,
)
from mlgen.run_info import RunInfo

#: Version of the layout, as pylhe writes it.
VERSION = (2, 6, 0)
#: Rows of numbers with many small integers shrink to a third; higher levels and the shuffle filter gain nothing.
COMPRESSION = {"compression": "gzip", "compression_opts": 1}
CHUNK_BYTES = 1 << 19
#: Chunks wait here until they are full, so that each one is compressed once.
CACHE_BYTES = 1 << 24
LARGEST_WHOLE = 1 << 53
_GENERATOR = re.compile(r"<generator\b[^>]*>.*?</generator>", re.DOTALL)
_HEADER = re.compile(r"<header\b[^>]*>.*</header>", re.DOTALL)


def column_name(name: str) -> str:
    """Name of a named weight's column: its own, unless LHEH5 uses that for something else."""
    return f"{name} (named weight)" if name in EVENTS or name in NOMINAL else name


class _Texts:
    """Texts of the events, made when the first one comes: all in a row, and where each ends."""

    def __init__(self, group: Any, name: str) -> None:
        self._group, self._name = group, name
        self._made: Any = None

    def append(self, texts: npt.NDArray[np.object_] | None, first: int, n: int) -> None:
        if self._made is None:
            if texts is None or not any(texts):
                return
            self._made = self._group.create_group(self._name)
            for name, dtype in (("text", np.uint8), ("end", np.int64)):
                self._made.create_dataset(name, (0,), maxshape=(None,), chunks=(1 << 16,), dtype=dtype, **COMPRESSION)
        raw, lengths = to_bytes(texts, n)
        text, end = self._made["text"], self._made["end"]
        before = len(text)
        end.resize((first + n,))
        end[first:] = before + np.cumsum(lengths)
        text.resize((before + len(raw),))
        text[before:] = raw


class LesHouchesHDF5Writer(EventWriter):
    """An LHEH5 file that is being written."""

    def __init__(self, path: Path, run_info: RunInfo) -> None:
        import h5py

        self._names = run_info.variation_names
        self._columns = (*EVENTS, *map(column_name, self._names))
        self._events_written = self._particles_written = 0
        self._file: Any = None
        self._disk = RememberingFile(path)
        try:
            self._file = h5py.File(self._disk, "w", rdcc_nbytes=CACHE_BYTES)
            self._string = h5py.string_dtype()
            self._write_init(run_info)
            self._write_header(run_info)
            self._events = self._table("events", self._columns)
            self._particles = self._table("particles", PARTICLES)
            own = self._file.create_group("mlgen")
            own.create_dataset("run_info", data=run_info.to_json(), dtype=self._string)
            self._comments, self._tag_attributes = _Texts(own, "comments"), _Texts(own, "tag_attributes")
            self._file.create_dataset("version", data=np.array(VERSION, np.int32))
            self._disk.check()
        except BaseException:
            self.discard()
            raise

    def write(self, batch: EventBatch) -> None:
        """Append a batch.

        Raises:
            OutputError: It holds shower-level events, a variation that the file does not declare, a weight or
                momentum that is not finite, or a process id that a double cannot hold.
        """
        check_hard(batch, "LHEH5")
        check_variations(batch, self._names)
        check_finite(batch, self._events_written)
        for piece in pieces(batch):
            self._write(piece)
            self._disk.check()

    def close(self) -> None:
        """End the file."""
        if not self._events_written:
            # h5py, and so pylhe, cannot walk over the chunks of a table that has none.
            for table, columns in (("events", self._columns), ("particles", PARTICLES)):
                del self._file[table]
                self._name_columns(self._file.create_dataset(table, (0, len(columns)), dtype="f8"), columns)
        self._file.close()
        self._disk.check()
        self._disk.close()

    def discard(self) -> None:
        """Close the file as it is."""
        try:
            if self._file is not None:
                self._file.close()
        finally:
            self._disk.close()

    def _write(self, batch: EventBatch) -> None:
        n = len(batch)
        process_id = np.asarray(batch.process_id, np.int64)
        if np.any(np.abs(process_id) > LARGEST_WHOLE):
            wrong = process_id[np.abs(process_id) > LARGEST_WHOLE][0]
            raise OutputError(f"process id {wrong} does not fit into LHEH5, which keeps it as a double (up to 2^53)")
        counts = batch.counts
        trials = np.full(n, math.nan)
        scales = np.full((n, 2), math.nan)
        attributes, comments = batch.tag_attributes, batch.comments
        if attributes is not None:
            known = {text: trials_of(text) for text in set(attributes)}
            trials = np.array([known[text] for text in attributes], np.float64)
            attributes = _remainder(attributes, list(map(trials_text, trials.tolist())))
        if comments is not None:
            pairs = [scales_of(text) for text in comments]
            scales = np.array(pairs, np.float64).reshape(n, 2)
            comments = _remainder(comments, [scales_text(*pair) for pair in pairs])
        start = self._particles_written + batch.offsets[:-1]
        per_event = (
            *(process_id, counts, start, trials, batch.scale, scales[:, 0], scales[:, 1]),
            *(batch.alpha_qed, batch.alpha_qcd, batch.weight),
        )
        rows = np.column_stack([*per_event, variation_table(batch, self._names)]).astype(np.float64, copy=False)
        self._comments.append(comments, self._events_written, n)
        self._tag_attributes.append(attributes, self._events_written, n)
        columns = batch.columns()
        self._append(self._particles, np.column_stack([columns[name] for name in PARTICLE_COLUMNS]))
        self._append(self._events, rows)
        self._events_written += n
        self._particles_written += int(counts.sum())

    def _append(self, dataset: Any, rows: FloatArray) -> None:
        before = len(dataset)
        dataset.resize((before + len(rows), dataset.shape[1]))
        dataset[before:] = rows

    def _table(self, name: str, columns: Sequence[str]) -> Any:
        # Chunks hold whole rows: pylhe reads an event from one chunk.
        rows = max(1, CHUNK_BYTES // (8 * len(columns)))
        shape = (0, len(columns))
        dataset = self._file.create_dataset(
            name, shape, maxshape=(None, len(columns)), chunks=(rows, len(columns)), dtype="f8", **COMPRESSION
        )
        self._name_columns(dataset, columns)
        return dataset

    def _name_columns(self, dataset: Any, columns: Sequence[str]) -> None:
        # Programs look for either attribute.
        for key in ("properties", dataset.name.rsplit("/", 1)[-1]):
            dataset.attrs.create(key, list(columns), dtype=self._string)

    def _write_init(self, run_info: RunInfo) -> None:
        init = self._file.create_dataset("init", data=np.array(run_info.init_numbers, np.float64))
        self._name_columns(init, INIT)
        foreign = run_info.foreign.get("lheh5", {})
        if "description" in foreign:
            init.attrs["description"] = foreign["description"]
        rows = [
            [p.process_id, math.nan, math.nan, p.cross_section, p.error, p.maximum_weight] for p in run_info.processes
        ]
        for column, name in ((1, "npLO"), (2, "npNLO")):
            for row, value in zip(rows, foreign.get(name, ()), strict=False):
                row[column] = math.nan if value is None else value
        processes = np.array(rows, np.float64).reshape(len(rows), len(PROCESSES))
        self._name_columns(self._file.create_dataset("procInfo", data=processes), PROCESSES)
        generators = _generators(run_info)
        if generators:
            # Pepper looks for attributes of init, Sherpa and pylhe for a dataset.
            for key, value in zip(GENERATORS, generators[0], strict=True):
                init.attrs[f"generator{key[0].upper()}{key[1:]}"] = value
            dataset = self._file.create_dataset("generators", data=generators, dtype=self._string)
            self._name_columns(dataset, GENERATORS)

    def _write_header(self, run_info: RunInfo) -> None:
        root = _header_blocks(run_info.header)
        if not self._names:
            if len(root):
                self._header(root)
            return
        block = ElementTree.SubElement(root, "initrwgt")
        for group, variations in run_info.grouped_variations():
            parent = block
            if group is not None:
                # pylhe wants a group to have a name.
                named = {} if {"name", "type"} & set(group) else {"name": ""}
                parent = ElementTree.SubElement(block, "weightgroup", {**group, **named})
            for variation in variations:
                attributes = {**variation.attributes, "id": column_name(variation.name)}
                ElementTree.SubElement(parent, "weight", attributes).text = variation.description
        self._header(root)

    def _header(self, root: ElementTree.Element) -> None:
        text = ElementTree.tostring(root, encoding="unicode")
        dataset = self._file.create_group("xml").create_dataset("header", data=text, dtype=self._string)
        self._name_columns(dataset, ("header",))


def _remainder(texts: npt.NDArray[np.object_], made: list[str]) -> npt.NDArray[np.object_]:
    """What must be kept as text: where the columns give the same text again, nothing."""
    kept = texts.copy()
    kept[texts == np.array(made, object)] = ""
    return kept


def _header_blocks(header: str) -> ElementTree.Element:
    """The header as XML; empty where it is not well-formed, as real ones often are: ``mlgen/run_info`` has the text."""
    found = _HEADER.search(header)
    if found:
        try:
            return ElementTree.fromstring(found.group(0))
        except ElementTree.ParseError:
            pass
    return ElementTree.Element("header")


def _generators(run_info: RunInfo) -> list[list[str]]:
    rows = []
    for block in _GENERATOR.findall(run_info.init_text):
        try:
            element = ElementTree.fromstring(block)
        except ElementTree.ParseError:
            continue
        attributes = dict(element.attrib)
        name, version = attributes.pop("name", ""), attributes.pop("version", "")
        rows.append([name, version, element.text or "", json.dumps(attributes)])
    if not rows and run_info.generator:
        rows.append([run_info.generator, "", "", "{}"])
    return rows
