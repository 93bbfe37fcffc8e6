"""What the benchmark of the generators prints, and the same numbers as JSON."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("mlgen-hep", "torch", "numpy", "scipy", "scikit-learn", "pythia8mc")


class Output:
    """Prints lines and tables, and collects numbers.

    Args:
        arguments: Those of the command; `json` is the file for the numbers, or None.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._path: Path | None = arguments.json
        self.numbers: dict[str, Any] = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": " ".join(["python", *sys.argv]),
            "machine": f"{platform.machine()}, {os.cpu_count()} threads, Python {platform.python_version()}",
            "versions": _versions(),
        }
        print("; ".join([self.numbers["date"], self.numbers["machine"], *self.numbers["versions"]]))
        print(self.numbers["command"], flush=True)

    def say(self, *lines: str) -> None:
        """Print lines."""
        print("\n".join(lines), flush=True)

    def title(self, text: str) -> None:
        """Print a line that begins a part."""
        print(f"\n## {text}", flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table in Markdown."""
        widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]

        def line(cells: Sequence[str]) -> str:
            return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

        print(line(columns))
        print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        print("\n".join(line(row) for row in rows), flush=True)

    def keep(self, *keys: str, **numbers: Any) -> None:
        """Keep numbers for the JSON file, below the keys, and write it: a later failure loses nothing."""
        place = self.numbers
        for key in keys:
            place = place.setdefault(key, {})
        place.update(numbers)
        if self._path is not None:
            self._path.write_text(json.dumps(_plain(self.numbers), indent=1))


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found


def _plain(value: Any) -> Any:
    """The same as types that JSON has; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
