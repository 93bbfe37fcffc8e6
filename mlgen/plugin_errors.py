"""What goes wrong inside a plugin, told with its name, its package and the line in its own code."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlgen.errors import MlgenError, PluginFailure
from mlgen.plugin_sources import is_interruption

if TYPE_CHECKING:
    from mlgen.event_format import EventFormat
    from mlgen.hookspecs import Plugin
    from mlgen.plugins import Registered


@contextlib.contextmanager
def plugin_errors(registered: Registered[Plugin]) -> Iterator[None]:
    """Report an exception from inside a plugin with its name, version and stage; mlgen's own errors pass.

    So is its exit reported: with code 0, it would look as if all had gone well.

    What the plugin prints goes to standard error: standard output is for events and results.
    """
    with _told(described(registered), registered.offer.factory.__module__, (MlgenError,)):
        yield


@contextlib.contextmanager
def format_errors(registered: Registered[EventFormat]) -> Iterator[None]:
    """As `plugin_errors`, for an event format of another package; errors of the operating system pass, too."""
    what = f"event format '{registered.offer.name}' of {registered.source}"
    with _told(what, type(registered.offer).__module__, (MlgenError, OSError)):
        yield


def described(registered: Registered[Plugin]) -> str:
    """Return what a plugin is, in words."""
    return f"{registered.offer.stage.value} plugin '{registered.offer.name}' of {registered.source}"


@contextlib.contextmanager
def _told(what: str, module: str, passing: tuple[type[Exception], ...]) -> Iterator[None]:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except passing:
        raise
    except (Exception, SystemExit) as error:
        if is_interruption(error):
            raise
        problem = f"{type(error).__name__}: {error}{_place_in(module, error)}"
        raise PluginFailure(f"{what} failed: {problem}") from error


def _place_in(module: str, error: BaseException) -> str:
    """Where in the package of a module an exception came from, for its author."""
    package = module.partition(".")[0]
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _package_of(frame.f_globals) == package
    ]
    return f" ({Path(frames[-1][0]).name}:{frames[-1][1]})" if frames else ""


def _package_of(names: dict[str, Any]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]
