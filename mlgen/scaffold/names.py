"""What a new plugin is called: in the card, as a distribution, as an import package."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from mlgen.errors import UserError
from mlgen.plugins import plugin_manager
from mlgen.stages import Stage

#: Longest name: lines of the templates stay within 120 characters.
LONGEST = 40
#: What distributions of plugins begin with.
PREFIX = "mlgen-"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Names:
    """Names of a new plugin.

    Args:
        plugin: In the card: ``plugin = "my-mixture"``.
        distribution: What pip calls it: ``mlgen-my-mixture``.
        package: What Python imports: ``my_mixture``.
    """

    plugin: str
    distribution: str
    package: str


def checked_names(name: str, stage: Stage, folder: Path) -> Names:
    """Check the name of a new plugin, and derive all others from it.

    Args:
        name: The name.
        stage: The plugin's stage.
        folder: Where the package is going to be: what is installed from there is the package itself, and no clash.

    Raises:
        UserError: The name is none, is taken, or means something else in Python; says which and what to do.
    """
    _check_spelling(name)
    distribution = PREFIX + name.lower()
    _check_free(name, distribution, stage)
    return Names(name, distribution, _package(name, folder))


def _check_spelling(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot be the name of a plugin: letters, digits and single dashes between them are expected, "
            "and a letter first, for instance 'my-mixture'"
        )
    if len(name) > LONGEST:
        raise UserError(f"'{name}' has {len(name)} characters; the name of a plugin has {LONGEST} at most")
    if name.lower() == "mlgen" or name.lower().startswith(PREFIX):
        shorter = name[len(PREFIX) :] or "my-mixture"
        raise UserError(
            f"'{name}' cannot be the name of a plugin: the package is called '{PREFIX}NAME' anyway; choose another "
            f"name, for instance '{shorter}'"
        )
    if keyword.iskeyword(name) or keyword.iskeyword(name.lower()) or keyword.issoftkeyword(name):
        raise UserError(f"'{name}' cannot be the name of a plugin: it is a keyword of Python; choose another name")


def _package(name: str, folder: Path) -> str:
    """The name with underscores; with ``mlgen_`` before it where there is a module of that name already."""
    plain = name.lower().replace("-", "_")
    candidates = (plain, f"mlgen_{plain}")
    for candidate in candidates:
        if _is_free(candidate, folder):
            return candidate
    raise UserError(
        f"'{name}' cannot be the name of a plugin: this environment has modules called "
        f"{' and '.join(repr(candidate) for candidate in candidates)} already; choose another name"
    )


def _is_free(package: str, folder: Path) -> bool:
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        # A module of that name that is broken, or `__main__`.
        return False
    if found is None:
        return True
    places = [*(found.submodule_search_locations or ()), *([found.origin] if found.origin else [])]
    return bool(places) and all(Path(place).resolve().is_relative_to(folder.resolve()) for place in places)


def _check_free(name: str, distribution: str, stage: Stage) -> None:
    for registered in plugin_manager().stage_plugins[stage]:
        if registered.offer.name == name and registered.source.distribution != distribution:
            raise UserError(
                f"'{name}' cannot be the name of a plugin: {registered.source} has a {stage.value} plugin of that "
                "name, and a card could not tell them apart; choose another name"
            )
