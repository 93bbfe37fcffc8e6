"""What the code does not say about itself, and the reference therefore cannot."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click
from pydantic import BaseModel

from mlgen_reference.plugins import comment
from mlgen_reference.settings import undescribed

#: Options that click itself describes.
_OF_CLICK = {"help", "version"}


def hooks(found: Mapping[str, Any]) -> Iterator[str]:
    """Hooks whose docstring does not say what they are, when they are called, or has no example."""
    for name, hook in found.items():
        text = inspect.getdoc(hook) or ""
        for what, said in (
            ("docstring", bool(text)),
            ("word when it is called", "Called" in text),
            ("example", "Example::" in text),
        ):
            if not said:
                yield f"{name}: no {what}"


def settings(models: Mapping[str, type[BaseModel]]) -> Iterator[str]:
    """Keys of the card, and settings of plugins and tools, without a description."""
    for name, model in models.items():
        yield from undescribed(model, name)


def commands(found: Mapping[str, click.Command]) -> Iterator[str]:
    """Commands without a help text, and options without one."""
    for name, command in found.items():
        if not (command.help or "").strip():
            yield f"{name}: no help text"
        for parameter in command.params:
            described = isinstance(parameter, click.Argument) or parameter.name in _OF_CLICK
            if not described and not (getattr(parameter, "help", None) or "").strip():
                yield f"{name} {max(parameter.opts, key=len)}: no help text"


def members(enumeration: type[enum.Enum]) -> Iterator[str]:
    """Members of an enumeration without a comment ``#:`` above them."""
    for member in enumeration:
        if not comment(member):
            yield f"{enumeration.__name__}.{member.name}: no comment"


def tests(found: Iterable[Any]) -> Iterator[str]:
    """Rules of the kit without words: tests without a docstring."""
    for test in found:
        if not (inspect.getdoc(test) or "").strip():
            yield f"{test.__qualname__}: no words"


def classes(found: Iterable[type[Any]]) -> Iterator[str]:
    """Classes, and their public methods and properties, without a docstring."""
    for one in found:
        if not (one.__dict__.get("__doc__") or "").strip() or one.__doc__.startswith(f"{one.__name__}("):
            yield f"{one.__name__}: no docstring"
        for name, member in vars(one).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if not name.startswith("_") and inspect.isfunction(function) and not (function.__doc__ or "").strip():
                yield f"{one.__name__}.{name}: no docstring"
