"""Opening and creating event files: compression, several files, pipes, damage, and what is left behind."""

import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlgen.errors import InputError, OutputError, UserError, WriteFailure
from mlgen.events import EventBatch
from mlgen.formats import create_events, open_events
from mlgen.run_info import Beam, Process, RunInfo

INFO = RunInfo(
    beams=(Beam(2212, 6500.0), Beam(2212, 6500.0)), weight_strategy=4, processes=(Process(1, 12.5, 0.5, 1.0),)
)
STREAMS = ("lhe", "lhe.gz", "lhe.bz2", "lhe.xz", "lhe.zst", "hepmc3", "hepmc3.gz", "hepmc3.zst")
FILES = ("root", "rntuple.root", "lheh5")


def batch_of(n: int, seed: int = 1) -> EventBatch:
    """Drell-Yan pairs from random x1, x2, with exact kinematics."""
    rng = np.random.default_rng(seed)
    energy = rng.uniform(20.0, 500.0, (n, 2))
    px = np.zeros((n, 4))
    pz = np.stack([energy[:, 0], -energy[:, 1], energy[:, 0], -energy[:, 1]], axis=1)
    e = np.abs(pz)
    columns = {
        "pdg_id": np.tile([2, -2, 11, -11], n),
        "status": np.tile([-1, -1, 1, 1], n),
        "mother1": np.tile([0, 0, 1, 1], n),
        "mother2": np.tile([0, 0, 2, 2], n),
        "color1": np.tile([501, 0, 0, 0], n),
        "color2": np.tile([0, 501, 0, 0], n),
        "px": px.ravel(),
        "py": px.ravel(),
        "pz": pz.ravel(),
        "energy": e.ravel(),
        "generated_mass": px.ravel(),
    }
    weight = rng.exponential(size=n)
    return EventBatch.from_columns(
        np.full(n, 4), columns, weight=weight, process_id=1, scale=91.2, alpha_qed=0.0078, alpha_qcd=0.118
    )


def write(path: Path, batch: EventBatch, info: RunInfo = INFO) -> Path:
    with create_events(path, info) as output:
        output.write(batch)
    return path


def energies(path: Path, **options) -> list[float]:
    with open_events(path, **options) as events:
        return [value for batch in events for value in batch.column("energy").tolist()]


@pytest.mark.parametrize("suffix", STREAMS + FILES)
def test_every_format_and_compression_gives_back_the_numbers(suffix, tmp_path):
    batch = batch_of(50)
    path = write(tmp_path / f"events.{suffix}", batch)
    # The name must not matter when reading.
    path = path.rename(tmp_path / "nameless")
    with open_events(path, batch_size=20) as events:
        assert events.run_info.processes == INFO.processes
        batches = list(events)
        again = list(events)
    assert [len(b) for b in batches] == [20, 20, 10]
    assert [len(b) for b in again] == [20, 20, 10]
    copy = EventBatch.concatenate(batches)
    assert copy.weight.tolist() == batch.weight.tolist()
    for name in ("pdg_id", "status", "mother1", "color1", "pz", "energy", "spin"):
        assert copy.column(name).tolist() == batch.column(name).tolist()


@pytest.mark.parametrize("suffix", STREAMS)
def test_the_same_events_are_the_same_bytes(suffix, tmp_path):
    first = write(tmp_path / f"first.{suffix}", batch_of(20)).read_bytes()
    assert write(tmp_path / f"second.{suffix}", batch_of(20)).read_bytes() == first


def test_several_files_are_one_sample(tmp_path):
    first, second = batch_of(30, seed=1), batch_of(20, seed=2)
    paths = [write(tmp_path / "a.lhe.gz", first), write(tmp_path / "b.root", second)]
    with open_events(*paths) as events:
        assert events.run_info.cross_section == 12.5
        assert events.run_info.cross_section_error == pytest.approx(0.5 / np.sqrt(2))
        weights = np.concatenate([b.weight for b in events])
    assert weights.tolist() == [*first.weight.tolist(), *second.weight.tolist()]


def test_files_of_different_processes_are_no_sample(tmp_path):
    other = INFO.replace(processes=(Process(2, 1.0, 0.1, 1.0),))
    paths = [write(tmp_path / "a.lhe", batch_of(3)), write(tmp_path / "b.lhe", batch_of(3), other)]
    with pytest.raises(InputError, match=r"b.lhe: its processes differ from those of .*a.lhe"):
        open_events(*paths)


