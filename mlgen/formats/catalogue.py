"""Which event formats there are, and which one a file is in or shall be in."""

from __future__ import annotations

from pathlib import Path

from mlgen.errors import OutputError, UserError, nearest
from mlgen.event_format import EventFormat
from mlgen.formats.compression import bare_name, compression_for
from mlgen.plugins import plugin_manager


def known_formats() -> tuple[EventFormat, ...]:
    """All event formats of this environment, mlgen's own first."""
    return tuple(registered.offer for registered in plugin_manager().event_formats)


def no_format_advice() -> str:
    """What to tell of a file that no format recognises: the formats there are, and those that may be missing."""
    manager = plugin_manager()
    known = "; ".join(f"{registered.offer.name}: {registered.offer.summary}" for registered in manager.event_formats)
    return f"Known formats: {known}{manager.failure_advice()}"


def format_by_name(name: str) -> EventFormat:
    """Find a format by its short name.

    Raises:
        UserError: There is none.
        PluginError: Two packages offer one of this name.
    """
    manager = plugin_manager()
    found = manager.find_format(name)
    if found is None:
        known = [event_format.name for event_format in known_formats()]
        raise UserError(
            f"no event format is called '{name}'{nearest(name, known)}\n"
            f"There is: {', '.join(known)}{manager.failure_advice()}"
        )
    return found


def recognise(head: bytes) -> EventFormat | None:
    """Find the format from a file's first uncompressed bytes."""
    return plugin_manager().recognise(head)


def format_for_output(path: Path, name: str | None = None) -> EventFormat:
    """Choose the format of an output file, by name or from its suffix.

    Raises:
        OutputError: The suffix is not known, or the format cannot be compressed or piped.
        UserError: No format has this name.
        PluginError: Two packages offer a format of this name or suffix.
    """
    event_format = format_by_name(name) if name else _by_suffix(path)
    if not event_format.streams:
        if str(path) == "-":
            raise OutputError(f"{event_format.name} cannot be written to standard output; name a file")
        if compression_for(path):
            raise OutputError(f"{path}: {event_format.name} is compressed inside already; leave out '{path.suffix}'")
    return event_format


def _by_suffix(path: Path) -> EventFormat:
    manager = plugin_manager()
    found = manager.find_format_of(bare_name(path))
    if found is not None:
        return found
    known = ", ".join(suffix for event_format in known_formats() for suffix in event_format.suffixes)
    place = "standard output" if str(path) == "-" else f"'{path}'"
    raise OutputError(
        f"{place}: the format is not clear from the name; known suffixes are {known} "
        "(text formats also with .gz, .bz2, .xz, .zst). Name the format with --format."
        f"{manager.failure_advice()}"
    )
