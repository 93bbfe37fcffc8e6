from pathlib import Path

import pytest

from mlgen.errors import OutputError, WriteFailure
from mlgen.scaffold.folder import whole_folder


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path, text: str = "new") -> None:
    (folder / "src").mkdir()
    (folder / "README.md").write_text(text)
    (folder / "src" / "model.py").write_text(text)


def write(folder: Path) -> None:
    with whole_folder(folder, force=True) as temporary:
        fill(temporary)


def fail_after_writing(folder: Path) -> None:
    with whole_folder(folder) as temporary:
        fill(temporary)
        raise RuntimeError("in between")


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_is_made_or_filled(tmp_path, exists):
    folder = tmp_path / "package"
    if exists:
        folder.mkdir()
    with whole_folder(folder) as temporary:
        fill(temporary)
    assert contents(folder) == {"README.md": "new", "src/model.py": "new"}
    assert list(tmp_path.iterdir()) == [folder]


def test_nothing_is_left_of_a_failure(tmp_path):
    with pytest.raises(RuntimeError, match="in between"):
        fail_after_writing(tmp_path / "package")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty.*--force"), whole_folder(tmp_path):
        pytest.fail("this comes before any work")


@pytest.mark.parametrize(("place", "words"), [("file.txt", "is a file"), ("nowhere/package", "there is no directory")])
def test_places_that_cannot_be_a_folder_are_refused(tmp_path, place, words):
    (tmp_path / "file.txt").touch()
    with pytest.raises(OutputError, match=words), whole_folder(tmp_path / place):
        pytest.fail("this comes before any work")


def test_force_replaces_files_and_leaves_others(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    (folder / "notes.txt").write_text("mine")
    with whole_folder(folder, force=True) as temporary:
        fill(temporary)
    assert contents(folder) == {"README.md": "new", "src/model.py": "new", "notes.txt": "mine"}
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("in_the_way", ["src/model.py/notes.txt", "src"])
def test_force_that_fails_midway_changes_nothing(tmp_path, in_the_way):
    """A directory where a file has to go, or the other way round: README.md was replaced already then."""
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "README.md").write_text("old")
    (folder / in_the_way).parent.mkdir(parents=True, exist_ok=True)
    (folder / in_the_way).write_text("mine")
    with pytest.raises((OutputError, WriteFailure), match=r"is a directory|nothing was changed"):
        write(folder)
    assert contents(folder) == {"README.md": "old", in_the_way: "mine"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    with whole_folder(link) as temporary:
        fill(temporary)
    assert link.is_symlink()
    assert contents(target) == {"README.md": "new", "src/model.py": "new"}
