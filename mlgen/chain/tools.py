"""Finds the tools that a card names: sources of matrix elements, parton showers, simulations of a detector."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mlgen.card import Card
from mlgen.errors import CardError, MlgenError, PluginError, PluginFailure, UserError, nearest
from mlgen.hookspecs import Tool
from mlgen.plugins import Registered, plugin_manager


def find_tool(kind: str, what: str, name: str, card: Card, *keys: str | int) -> Registered[Tool]:
    """Find a tool by name.

    Args:
        kind: Its kind (`mlgen.hookspecs.TOOL_HOOKS`).
        what: What a tool of this kind is called, for messages.
        name: As 'mlgen plugins' lists it.
        card: The card that names it.
        keys: Where the card does.

    Raises:
        CardError: There is none of that name, or there are two.
    """
    tools = plugin_manager().tools[kind]
    same = [registered for registered in tools if registered.offer.name == name]
    if len(same) == 1:
        return same[0]
    where = f"{card.place(*keys)}: [{keys[0]}] {'.'.join(key for key in keys[1:] if isinstance(key, str))}"
    if same:
        packages = " and ".join(str(registered.source) for registered in same)
        raise CardError(f"{where}: '{name}' is there twice: from {packages}; uninstall one")
    known = [registered.offer.name for registered in tools]
    raise CardError(
        f"{where}: no {what} is called '{name}'{nearest(name, known)}\n"
        f"There is: {', '.join(known) or 'none'}{plugin_manager().failure_advice()}"
    )


@contextlib.contextmanager
def tool_errors(
    registered: Registered[Tool], what: str, *, needs: str = "{} needs", missing: type[UserError] = PluginError
) -> Iterator[None]:
    """Report an exception from inside a tool with its name and version; mlgen's own errors pass.

    Args:
        registered: The tool.
        what: What it is, for messages.
        needs: How it is said, of `what` and the name, that something is not installed.
        missing: The error that says so, with how it is installed.
    """
    offer = registered.offer
    described = f"{what} '{offer.name}'"
    try:
        yield
    except MlgenError:
        raise
    except ImportError as error:
        how = f"pip install 'mlgen-hep[{offer.requires}]'" if offer.requires else f"install {error.name}"
        raise missing(f"{needs.format(described)} {error.name or error}: {how}") from error
    except Exception as error:
        raise PluginFailure(f"{described} of {registered.source} failed: {type(error).__name__}: {error}") from error
