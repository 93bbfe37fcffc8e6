"""`new_plugin`: writes a package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlgen.scaffold.folder import check_folder, whole_folder
from mlgen.scaffold.inputs import write_inputs
from mlgen.scaffold.names import Names, checked_names
from mlgen.scaffold.rendering import rendered
from mlgen.stages import Stage


@dataclass(frozen=True, slots=True)
class Written:
    """A package that was written.

    Args:
        folder: Where it is.
        names: What it is called.
        files: Its files, relative to the folder.
    """

    folder: Path
    names: Names
    files: tuple[Path, ...]


def new_plugin(name: str, stage: Stage, folder: Path, *, force: bool = False) -> Written:
    """Write a package with a plugin of a stage: all of it, or nothing.

    Args:
        name: Name of the plugin.
        stage: Its stage.
        folder: Where the package goes; it is made.
        force: Whether files of a folder that is not empty may be replaced; others in it stay.

    Raises:
        mlgen.errors.UserError: The name cannot be used.
        mlgen.errors.OutputError: The folder cannot be written.
        mlgen.errors.WriteFailure: The disk is full, or the like.
    """
    names = checked_names(name, stage, folder)
    check_folder(folder, force=force)
    texts = rendered(names, stage)
    with whole_folder(folder, force=force) as temporary:
        for path, text in texts.items():
            place = temporary / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        write_inputs(stage, temporary)
        files = tuple(sorted(path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file()))
    return Written(folder, names, files)