@pytest.mark.parametrize("suffix", ["lhe.gz", "lhe.bz2", "lhe.xz", "lhe.zst", "hepmc3.gz"])
def test_truncated_compression(suffix, tmp_path):
    path = write(tmp_path / f"events.{suffix}", batch_of(4000))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    with pytest.raises(InputError, match=r"truncated or damaged after [\d,]+ uncompressed bytes"):
        energies(path)
    if suffix == "lhe.bz2":
        return  # its first block is not whole, so there is nothing to keep
    kept = energies(path, on_error="skip")
    whole = batch_of(4000).column("energy").tolist()
    assert kept
    assert len(kept) % 4 == 0
    assert kept == whole[: len(kept)]


def test_damaged_compression_is_not_silent(tmp_path):
    path = write(tmp_path / "events.lhe.gz", batch_of(4000))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(InputError):
        energies(path)


def test_no_such_file_names_its_neighbours(tmp_path):
    write(tmp_path / "events.lhe", batch_of(1))
    with pytest.raises(InputError, match=r"no such file\nSimilar files there: events.lhe"):
        open_events(tmp_path / "event.lhe")


@pytest.mark.parametrize(
    ("content", "problem"), [(b"", "the file is empty"), (b"P6 picture", "none of the known formats")]
)
def test_no_event_file(content, problem, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem):
        open_events(path)


def test_a_directory(tmp_path):
    with pytest.raises(InputError, match="is a directory"):
        open_events(tmp_path)
    with pytest.raises(OutputError, match="is a directory"):
        create_events(tmp_path, INFO, format_name="lhe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")
def test_no_permission(tmp_path):
    path = write(tmp_path / "events.lhe", batch_of(1))
    path.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        open_events(path)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OutputError, match="may not be written"):
        create_events(tmp_path / "new.lhe", INFO)


def test_an_existing_output_is_refused(tmp_path):
    path = write(tmp_path / "events.lhe", batch_of(1))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"exists already.*--force"):
        create_events(path, INFO)
    assert path.read_bytes() == before
    with create_events(path, INFO, force=True) as output:
        output.write(batch_of(2))
    assert len(energies(path)) == 8


@pytest.mark.parametrize("suffix", STREAMS + FILES)
def test_a_failed_run_leaves_nothing(suffix, tmp_path):
    output = create_events(tmp_path / f"events.{suffix}", INFO)
    output.write(batch_of(5))
    assert len(list(tmp_path.iterdir())) == 1
    output.__exit__(RuntimeError, RuntimeError("on purpose"), None)
    assert list(tmp_path.iterdir()) == []


def test_an_output_obeys_the_umask(tmp_path):
    umask = os.umask(0o027)
    try:
        path = write(tmp_path / "events.lhe", batch_of(1))
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_disk_full():
    batch = batch_of(20000)
    with create_events("/dev/full", INFO, format_name="lhe") as output:
        with pytest.raises(WriteFailure, match="No space left on device"):
            output.write(batch)
        output.discard()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("events.txt", "format is not clear"),
        ("events.root.gz", "compressed inside already"),
        ("nowhere/events.lhe", "make it first"),
    ],
)
def test_an_output_that_cannot_be(name, problem, tmp_path):
    with pytest.raises(OutputError, match=problem):
        create_events(tmp_path / name, INFO)


def test_an_unknown_format_lists_those_there_are(tmp_path):
    with pytest.raises(UserError, match=r"'hepmc4'; did you mean 'hepmc[23]'\?\nThere is: lhe, hepmc3"):
        create_events(tmp_path / "events", INFO, format_name="hepmc4")


@pytest.mark.parametrize("suffix", ["lhe", "lhe.gz", "hepmc3.zst"])
def test_standard_input(suffix, tmp_path):
    path = write(tmp_path / f"events.{suffix}", batch_of(7))
    script = "from mlgen.formats import open_events; print(sum(map(len, open_events('-'))))"
    # A real pipe, which cannot seek.
    reader = subprocess.run(
        [sys.executable, "-c", script], input=path.read_bytes(), capture_output=True, check=True, timeout=60
    )
    assert reader.stdout == b"7\n"


def test_standard_input_must_be_a_stream(tmp_path, monkeypatch):
    path = write(tmp_path / "events.root", batch_of(7))
    fake = io.TextIOWrapper(io.BytesIO(path.read_bytes()))
    monkeypatch.setattr(sys, "stdin", fake)
    with pytest.raises(InputError, match="root cannot be read from a pipe"):
        open_events("-")
