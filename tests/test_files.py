import os
import stat

import pytest

from mlgen.errors import OutputError, WriteFailure
from mlgen.files import check_free, whole_file, write_whole


def written(path, meanwhile, **options):
    with whole_file(path, **options) as temporary:
        meanwhile(temporary)


def test_a_file_is_not_there_until_it_is_whole(tmp_path):
    path = tmp_path / "out.bin"
    with whole_file(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".out.bin.")
    assert path.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("wrong"), OutputError("no events")])
def test_nothing_is_left_of_a_failure(tmp_path, error):
    def fail(temporary):
        temporary.write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        written(tmp_path / "out.bin", fail)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_system_names_the_file_and_the_reason(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteFailure, match=r"out\.bin: writing failed: No space left on device; nothing was left"):
        write_whole(tmp_path / "out.bin", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"precious")
    for attempt in (lambda: check_free(path), lambda: write_whole(path, b"new")):
        with pytest.raises(OutputError, match=r"out\.bin: exists already"):
            attempt()
    assert path.read_bytes() == b"precious"
    write_whole(path, b"new", force=True)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_in_between_is_kept(tmp_path, monkeypatch, links):
    def refused(*_):
        raise PermissionError(1, "Operation not permitted")

    if not links:
        # As on a file system without hard links.
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "out.bin"
    with pytest.raises(OutputError, match="exists now, but did not when the work began"):
        written(path, lambda _: path.write_bytes(b"precious"))
    assert path.read_bytes() == b"precious"
    path.unlink()
    write_whole(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "out.bin", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.bin").stat().st_mode) == mode


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "out.bin", tmp_path / "link.bin"
    link.symlink_to(target)
    write_whole(link, b"content")
    assert link.is_symlink()
    assert target.read_bytes() == b"content"
    assert list((tmp_path / "there").iterdir()) == [target]


@pytest.mark.parametrize("force", [False, True])
def test_pipes_and_devices_are_never_replaced(tmp_path, force):
    pipe, device = tmp_path / "pipe", tmp_path / "null"
    os.mkfifo(pipe)
    device.symlink_to("/dev/null")
    check_free(pipe)
    with pytest.raises(OutputError, match="a file is needed"), whole_file(pipe, force=force):
        pass
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, b"content", force=force)
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)
    write_whole(device, b"content", force=force)
    assert pipe.is_fifo()
    assert device.is_char_device()
    assert sorted(tmp_path.iterdir()) == [device, pipe]


def test_a_pipe_that_appears_in_between_is_kept(tmp_path):
    path = tmp_path / "out.bin"
    with pytest.raises(OutputError, match="is a pipe or device now"):
        written(path, lambda _: os.mkfifo(path), force=True)
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


def test_names_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("µ" * 125 + ".bin")
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize(("name", "problem"), [("", "is a directory"), ("none/out.bin", "there is no directory")])
def test_what_cannot_be_written_is_said_before_any_work(tmp_path, name, problem):
    with pytest.raises(OutputError, match=problem):
        check_free(tmp_path / name)


def test_a_directory_that_may_not_be_written(tmp_path, monkeypatch):
    # The tests may run as root, who may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == tmp_path and mode & os.W_OK))
    with pytest.raises(OutputError, match=r"out\.bin: may not be written"):
        check_free(tmp_path / "out.bin")
