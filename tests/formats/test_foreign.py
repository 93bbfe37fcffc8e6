"""Event formats of other packages: what goes wrong in them names the package, and what they print stays apart."""

from __future__ import annotations

import numpy as np
import pytest

from mlgen.errors import InputError, PluginFailure, WriteFailure
from mlgen.formats import create_events, open_events
from mlgen.testing import drell_yan_events

pytestmark = pytest.mark.usefixtures("fresh_manager")

#: A format that keeps nothing but the number of events.
CODE = """
from mlgen.errors import InputError
from mlgen.event_format import EventFormat, EventReader, EventWriter
from mlgen.hookspecs import hookimpl
from mlgen.testing import drell_yan_events
import numpy as np

class Reader(EventReader):
    def __init__(self, stream, options):
        from mlgen.event_format import Skipped

        self.skipped = Skipped()
        numbers = [int(line) for line in stream.read().split()[1:]]
        self.batches = [drell_yan_events(n, np.random.default_rng(1)) for n in numbers]
        self.run_info = self.batches[0][1]

    def __iter__(self):
        print("hello from the reader")
        for number, (batch, _) in enumerate(self.batches):
            {reading}
            self.skipped.add("one was left out")
            yield batch

class Writer(EventWriter):
    def __init__(self, stream):
        self.stream = stream
        stream.write(b"COUNTS")

    def write(self, batch):
        print("hello from the writer")
        {writing}
        self.stream.write(b"\\n%d" % len(batch))

    def close(self):
        pass

class Counts(EventFormat):
    name = "counts"
    summary = "numbers of events"
    suffixes = (".counts",)
    contract_version = 1

    def recognises(self, head):
        return head.startswith(b"COUNTS")

    def reader(self, stream, options):
        return Reader(stream, options)

    def writer(self, stream, run_info):
        return Writer(stream)

@hookimpl
def mlgen_event_formats():
    yield Counts()
"""


@pytest.fixture
def counts(install):
    def install_format(reading="pass", writing="pass"):
        install("mlgen-counts", CODE.format(reading=reading, writing=writing), "1.2")

    return install_format


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "events.counts"
    path.write_bytes(b"COUNTS\n3\n5\n")
    return path


def test_one_that_works(counts, file, tmp_path, capsys):
    counts()
    with open_events(file) as events, create_events(tmp_path / "new.counts", events.run_info) as output:
        for batch in events:
            output.write(batch)
            print("hello from whoever reads")  # noqa: T201 - it has to stay on standard output
        assert events.skipped.count == 2
    assert (tmp_path / "new.counts").read_bytes() == b"COUNTS\n3\n5"
    told = capsys.readouterr()
    assert told.out == "hello from whoever reads\n" * 2
    assert told.err.count("hello from the reader") == 1
    assert told.err.count("hello from the writer") == 2


def test_a_failure_while_it_is_read(counts, file):
    counts(reading="number and {}['px']")
    told = r"event format 'counts' of mlgen-counts 1\.2 failed: KeyError: 'px' \(mlgen_counts\.py:\d+\)"
    with open_events(file) as events:
        batches = iter(events)
        assert len(next(batches)) == 3
        with pytest.raises(PluginFailure, match=told):
            next(batches)


def test_a_failure_while_it_is_written(counts, tmp_path):
    counts(writing="raise SystemExit(0)")
    events, run_info = drell_yan_events(4, np.random.default_rng(1))
    output = create_events(tmp_path / "new.counts", run_info)
    with pytest.raises(PluginFailure, match=r"'counts' of mlgen-counts 1\.2 failed: SystemExit: 0"), output:
        output.write(events)
    assert list(tmp_path.glob("*.counts*")) == []


def test_what_it_refuses_in_words_passes(counts, file):
    counts(reading='raise InputError("events.counts", "is too old")')
    with open_events(file) as events, pytest.raises(InputError, match="is too old"):
        list(events)


def test_errors_of_the_operating_system_are_explained_as_ever(counts, tmp_path):
    counts(writing="raise OSError(28, 'No space left on device')")
    events, run_info = drell_yan_events(4, np.random.default_rng(1))
    with pytest.raises(WriteFailure, match="No space left"), create_events(tmp_path / "n.counts", run_info) as output:
        output.write(events)
