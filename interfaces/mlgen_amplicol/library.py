"""pyAmpliCol as a library that evaluates: imported late, and without symbolica."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlgen.errors import ProcessError

_importing = threading.Lock()
#: What pyAmpliCol loaded in this thread: it may be used and dropped by the thread that loaded it only.
_loaded = threading.local()


def version() -> str:
    """Version of pyAmpliCol.

    Raises:
        ProcessError: It is not installed; says how to install it.
    """
    folder()
    return importlib.metadata.version("pyamplicol")


def folder() -> Path:
    """Folder of the package, without importing it.

    Raises:
        ProcessError: It is not installed; says how to install it.
    """
    found = importlib.util.find_spec("pyamplicol")
    if found is None or found.origin is None:
        raise ProcessError(
            "the matrix elements of 'amplicol' need the package pyamplicol, which is not installed\n"
            "Install it: pip install 'mlgen-hep[amplicol]'"
        )
    return Path(found.origin).parent


def runtime(artifact: Path, parameters: Mapping[str, float]) -> Any:
    """Return a generated matrix element for this thread, loaded at its first use.

    Raises:
        ProcessError: As `load`.
    """
    key = (artifact, tuple(sorted(parameters.items())))
    runtimes = _loaded.__dict__.setdefault("runtimes", {})
    if key not in runtimes:
        runtimes[key] = load(artifact, parameters)
    return runtimes[key]


def load(artifact: Path, parameters: Mapping[str, float]) -> Any:
    """Load a generated matrix element, with its model parameters.

    Parameters that the process does not know are left out.

    Raises:
        ProcessError: It cannot be used; says what pyAmpliCol says.
    """
    pyamplicol = _library()
    try:
        runtime = pyamplicol.Runtime.load(str(artifact), mute_warnings=True)
        known = {parameter.name for parameter in runtime.physics.model_parameters if parameter.mutable}
        runtime.set_model_parameters({name: value for name, value in parameters.items() if name in known})
    except pyamplicol.PyAmpliColError as error:
        raise ProcessError(
            f"pyAmpliCol cannot load the matrix element in '{artifact}': {error}\n"
            "Delete that folder, and it is generated anew"
        ) from error
    return runtime


def _library() -> Any:
    """Import pyAmpliCol; the first time with symbolica out of reach.

    pyAmpliCol registers with symbolica when it is imported, and symbolica's free mode allows one process of a user at
    a time. Evaluating needs no symbolica ("native binary64 execution without Symbolica computations", README).
    """
    version()
    with _importing:
        hide = "symbolica" not in sys.modules and "pyamplicol" not in sys.modules
        if hide:
            # An import of what is None here fails as if it were not installed, which pyAmpliCol allows for.
            sys.modules["symbolica"] = None  # type: ignore[assignment]  # typeshed knows modules only
        try:
            import pyamplicol
        finally:
            if hide:
                del sys.modules["symbolica"]
    return pyamplicol
