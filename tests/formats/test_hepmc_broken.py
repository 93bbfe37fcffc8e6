"""HepMC input that is broken, cut, damaged, joined or no ordinary file."""

import gzip
import os
import re
import threading

import awkward as ak
import numpy as np
import pytest

from mlgen.errors import InputError
from mlgen.event_format import ReadOptions
from mlgen.events import EventBatch
from mlgen.formats.hepmc import HepMC2, HepMC3
from mlgen.run_info import Variation
from tests.formats.conftest import (
    RUN,
    assert_same_events,
    event,
    foreign_file,
    foreign_showers,
    hard_batch,
    read,
    shower,
    written,
)


def broken(data, old, new, count=1):
    """Change the second event of a file."""
    start = data.index(b"\nE ", data.index(b"\nE ") + 1)
    changed = data[:start] + re.sub(old, new, data[start:], count=count)
    assert changed != data
    return changed


DAMAGES = {
    "garbage number": (rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1abc", "9 numbers are expected"),
    "nan momentum": (rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1nan", "not finite"),
    "inf momentum": (rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1-inf", "not finite"),
    "short particle": (rb"(?m)^(P 4 .*) \d+$", rb"\1", "9 numbers are expected"),
    "fraction": (rb"(?m)^(P 4 .*) \d+$", rb"\1 1.5", "whole number"),
    "missing particle": (rb"(?m)^P 4 .*\n", rb"", "announces"),
    "wrong number": (rb"(?m)^P 4 ", rb"P 5 ", "not numbered"),
    "missing vertex": (rb"(?m)^V .*\n", rb"", "announces"),
    "garbage vertex": (rb"(?m)^V (.*)\[", rb"V \1(", "is expected"),
    "vertex of nothing": (rb"(?m)^V (.*)\[3", rb"V \1[99", "99"),
    "unknown line": (rb"(?m)^U .*$", rb"? what", "one of E, U, W, A, P, V"),
    "unit": (rb"(?m)^U .*$", rb"U TEV MM", "GEV"),
    "nan weight": (rb"(?m)^W \S+", rb"W nan", "weight is not finite"),
    "inf variation": (rb"(?m)^W (\S+) \S+", rb"W \1 inf", "weight is not finite"),
    "too few weights": (rb"(?m)^W (.*) \S+$", rb"W \1", "weights"),
    "garbage weight": (rb"(?m)^W \S+", rb"W 1.0x", "malformed"),
    "garbage first line": (rb"E \d+ \d+", rb"E 1 x", "is expected"),
    "scale": (rb"event_scale \S+", rb"event_scale big", "event_scale"),
    "record": (rb"mlgen_lhe \d;", rb"mlgen_lhe ;", "mlgen_lhe"),
    "record length": (rb"mlgen_lhe 2;", rb"mlgen_lhe 1;", "mlgen_lhe"),
    "missing weight": (rb"mlgen_missing \S+", rb"mlgen_missing 77", "mlgen_missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_broken_event(damage):
    old, new, message = DAMAGES[damage]
    good = event(
        [
            (21, -1, 0, 0, 501, 502, 0.0, 0.0, 400.0, 400.0, 0.0),
            (21, -1, 0, 0, 503, 501, 0.0, 0.0, -500.0, 500.0, 0.0),
            (6, 1, 1, 2, 503, 0, 1.0, 2.0, -50.0, 450.0, 172.5),
            (-6, 1, 1, 2, 0, 502, -1.0, -2.0, -50.0, 450.0, 172.5),
        ],
        scale=[91.0],
        variations={"scale up 2": np.array([0.5])},
    )
    data = broken(written(HepMC3(), RUN, EventBatch.concatenate([good] * 4)), old, new)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read(HepMC3(), data)
    assert caught.value.source == "x.hepmc"
    assert caught.value.event == 2
    lines = data.split(b"\n")
    second, third = [i for i, line in enumerate(lines, start=1) if line.startswith(b"E ")][1:3]
    assert second <= caught.value.line < third
    reader, (batch,) = read(HepMC3(), data, on_error="skip")
    assert len(batch) == 3
    assert reader.skipped.count == 1
    assert "event 2" in reader.skipped.reasons[0]
    assert_same_events(batch, EventBatch.concatenate([good] * 3), RUN.variation_names)


@pytest.mark.parametrize(("old", "new"), [(rb"(@ \S+) \S+", rb"\1"), (rb"@ \S+", b"@ x"), (rb"@ \S+", b"@ inf")])
def test_broken_position(old, new):
    data = broken(foreign_file("HepMC3", foreign_showers()), old, new)
    with pytest.raises(InputError, match="event 2") as caught:
        read(HepMC3(), data)
    assert "position" in str(caught.value) or "is expected" in str(caught.value)
    reader, (batch,) = read(HepMC3(), data, on_error="skip")
    assert len(batch) == 4
    assert reader.skipped.count == 1


HEPMC2_DAMAGES = {
    "garbage number": (rb"(?m)^(P \S+ \S+ )\S+", rb"\1abc", "11 numbers are expected"),
    "nan momentum": (rb"(?m)^(P \S+ \S+ )\S+", rb"\1nan", "not finite"),
    "short particle": (rb"(?m)^(P \S+ \S+ ).*$", rb"\1", "13 words"),
    "missing particle": (rb"(?m)^P 1000[78] .*\n", rb"", "announce"),
    "missing vertex": (rb"(?m)^V .*\n", rb"", "vertex|vertices"),
    "short vertex": (rb"(?m)^(V \S+ \S+) .*$", rb"\1", "9 or more"),
    "unknown line": (rb"(?m)^U .*$", rb"? what", "one of E, N, U, C, H, F, V, P"),
    "inf weight": (rb"(?m)^(E .* 4) \S+( \S+ \S+ \S+)$", rb"\1 inf\2", "weight is not finite"),
    "too few weights": (rb"(?m)^(E .*) \S+$", rb"\1", "announced"),
    "garbage first line": (rb"E (\d+ \d+ \S+ \S+ \S+ \d+ \d+) \d+", rb"E \1 x", "malformed"),
    "end vertex": (rb"(?m)^(P 10002 .*) -3( 2 1 \d+ 2 \d+)$", rb"\1 -33\2", "missing"),
}


@pytest.mark.parametrize("damage", HEPMC2_DAMAGES)
def test_broken_hepmc2_event(damage):
    old, new, message = HEPMC2_DAMAGES[damage]
    data = broken(written(HepMC2(), RUN, hard_batch()), old, new)
    with pytest.raises(InputError, match=message) as caught:
        read(HepMC2(), data)
    assert caught.value.event == 2
    reader, (batch,) = read(HepMC2(), data, on_error="skip")
    assert len(batch) == 2
    assert reader.skipped.count == 1


def test_line_of_the_error():
    data = broken(written(HepMC3(), RUN, hard_batch()), rb"(?m)^(P 3 \S+ \S+ )\S+", rb"\1abc")
    with pytest.raises(InputError) as caught:
        read(HepMC3(), data)
    assert b"abc" in data.split(b"\n")[caught.value.line - 1]


def test_broken_first_event():
    data = written(HepMC3(), RUN, hard_batch())
    first = data.index(b"\nE ")
    data = data[:first] + data[first:].replace(b"\nP 1 ", b"\nP x ", 1)
    with pytest.raises(InputError, match="event 1"):
        read(HepMC3(), data)
    reader, (batch,) = read(HepMC3(), data, on_error="skip")
    assert reader.run_info == RUN
    assert len(batch) == 2
    assert reader.skipped.count == 1


@pytest.mark.parametrize("event_format", [HepMC3(), HepMC2()])
def test_cut_files(event_format):
    """Wherever a file is cut, it is noticed, and what is whole can still be read."""
    data = written(event_format, RUN.replace(header=""), hard_batch())
    begins = [found.start() + 1 for found in re.finditer(rb"\nE ", data)] + [data.index(b"\nHepMC::", 100) + 1]
    for cut in range(begins[0] + 5, len(data) - 25, 37):
        with pytest.raises(InputError, match=r"cut off|is expected|announce|malformed|are expected"):
            read(event_format, data[:cut])
        reader, batches = read(event_format, data[:cut], on_error="skip")
        whole = sum(begin <= cut for begin in begins[1:])
        assert sum(map(len, batches)) == whole
        assert reader.skipped.count == (0 if cut in begins or whole == 3 else 1)
        assert reader.skipped.reasons


def test_damaged_compression(tmp_path):
    from mlgen.formats import open_events

    path = tmp_path / "x.hepmc3.gz"
    data = gzip.compress(written(HepMC3(), RUN.replace(header=""), *[hard_batch()] * 300))
    path.write_bytes(data[: len(data) // 2])
    with open_events(path) as events, pytest.raises(InputError, match="truncated or damaged"):
        list(events)
    with open_events(path, on_error="skip") as events:
        kept = sum(map(len, events))
        assert 100 < kept < 900
        assert events.skipped.reasons


@pytest.mark.parametrize("event_format", [HepMC3(), HepMC2()])
def test_cut_header(event_format):
    data = written(event_format, RUN.replace(header=""))
    with pytest.raises(InputError, match="END_EVENT_LISTING"):
        read(event_format, data[: data.index(b"END_EVENT")])


def test_damaged_run_information():
    data = written(HepMC3(), RUN.replace(header="")).replace(b'mlgen_run_info {"beams"', b'mlgen_run_info {"beams')
    with pytest.raises(InputError, match="mlgen_run_info"):
        read(HepMC3(), data)


def test_joined_files():
    batch = hard_batch()
    one = written(HepMC3(), RUN, batch)
    _, (got,) = read(HepMC3(), one + one)
    assert_same_events(got, EventBatch.concatenate([batch, batch]), RUN.variation_names)
    renamed = RUN.replace(variations=(Variation("a"), Variation("b"), Variation("c")))
    other = written(HepMC3(), renamed, event([(22, 1, 0, 0, 0, 0, 0.0, 0.0, 1.0, 1.0, 0.0)]))
    with pytest.raises(InputError, match="other weights"):
        read(HepMC3(), one + other)
    reader, (got,) = read(HepMC3(), one + other * 2 + one, on_error="skip")
    assert len(got) == 6
    assert reader.skipped.count == 2


def test_hard_and_shower_level_events_in_one_file():
    batch = hard_batch()
    hard = written(HepMC3(), RUN, batch)
    _, (showered,) = read(HepMC3(), foreign_file("HepMC3", [shower(1), shower(2)]))
    _, batches = read(
        HepMC3(), hard + written(HepMC3(), RUN, showered) + broken(hard, rb"(?m)^W \S+", rb"W nan"), on_error="skip"
    )
    assert [(len(b), b.has_graph) for b in batches] == [(3, False), (2, True), (2, False)]
    assert_same_events(batches[0], batch, RUN.variation_names)
    assert ak.to_list(batches[1].vertices) == ak.to_list(showered.vertices)


def test_line_ends_of_windows():
    batch = hard_batch()
    _, (got,) = read(HepMC3(), written(HepMC3(), RUN, batch).replace(b"\n", b"\r\n"))
    assert_same_events(got, batch, RUN.variation_names)


def test_through_a_pipe():
    batch = hard_batch()
    data = written(HepMC3(), RUN, batch)
    source, sink = os.pipe()

    def feed():
        with os.fdopen(sink, "wb") as output:
            output.write(data)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(source, "rb") as stream, HepMC3().reader(stream, ReadOptions("<stdin>")) as reader:
        assert not stream.seekable()
        (got,) = list(reader)
    thread.join()
    assert_same_events(got, batch, RUN.variation_names)
