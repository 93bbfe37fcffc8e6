"""The errors that mlgen raises on purpose, as Markdown."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import mlgen
from mlgen.errors import MlgenError
from mlgen_reference.markdown import section

_CLASS = re.compile(r"^class \w+\((\w+(Error|Failure))\):", re.MULTILINE)


def error_classes() -> list[type[MlgenError]]:
    """`MlgenError` and every class below it in the host, parents before children."""
    folder = Path(mlgen.__file__).parent
    for file in sorted(folder.rglob("*.py")):
        # Modules that define no error need not be imported, which takes its time.
        if _CLASS.search(file.read_text()):
            importlib.import_module(".".join(("mlgen", *file.relative_to(folder).with_suffix("").parts)))
    found: list[type[MlgenError]] = []

    def below(parent: type[Any]) -> None:
        if parent.__module__.startswith("mlgen.") and parent not in found:
            found.append(parent)
        for child in parent.__subclasses__():
            below(child)

    below(MlgenError)
    return found


def errors() -> str:
    """All of them, by the exit code of a command that ends with one."""
    out = []
    for code, title in ((2, "Errors that the user can mend (2)"), (1, "Failures while running (1)")):
        out.append(section(2, title))
        out += [
            f"```{{eval-rst}}\n.. autoexception:: {error.__module__}.{error.__name__}\n   :show-inheritance:\n```\n"
            for error in error_classes()
            if error.exit_code == code
        ]
    return "\n".join(out)
