"""Runs ``mlgen`` for the examples, each time in a process forked from one that has imported the heavy libraries.

The pages have some eighty commands, and most of the time of a short one goes into importing torch, SciPy and the like.
Nothing of mlgen is imported beforehand: a command finds the plugins of its own environment, as it would anywhere.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import multiprocessing
import os
import select
import signal
import site
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Libraries that are imported once.
LIBRARIES = (
    *("numpy", "scipy.stats", "scipy.optimize", "sklearn.ensemble", "sklearn.model_selection"),
    *("torch", "torch._dynamo", "awkward", "vector", "hist", "uproot", "h5py", "pyhepmc", "particle"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "mplhep"),
    *("pydantic", "click", "rich.progress", "pluggy", "safetensors.numpy", "importlib.metadata"),
)
#: One thread for each process: threads do not survive a fork.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: What stands in ``bin/mlgen`` of an environment: hands everything over, and ends as the command does.
CLIENT = """\
#!{python}
import json, os, socket, sys
task = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ),
        "prefix": sys.prefix, "executable": sys.executable, "packages": {packages!r}}}
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"x"], [0, 1, 2])
    server.sendall(json.dumps(task).encode())
    server.shutdown(socket.SHUT_WR)
    code = server.recv(16)
sys.exit(int(code or 1))
"""


def available() -> bool:
    """Whether this system has what it takes."""
    return all(hasattr(module, name) for module, name in ((os, "pidfd_open"), (os, "fork"), (socket, "send_fds")))


@functools.cache
def address() -> str:
    """Start the server of this process, once, and return its address."""
    place = tempfile.TemporaryDirectory(prefix="mlgen-examples-")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{place.name}/socket")
    listener.listen()
    process = subprocess.Popen(
        [sys.executable, __file__, str(listener.fileno())],
        pass_fds=[listener.fileno()],
        env={**os.environ, **_THREADS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    listener.close()

    @atexit.register
    def stop() -> None:
        process.kill()
        process.wait()
        place.cleanup()

    return f"{place.name}/socket"


def serve(listener: socket.socket) -> int | None:
    """Answer until this process is killed; in a process that is to run a command, return the code that it ends with."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                return _answer(connection)


def _reap(*_: object) -> None:
    """Take leave of the processes that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(connection: socket.socket) -> int | None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    content = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    worker = os.fork()
    if worker == 0:
        connection.close()
        return _command(json.loads(content), files)
    for file in files:
        os.close(file)
    ended = os.pidfd_open(worker)
    hung_up = select.poll()
    hung_up.register(ended, select.POLLIN)
    hung_up.register(connection, select.POLLHUP)
    if ended not in {descriptor for descriptor, _ in hung_up.poll()}:
        os.kill(worker, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with contextlib.suppress(OSError):
        connection.sendall(str(code if code >= 0 else 128 - code).encode())
    os._exit(0)


def _command(task: dict[str, Any], files: list[int]) -> int:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.argv = [str(Path(task["executable"]).parent / "mlgen"), *task["arguments"]]
    sys.prefix, sys.executable = task["prefix"], task["executable"]
    multiprocessing.set_executable(task["executable"])
    # The environment's own packages stand before those that it only sees.
    seen = sys.path[:]
    site.addsitedir(task["packages"])
    sys.path[:] = [entry for entry in sys.path if entry not in seen] + seen[1:]
    importlib.invalidate_caches()
    from mlgen.cli import main

    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(serve(socket.socket(fileno=int(sys.argv[1]))))
