"""Output files that appear under their name only when they are whole.

What is written goes to a temporary file in the same directory, ``.name.*.part``, which is moved into place at the end.
A link stays a link; what it leads to is written. Devices and pipes are never replaced.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from mlgen.errors import OutputError, WriteFailure

_LONGEST_STEM = 40


def check_free(path: Path, *, force: bool = False) -> None:
    """Check, before any work, that a file can be written.

    Raises:
        OutputError: It exists already (and not `force`), is a directory, or in one that may not be written.
    """
    parent = target_of(path).parent
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; name a file")
    if not parent.is_dir():
        raise OutputError(f"{path}: there is no directory '{parent}'; make it first")
    if is_special(path):
        return
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already; choose another name, or overwrite it with --force")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: may not be written (no permission to write into '{parent}')")


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, and move it into place when the block ends without an exception.

    Args:
        path: The file.
        force: Whether an existing file is replaced.

    Raises:
        OutputError: As `check_free`; it is a device or pipe; or a file of that name appeared meanwhile.
        WriteFailure: The disk is full, or the like: any error of the operating system within the block.
    """
    check_free(path, force=force)
    if is_special(path):
        raise OutputError(f"{path}: a file is needed; it cannot be written into a pipe or device")
    target, temporary = target_of(path), None
    try:
        temporary = temporary_for(target)
        yield temporary
        to_disk(temporary)
        put_in_place(path, temporary, target, force=force)
    except OSError as error:
        raise WriteFailure(
            f"{path}: writing failed: {error.strerror or error}; nothing was left under that name"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, force: bool = False) -> None:
    """Write a file, a device or a pipe.

    Args:
        path: The file.
        content: What goes into it.
        force: Whether an existing file is replaced.

    Raises:
        OutputError: As `check_free`, or a file of that name appeared meanwhile.
        WriteFailure: The disk is full, or the like.
    """
    if not is_special(path):
        with whole_file(path, force=force) as temporary:
            temporary.write_bytes(content)
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise WriteFailure(f"{path}: writing failed: {error.strerror or error}") from error


def target_of(path: Path) -> Path:
    """The file itself: of a link, what it leads to."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_special(path: Path) -> bool:
    """Whether it is a device, a named pipe, bash's ``>(...)``: there is nothing to move into place."""
    return path.exists() and not path.is_file() and not path.is_dir()


def temporary_for(target: Path) -> Path:
    """Make an empty file beside the target. It follows the umask like any other file, unlike those of `tempfile`.

    Raises:
        OSError: The directory refuses it.
    """
    # A name may be as long as the file system allows, and letters take up to four bytes.
    temporary = target.with_name(f".{target.name[:_LONGEST_STEM]}.{secrets.token_hex(6)}.part")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    return temporary


def to_disk(path: Path) -> None:
    """Wait until a file is on the disk: a power cut could otherwise leave its final name on an empty file.

    Raises:
        OSError: The disk refuses it.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(path: Path, temporary: Path, target: Path, *, force: bool) -> None:
    """Give a finished file its name.

    Args:
        path: What its user calls it, for messages.
        temporary: The finished file.
        target: Its name.
        force: Whether an existing file is replaced.

    Raises:
        OutputError: There is a file of that name, and not `force`; or a device or pipe.
        OSError: The directory refuses it.
    """
    if is_special(target):
        raise OutputError(f"{path}: is a pipe or device now, but was not when the work began")
    if not force:
        appeared = "exists now, but did not when the work began; choose another name, or overwrite it with --force"
        try:
            # Unlike a check and a renaming, this cannot overwrite a file that appears in between.
            os.link(temporary, target)
        except FileExistsError as error:
            raise OutputError(f"{path}: {appeared}") from error
        except OSError as error:
            # Not every file system has links (FAT, some network ones).
            if target.exists():
                raise OutputError(f"{path}: {appeared}") from error
        else:
            temporary.unlink()
            return
    temporary.replace(target)
