"""A folder that appears only when everything in it is written."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from mlgen.errors import OutputError, WriteFailure


def check_folder(folder: Path, *, force: bool) -> None:
    """Check, before any work, that a folder can be filled.

    Raises:
        OutputError: It is a file, is not empty (and not `force`), or lies in a directory that is not there or may not
            be written.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder")
    if folder.is_dir() and not force and any(folder.iterdir()):
        raise OutputError(
            f"{folder}: exists already, and is not empty; choose another folder (-d), or replace its files with --force"
        )
    parent = _target(folder).parent
    if not parent.is_dir():
        raise OutputError(f"{folder}: there is no directory '{parent}'; make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: may not be written (no permission to write into '{parent}')")


@contextlib.contextmanager
def whole_folder(folder: Path, *, force: bool = False) -> Iterator[Path]:
    """Give an empty temporary folder to fill, and move it into place when the block ends without an exception.

    Where the folder is there already, its files are replaced one by one; other files in it stay as they are. When that
    fails midway, those that were replaced come back.

    Args:
        folder: The folder.
        force: Whether files of a folder that is not empty may be replaced.

    Raises:
        OutputError: As `check_folder`; or there is a directory where a file has to go.
        WriteFailure: The disk is full, or the like.
    """
    check_folder(folder, force=force)
    target = _target(folder)
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.part")
    try:
        new, old = temporary / "new", temporary / "old"
        new.mkdir(parents=True)
        yield new
        check_folder(folder, force=force)
        if target.is_dir() and any(target.iterdir()):
            _replace_files(new, old, target)
        else:
            # A folder can take the place of an empty one, and of nothing else.
            new.replace(target)
    except OSError as error:
        raise WriteFailure(f"{folder}: writing failed: {error.strerror or error}; nothing was changed") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _target(folder: Path) -> Path:
    """The folder itself: of a link, what it leads to."""
    return Path(os.path.realpath(folder))


def _replace_files(new: Path, old: Path, target: Path) -> None:
    """Move each file of `new` to its place in `target`, and what was there to `old`; all or none."""
    undo = contextlib.ExitStack()
    with undo:
        for source in sorted(path for path in new.rglob("*") if path.is_file()):
            place, kept = target / source.relative_to(new), old / source.relative_to(new)
            for missing in [parent for parent in reversed(place.parents) if not parent.exists()]:
                missing.mkdir()
                undo.callback(missing.rmdir)
            kept.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                raise OutputError(f"{place}: is a directory, and a file has to go there; move it away")
            if place.exists() or place.is_symlink():
                place.replace(kept)
                undo.callback(kept.replace, place)
            source.replace(place)
            undo.callback(place.unlink)
        undo.pop_all()
