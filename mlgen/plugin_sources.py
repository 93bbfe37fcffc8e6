"""Where plugins come from: packages that are installed, and single files that somebody named."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import mlgen
from mlgen.errors import PluginError

HOST_DISTRIBUTION = "mlgen-hep"
#: Digits of a file's SHA-256 that its version has.
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Source:
    """Where something came from.

    Args:
        distribution: The package that is installed; of a single file, its name with ``(single file)``, so that whatever
            names the source of a plugin (outputs, models, reports) shows it as such.
        version: The package's version; of a single file, its ``__version__`` if it has one, and its SHA-256, as in
            ``0.1+sha256.1f2e3d4c5b6a`` or ``sha256.1f2e3d4c5b6a``.
        entry_point: Name of the package's entry point; of a single file, its path.
        single_file: Whether it is a single file.
    """

    distribution: str
    version: str
    entry_point: str
    single_file: bool = False

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self} (entry point '{self.entry_point}')" if not self.single_file else self.entry_point


def source_of(entry_point: importlib.metadata.EntryPoint) -> Source:
    """Return the source of an entry point, also of a package whose metadata are damaged."""
    name = version = None
    if entry_point.dist is not None:
        # `check_host_requirement` reads them again, and says what is wrong.
        with contextlib.suppress(Exception):
            name, version = entry_point.dist.name, entry_point.dist.version
    return Source(name or "(unknown distribution)", version or "?", entry_point.name)


def check_host_requirement(entry_point: importlib.metadata.EntryPoint) -> None:
    """Check that a package can do with this version of mlgen, by what it says that it requires.

    pip looks at that when it installs the package, but not when mlgen is replaced later, nor with ``--no-deps``.

    Raises:
        PluginError: It requires another version; says which.
    """
    requirements = entry_point.dist.requires if entry_point.dist is not None else None
    for text in requirements or ():
        if not text.lower().replace("_", "-").startswith(HOST_DISTRIBUTION):
            continue
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name

        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) != HOST_DISTRIBUTION or not applies:
            continue
        if not requirement.specifier.contains(mlgen.__version__, prereleases=True):
            raise PluginError(
                f"written for {HOST_DISTRIBUTION}{requirement.specifier}; this is {HOST_DISTRIBUTION} "
                f"{mlgen.__version__}. Install a release of one that fits the other"
            )


def read_plugin_file(path: Path) -> tuple[ModuleType, Source]:
    """Run a file that somebody named, as a module of its own, and return it with its source.

    Args:
        path: A Python file with functions decorated by `mlgen.hookspecs.hookimpl`.

    Raises:
        PluginError: It cannot be read, is no Python, or raises; names the line.
    """
    if path.suffix != ".py":
        raise PluginError(f"{path}: a Python file (.py) is expected; an installed package is found without naming it")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PluginError(f"{path}: the plugin's file cannot be read: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    # A name of its own: two files of one name in two folders do not get in each other's way.
    name = f"mlgen_plugin_file_{path.stem.replace('-', '_')}_{digest}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise PluginError(f"{path}: the plugin's file cannot be imported")
    module = importlib.util.module_from_spec(specification)
    # Before it is run, since dataclasses and pydantic look for the module that they are in.
    sys.modules[name] = module
    try:
        # What was read is what is run, and what the digest tells of.
        exec(compile(content, str(path), "exec"), vars(module))
    except BaseException as error:
        del sys.modules[name]
        if is_interruption(error):
            raise
        line = line_of(error, path)
        place = str(path) if line is None else f"{path}:{line}"
        raise PluginError(f"{place}: {type(error).__name__}: {error}") from error
    version = getattr(module, "__version__", None)
    version = f"{version}+sha256.{digest}" if isinstance(version, str) else f"sha256.{digest}"
    return module, Source(f"{path.name} (single file)", version, str(path), single_file=True)


@functools.cache
def code_digest(module_name: str) -> str:
    """Return the SHA-256 of the Python files of the package (or of the file) that a module is in.

    A version stays what it is while its author works on the code: the digest tells that it is another one.

    Args:
        module_name: Name of the module, imported.

    Returns:
        Hexadecimal digits; empty where the files cannot be read.
    """
    module = sys.modules.get(module_name.partition(".")[0])
    file = getattr(module, "__file__", None)
    if file is None:
        return ""
    package = Path(file).parent
    files = sorted(package.rglob("*.py")) if hasattr(module, "__path__") else [Path(file)]
    digest = hashlib.sha256()
    try:
        for path in files:
            digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    except OSError:
        return ""
    return digest.hexdigest()


def is_interruption(error: BaseException) -> bool:
    """Tell whether an exception is meant for the whole program: an interrupt, or a signal (`mlgen.cli.main`)."""
    signals = (128 + signal.SIGTERM, 128 + signal.SIGHUP)
    return isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in signals)


def line_of(error: BaseException, path: Path) -> int | None:
    """Return the line of a file that an exception came through last; None where it came through none of it."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None
