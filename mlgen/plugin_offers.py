"""Checks what the hooks of a package offer, before anything asks for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import mlgen
from mlgen.deprecation import warn_if_deprecated
from mlgen.errors import PluginError
from mlgen.hookspecs import FORMAT_HOOK, STAGE_HOOKS, TOOL_HOOKS, Plugin, Tool
from mlgen.stages import CONTRACT_VERSIONS, Stage

if TYPE_CHECKING:
    from mlgen.event_format import EventFormat

#: Lower case, since that is what the ends of file names are compared in.
_SUFFIX = re.compile(r"\.[^A-Z]+")


def spoken_versions() -> str:
    """Return in words which versions of the contracts this mlgen speaks."""
    numbers = [str(version) for version in CONTRACT_VERSIONS]
    every = numbers[0] if len(numbers) == 1 else f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    return f"mlgen {mlgen.__version__} speaks version{'s' if len(numbers) > 1 else ''} {every}"


def version_problem(version: int) -> str | None:
    """Return what is wrong with the version of the contracts that something was written for; None if nothing."""
    if version in CONTRACT_VERSIONS:
        return None
    newer = version > max(CONTRACT_VERSIONS)
    advice = "Install a newer mlgen, or an older release of it" if newer else "Install a newer release of it"
    return f"written for version {version} of the contracts; {spoken_versions()}. {advice}"


def check_contract_version(version: int, what: str) -> None:
    """Check that this mlgen speaks the version of the contracts that something was written for.

    Warns where it will not for long.

    Args:
        version: The version.
        what: What was written for it, for messages.

    Raises:
        PluginError: It does not; both versions are named.
    """
    if problem := version_problem(version):
        raise PluginError(f"{what} was {problem}")
    warn_if_deprecated(f"contracts {version}", lambda: f"{what} was written for version {version} of the contracts")


def checked_plugin(stage: Stage, offer: object) -> Plugin:
    """Return what the hook of a stage offers, if it is a plugin of that stage.

    The version of the contracts is looked at when it is asked for, so that one that is not spoken can be listed.

    Raises:
        PluginError: It is something else.
    """
    if not isinstance(offer, Plugin):
        raise PluginError(f"the hook {STAGE_HOOKS[stage]} gave {type(offer).__name__}; Plugin is expected")
    if offer.stage is not stage:
        raise PluginError(
            f"'{offer.name}' says it is for {offer.stage.value}, but comes from the hook {STAGE_HOOKS[stage]}"
        )
    return offer


def checked_tool(kind: str, offer: object) -> Tool:
    """Return what the hook of a kind of tool offers, if it is a tool that can be used.

    Raises:
        PluginError: It is something else, or written for other contracts.
    """
    if not isinstance(offer, Tool):
        raise PluginError(f"the hook {TOOL_HOOKS[kind]} gave {type(offer).__name__}; Tool is expected")
    check_contract_version(offer.contract_version, f"'{offer.name}'")
    return offer


def checked_format(offer: object) -> EventFormat:
    """Return what the hook of event formats offers, if it is one that can be used.

    Raises:
        PluginError: It is something else, or written for other contracts.
    """
    from mlgen.event_format import EventFormat

    if not isinstance(offer, EventFormat):
        raise PluginError(f"the hook {FORMAT_HOOK} gave {type(offer).__name__}; EventFormat is expected")
    for field in ("name", "summary"):
        value = getattr(offer, field, None)
        if not (isinstance(value, str) and value.strip()):
            raise PluginError(f"event format {type(offer).__name__}: {field} is {value!r}; a text is expected")
    suffixes = getattr(offer, "suffixes", None)
    if not (isinstance(suffixes, tuple) and all(isinstance(s, str) and _SUFFIX.fullmatch(s) for s in suffixes)):
        raise PluginError(
            f"event format '{offer.name}': suffixes is {suffixes!r}; a tuple of texts in lower case is expected, "
            "each with its dot, for instance ('.lhe',)"
        )
    version = getattr(offer, "contract_version", None)
    if not isinstance(version, int):
        raise PluginError(
            f"event format '{offer.name}': contract_version is {version!r}; the number of the version of the contracts "
            "that it was written for is expected"
        )
    check_contract_version(version, f"event format '{offer.name}'")
    return offer
