"""What the commands show: progress on stderr, tables and JSON on stdout."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mlgen.stages import Progress, ProgressCallback

#: Seconds between two log lines when stderr is no terminal.
LOG_INTERVAL = 10.0
#: Figures of a stage that would only confuse beside the cross section: how a sampler sees its integrand.
_UNSHOWN = frozenset({"absolute_integral"})


@contextlib.contextmanager
def reporter(title: str) -> Iterator[ProgressCallback]:
    """Show the progress of one piece of work: a bar in a terminal, a line now and then elsewhere.

    Meanwhile, what packages of mlgen log is shown too, such as a matrix element that is being generated.
    """
    with _messages(), _bar(title) if sys.stderr.isatty() else _log(title) as report:
        yield report


class _Messages(logging.Handler):
    """Shows log records on stderr: of mlgen's packages from INFO on, of others as Python does where nobody asks."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.name.startswith("mlgen")

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


@contextlib.contextmanager
def _messages() -> Iterator[None]:
    root, handler = logging.getLogger(), _Messages()
    before = root.level
    root.addHandler(handler)
    root.setLevel(min(before, logging.INFO) if before else logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)


@contextlib.contextmanager
def _bar(title: str) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), "{task.fields[figure]}")
    texts = [TextColumn(column) if isinstance(column, str) else column for column in columns]
    with Bar(*texts, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, figure="")
        yield lambda p: bar.update(task, completed=p.done, total=p.total or None, figure=_figure(p))


@contextlib.contextmanager
def _log(title: str) -> Iterator[ProgressCallback]:
    start = last = time.monotonic()
    latest = Progress(0, 0)

    def report(progress: Progress) -> None:
        nonlocal last, latest
        latest, now = progress, time.monotonic()
        if now - last >= LOG_INTERVAL:
            last = now
            of = f" of {progress.total:,}" if progress.total else ""
            click.echo(f"{title}: {progress.done:,}{of} {_figure(progress)}".rstrip(), err=True)

    yield report
    figure = f" ({_figure(latest)})" if latest.figure else ""
    click.echo(f"{title}: done in {time.monotonic() - start:.1f} s{figure}", err=True)


def _figure(progress: Progress) -> str:
    return f"{progress.figure} {number(progress.value)}" if progress.figure else ""


def number(value: Any, digits: int = 4) -> str:
    """Write a number for people: thousands separated, `digits` significant digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{value:,.0f}"
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}" if value else "0"
    return f"{value:.{digits - 1}e}"


def figure_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield rows with the figures of a stage that mean something beside a cross section."""
    for name, value in figures.items():
        if name not in _UNSHOWN:
            yield f"  {name.replace('_', ' ')}", number(value)


def with_error(value: float, error: float) -> str:
    """Write a cross section with its error in pb."""
    if not math.isfinite(value):
        return "unknown"
    return f"{value:.6g} +- {error:.2g} pb" if math.isfinite(error) and error > 0 else f"{value:.6g} pb"


def shown(path: str | Path) -> str:
    """Write a path as seen from the current directory, where it lies below it."""
    path = Path(path)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)


def table(rows: Sequence[tuple[str, str]], *, err: bool = False) -> None:
    """Print two columns on stdout, or on stderr."""
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        lines = value.split("\n")
        click.echo(f"{name:<{width}}  {lines[0]}".rstrip(), err=err)
        for line in lines[1:]:
            click.echo(f"{'':<{width}}  {line}", err=err)


def print_json(content: Any) -> None:
    """Print strict JSON on stdout; numbers that are not finite become null."""
    click.echo(json.dumps(_finite(content), indent=2, sort_keys=False))


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return content
