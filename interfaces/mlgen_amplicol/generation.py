"""Generated matrix elements on disk: each is made once, by a process of its own.

Generating needs symbolica, whose free mode lets one process of a user run at a time: processes that generate wait for
each other on a machine, and on all machines that share a cache. A folder appears under its name only when it is whole,
and is never replaced: another process may be reading it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mlgen.cache import cache_folder
from mlgen.errors import ProcessError
from mlgen_amplicol import library

#: Changes when folders that are there already must not be used any longer.
_LAYOUT = 1
_OPTIONS = ("--no-jit-compress", "--no-emit-api-bundle")
#: What symbolica says when a process that is not ours uses it.
_BUSY = "restricted Symbolica"
_POLL_SECONDS = 0.5
#: Errors of a file system without locks: there, two hosts may generate the same, and the first to end is kept.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """One matrix element to generate.

    Args:
        process: As pyAmpliCol spells it: ``g g > t t~ g``.
        orders: Powers of the strong and the electroweak coupling in the amplitude.
        color: ``full``, or ``lc`` for the leading-colour flows.
        model: JSON file of a model, within pyAmpliCol's package.
        restriction: Which of its parameters are zero.
        execution: As in `mlgen_amplicol.AmplicolSettings`.
    """

    process: str
    orders: tuple[int, int]
    color: str
    model: str
    restriction: str
    execution: str

    @property
    def digest(self) -> str:
        """SHA-256 of all that defines the result, with the version of pyAmpliCol."""
        return hashlib.sha256(json.dumps(self.definition(), sort_keys=True).encode()).hexdigest()

    def definition(self) -> dict[str, object]:
        """All that defines the result."""
        return {
            **asdict(self),
            "options": _OPTIONS,
            "pyamplicol": library.version(),
            "machine": platform.machine(),
            "layout": _LAYOUT,
        }

    def arguments(self, output: Path) -> list[str]:
        """The arguments of ``pyamplicol generate``."""
        qcd, qed = self.orders
        model = library.folder() / self.model
        return [
            *("generate", self.process, str(output), "--model", str(model), "--restriction", self.restriction),
            *("--color-accuracy", self.color, "--execution-mode", self.execution),
            *("--coupling-order-policy", "explicit"),
            *("--max-coupling-order", f"QCD={qcd}", "--max-coupling-order", f"QED={qed}"),
            *("--progress", "off", "--color", "never", "--no-symbolica-suggestion", *_OPTIONS),
        ]


def default_cache() -> Path:
    """Folder of the generated matrix elements."""
    return cache_folder("amplicol")


def generated(request: Request, cache: Path, wait: float) -> Path:
    """Return the folder of a matrix element, generated now if it is not there yet.

    Args:
        request: What to generate.
        cache: Folder of all of them.
        wait: Seconds to wait while another process generates.

    Raises:
        ProcessError: pyAmpliCol could not generate it, another process took too long, or nothing can be written.
    """
    folder = cache / request.digest[:32]
    artifact = folder / "artifact"
    if artifact.is_dir():
        return artifact
    deadline = time.monotonic() + wait
    try:
        cache.mkdir(parents=True, exist_ok=True)
        machine = Path(tempfile.gettempdir()) / f"mlgen-amplicol-{os.getuid()}.lock"
        with _alone(cache / ".lock", deadline, request), _alone(machine, deadline, request):
            if not artifact.is_dir():
                _generate(request, folder, deadline)
    except OSError as error:
        raise ProcessError(
            f"the matrix element of {request.process} cannot be kept in '{cache}': {error}\n"
            "Name another folder with the setting 'cache', or in the environment variable MLGEN_CACHE"
        ) from error
    return artifact


def _generate(request: Request, folder: Path, deadline: float) -> None:
    """Generate into a temporary folder beside the final one, then move it into place."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    temporary.mkdir()
    _log.info("generating the matrix element of %s (%s colour) with pyAmpliCol", request.process, request.color)
    try:
        (temporary / "definition.json").write_text(json.dumps(request.definition(), indent=1, sort_keys=True) + "\n")
        _run(request, temporary / "artifact", deadline)
        _put(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, folder: Path) -> None:
    """Move a folder into place; where another host was first, its folder stays."""
    try:
        temporary.rename(folder)
    except OSError:
        if (folder / "artifact").is_dir():
            return
        # A folder of that name without an artifact is what is left of a removal that was interrupted.
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)


def _run(request: Request, output: Path, deadline: float) -> None:
    command = [sys.executable, "-m", "pyamplicol", *request.arguments(output)]
    while True:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode == 0 and output.is_dir():
            return
        if _BUSY not in done.stdout or time.monotonic() > deadline:
            break
        shutil.rmtree(output, ignore_errors=True)
        time.sleep(_POLL_SECONDS)
    reason = (
        "another program is using symbolica, whose free mode allows one at a time; wait for it to end"
        if _BUSY in done.stdout
        else f"pyAmpliCol ended with exit code {done.returncode} and said:\n{_last_words(done.stdout)}"
    )
    raise ProcessError(f"the matrix element of {request.process} could not be generated: {reason}")


def _last_words(output: str, lines: int = 20) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    return "\n".join(f"  {line}" for line in plain.strip().splitlines()[-lines:]) or "  (nothing)"


@contextlib.contextmanager
def _alone(path: Path, deadline: float, request: Request) -> Iterator[None]:
    """Wait until no other mlgen holds a lock file."""
    with path.open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ProcessError(
                        f"the matrix element of {request.process} could not be generated: another mlgen of yours "
                        f"has been generating matrix elements all the time (lock file '{path}')\n"
                        "Wait for it, or raise the setting 'wait'"
                    ) from None
                time.sleep(_POLL_SECONDS)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                break
        yield
