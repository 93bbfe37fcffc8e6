"""Opening and creating event files: compression, several files, pipes, damage, and what is left behind."""

import io
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlgen.errors import InputError, OutputError, UserError, WriteFailure
from mlgen.events import EventBatch
from mlgen.formats import create_events, open_events
from mlgen.formats.writing import check_output
from mlgen.run_info import Beam, Process, RunInfo, RunInfoError

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


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return write(tmp_path_factory.mktemp("many") / "many.lhe", batch_of(5000))


@pytest.mark.parametrize("suffix", [*STREAMS, "hepmc2", *FILES])
def test_a_disk_that_is_full_in_the_middle(suffix, many, tmp_path):
    path = tmp_path / f"out.{suffix}"
    done = subprocess.run(
        [sys.executable, "-m", "mlgen", "convert", str(many), str(path)],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        # Beyond it, writing fails (EFBIG) instead of killing, as Python ignores SIGXFSZ.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert done.returncode == 1, done.stderr
    assert f"{path}: writing failed after" in done.stderr
    assert "File too large; nothing was left under that name" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_hdf5_survives_a_full_disk_at_any_point(tmp_path):
    """HDF5 itself crashes when objects of a file are freed after a failed write."""
    script = f"""
import gc, pathlib, resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_streams import INFO, batch_of
from mlgen.errors import WriteFailure
from mlgen.formats import create_events
batches = [batch_of(20_000, seed) for seed in range(3)]
folder = pathlib.Path({str(tmp_path)!r})
for limit in (0, 1000, 5000, 100_000, 1_000_000, 2_000_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with create_events(folder / "events.h5", INFO) as output:
            for batch in batches:
                output.write(batch)
    except WriteFailure as error:
        reason = str(error)
    output = None
    gc.collect()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(limit, reason, list(folder.iterdir()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    assert all("File too large" in line and line.endswith(" []") for line in lines), lines


class TestPlaces:
    """Which file is there after writing, and which is not."""

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "disk").mkdir()
        target = write(tmp_path / "disk" / "real.lhe", batch_of(1))
        link = tmp_path / "link.lhe"
        link.symlink_to(target)
        with pytest.raises(OutputError, match="exists already"):
            create_events(link, INFO)
        with create_events(link, INFO, force=True) as output:
            output.write(batch_of(3))
        assert link.is_symlink()
        assert len(energies(target)) == 12
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["disk", "link.lhe", "real.lhe"]

    def test_a_link_to_nothing_is_filled(self, tmp_path):
        (tmp_path / "link.lhe").symlink_to("new.lhe")
        write(tmp_path / "link.lhe", batch_of(1))
        assert (tmp_path / "link.lhe").is_symlink()
        assert len(energies(tmp_path / "new.lhe")) == 4

    @pytest.mark.parametrize("links", [True, False])
    def test_a_file_that_appears_during_the_run_stays(self, links, tmp_path, monkeypatch):
        def refused(*_):
            raise PermissionError(1, "Operation not permitted")

        if not links:
            # As on a file system without hard links.
            monkeypatch.setattr(os, "link", refused)
        path = tmp_path / "events.lhe"
        write(path, batch_of(1))
        path.unlink()
        output = create_events(path, INFO)
        output.write(batch_of(1))
        path.write_text("of another program")
        with pytest.raises(OutputError, match=r"events.lhe: exists now, but did not when the work began.*--force"):
            output.__exit__(None, None, None)
        assert path.read_text() == "of another program"
        assert list(tmp_path.iterdir()) == [path]
        with create_events(path, INFO, force=True) as output:
            output.write(batch_of(2))
        assert len(energies(path)) == 8

    @pytest.mark.parametrize("suffix", ["lhe.gz", "root", "h5"])
    def test_several_outputs_appear_together(self, suffix, tmp_path):
        outputs = [create_events(tmp_path / f"{name}.{suffix}", INFO) for name in "ab"]
        for output in outputs:
            output.write(batch_of(5))
            output.finish()
            with pytest.raises(OutputError, match="already closed"):
                output.write(batch_of(5))
        assert {path.suffix for path in tmp_path.iterdir()} == {".part"}
        outputs[0].publish()
        outputs[1].discard()
        for output in outputs:
            output.publish()
            output.close()
            output.discard()
        assert [path.name for path in tmp_path.iterdir()] == [f"a.{suffix}"]
        assert len(energies(tmp_path / f"a.{suffix}")) == 20

    def test_what_is_not_finished_is_not_published(self, tmp_path):
        output = create_events(tmp_path / "a.lhe", INFO)
        with pytest.raises(OutputError, match="not finished"):
            output.publish()
        output.discard()
        assert list(tmp_path.iterdir()) == []

    def test_a_directory_that_may_not_be_written_is_found_before_any_work(self, tmp_path, monkeypatch):
        # The tests may run as root, who may write anywhere.
        monkeypatch.setattr(os, "access", lambda path, mode: not (path == tmp_path and mode & os.W_OK))
        with pytest.raises(OutputError, match=r"events.lhe: may not be written \(no permission to write into"):
            check_output(tmp_path / "events.lhe")

    @pytest.mark.parametrize("suffix", ["lhe", "root", "h5"])
    def test_nothing_is_left_when_a_library_fails_while_it_gives_up(self, suffix, tmp_path, monkeypatch):
        output = create_events(tmp_path / f"events.{suffix}", INFO)
        discard = output._writer.discard

        def failing():
            discard()
            raise RuntimeError("on purpose")

        monkeypatch.setattr(output._writer, "discard", failing)
        with pytest.raises(RuntimeError, match="on purpose"):
            output.discard()
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["lhe", *FILES])
@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("energy", np.nan, "energy of particle 2 is nan; a finite number is expected"),
        ("weight", -np.inf, "its weight is -inf; a finite number is expected"),
        ("variation", np.inf, "its weight 'up' is inf"),
    ],
)
def test_numbers_that_no_reader_takes_are_not_written(field, value, problem, suffix, tmp_path):
    batch = batch_of(5)
    columns, weight, variation = batch.columns(), batch.weight.copy(), np.full(5, np.nan)
    if field == "energy":
        columns["energy"] = columns["energy"].copy()
        columns["energy"][batch.offsets[3] + 1] = value
    else:
        (weight if field == "weight" else variation)[3] = value
    broken = EventBatch.from_columns(batch.counts, columns, weight=weight, variations={"up": variation})
    path = tmp_path / f"events.{suffix}"
    output = create_events(path, INFO.with_variations(("up",)))
    output.write(batch)
    with pytest.raises(OutputError) as caught:
        output.write(broken)
    assert str(caught.value) == f"{path}: event 9: {problem}"
    # What was written before is still whole.
    output.close()
    assert len(energies(path)) == 20


@pytest.mark.parametrize("suffix", ["lhe", "h5"])
def test_shower_level_events_do_not_fit_everywhere(suffix, tmp_path):
    event = EventBatch.from_columns(
        np.ones(1, int),
        {name: np.zeros(1) for name in ("px", "py", "pz", "energy")},
        weight=1.0,
        vertex_counts=np.ones(1, int),
        vertex_columns={name: np.zeros(1) for name in ("x", "y", "z", "t", "status")},
    )
    path = tmp_path / f"events.{suffix}"
    with pytest.raises(OutputError) as caught, create_events(path, INFO) as output:
        output.write(event)
    assert str(caught.value).startswith(f"{path}: shower-level events do not fit into")
    assert "write HepMC (.hepmc3) or ROOT" in str(caught.value)


def test_a_weight_that_is_declared_twice_keeps_both_places(tmp_path):
    """Headers that were put together from two have an id twice; bare lists of weights follow the declared order."""
    path = write(tmp_path / "once.lhe", batch_of(1), INFO.with_variations(("up", "down")))
    text = path.read_text().replace("</initrwgt>", "<weight id='up'> again </weight>\n</initrwgt>")
    path.write_text(text.replace('<weight id="up">  </weight>', '<weight id="up"> first </weight>'))
    with open_events(path) as events:
        declared = [(v.name, v.description) for v in events.run_info.variations]
        assert declared == [("up", "first"), ("down", ""), ("up (2)", "again")]
    with pytest.raises(RunInfoError, match="declares the weight 'up' 2 times"):
        events.run_info.replace(variations=events.run_info.variations[:1] * 2)


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
