"""Finds, loads, checks and lists plugins.

Entry points of the group ``mlgen`` are loaded one by one. A package that fails to load is kept as a `LoadFailure` and
breaks nothing else; asking for a name that is not there shows the failures, since the name may have been in one.
A name that two packages offer cannot be asked for, whatever it names: the error is of both packages.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

from mlgen import hookspecs
from mlgen.errors import MlgenError, PluginError, PluginFailure, nearest
from mlgen.hookspecs import PROJECT, STAGE_HOOKS, TOOL_HOOKS, Plugin, Tool
from mlgen.stages import CONTRACT_VERSION, CONTRACTS, Contract, Stage

if TYPE_CHECKING:
    from mlgen.event_format import EventFormat

HOST_DISTRIBUTION = "mlgen-hep"
DISABLE_VARIABLE = "MLGEN_DISABLE_PLUGINS"
FORMAT_HOOK = f"{PROJECT}_event_formats"
#: Lower case, since that is what the ends of file names are compared in.
_SUFFIX = re.compile(r"\.[^A-Z]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Where something came from: distribution, its version, and the entry point."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """An entry point that could not be loaded, or something of it that raised or cannot be used."""

    source: Source
    error: str

    def __str__(self) -> str:
        return f"{self.source} (entry point '{self.source.entry_point}'): {self.error}"


@dataclass(frozen=True, slots=True)
class Registered(Generic[T]):
    """A `Plugin`, `Tool` or event format with its source."""

    offer: T
    source: Source


class PluginManager:
    """All plugins of this environment. Nothing but this class touches pluggy.

    Args:
        third_party: Whether packages other than mlgen itself are loaded.
        entry_points: The entry points to load; those of the environment when None.
    """

    def __init__(
        self, *, third_party: bool = True, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None
    ) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._sources: dict[str, Source] = {}
        self.failures: list[LoadFailure] = []
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=PROJECT)
        for entry_point in sorted(entry_points, key=lambda e: (e.name, e.value)):
            source = _source(entry_point)
            if third_party or source.distribution == HOST_DISTRIBUTION:
                self._load(entry_point, source)

    def _load(self, entry_point: importlib.metadata.EntryPoint, source: Source) -> None:
        name = f"{source.distribution}:{entry_point.name}"
        self._sources[name] = source
        complete = False
        with self.isolated(source):
            module = entry_point.load()
            self._pluggy.register(module, name)
            self._pluggy.check_pending()
            complete = True
        if not complete and self._pluggy.get_plugin(name) is not None:
            # A hook that pluggy refused would otherwise be held against every package that is loaded after it.
            self._pluggy.unregister(name=name)

    @contextlib.contextmanager
    def isolated(self, source: Source, what: str = "") -> Iterator[None]:
        """Keep what a package raises, exits with or prints from disturbing anything else; it becomes a failure.

        Args:
            source: The package.
            what: What of it is at work, for the failure.
        """
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except (Exception, SystemExit) as error:  # kept and shown as a failure
            if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
                # A signal that came in between (`mlgen.cli.main`): it is meant for the whole program.
                raise
            problem = str(error) if isinstance(error, MlgenError) else f"{type(error).__name__}: {error}"
            failure = LoadFailure(source, f"{what}: {problem}" if what else problem)
            # The same can go wrong for each of many files.
            if failure not in self.failures:
                self.failures.append(failure)

    def _offers(self, hook: str, check: Callable[[Any], T]) -> list[Registered[T]]:
        """Call a hook of every package; `check` returns what can be used, and raises for the rest."""
        found: list[Registered[T]] = []
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            source = self._sources[implementation.plugin_name]
            offers: list[Any] = []
            with self.isolated(source):
                offers.extend(implementation.function())
            for offer in offers:
                with self.isolated(source):
                    found.append(Registered(check(offer), source))
        return found

    @functools.cached_property
    def stage_plugins(self) -> Mapping[Stage, tuple[Registered[Plugin], ...]]:
        """The plugins of each stage, by name."""
        return {
            stage: tuple(sorted(self._offers(hook, functools.partial(_checked_plugin, stage)), key=_name))
            for stage, hook in STAGE_HOOKS.items()
        }

    @functools.cached_property
    def tools(self) -> Mapping[str, tuple[Registered[Tool], ...]]:
        """The tools of each kind (`mlgen.hookspecs.TOOL_HOOKS`), by name."""
        return {
            kind: tuple(sorted(self._offers(hook, functools.partial(_checked_tool, kind)), key=_name))
            for kind, hook in TOOL_HOOKS.items()
        }

    @functools.cached_property
    def event_formats(self) -> tuple[Registered[EventFormat], ...]:
        """The event formats, those of mlgen first."""
        found = self._offers(FORMAT_HOOK, _checked_format)
        return tuple(sorted(found, key=lambda r: r.source.distribution != HOST_DISTRIBUTION))

    def conflicts(self) -> list[str]:
        """Everything that is offered twice under one name, in words."""
        groups: dict[str, list[Registered[Any]]] = {}
        for stage, plugins in self.stage_plugins.items():
            for plugin in plugins:
                groups.setdefault(_plugins_called(stage, plugin.offer.name), []).append(plugin)
        for kind, tools in self.tools.items():
            for tool in tools:
                groups.setdefault(f"{kind.replace('_', ' ')} are called '{tool.offer.name}'", []).append(tool)
        for event_format in self.event_formats:
            groups.setdefault(_formats_called(event_format.offer.name), []).append(event_format)
            for suffix in dict.fromkeys(event_format.offer.suffixes):
                groups.setdefault(_formats_with(suffix), []).append(event_format)
        return [_conflict(what, same) for what, same in groups.items() if len(same) > 1]

    def failure_advice(self) -> str:
        """What to add to the message that something is not there: the packages that may have had it."""
        if not self.failures:
            return ""
        return "\nThese packages could not be loaded, it may be in one of them:" + "".join(
            f"\n  {failure}" for failure in self.failures
        )

    def find(self, stage: Stage, name: str) -> Registered[Plugin]:
        """Find the plugin of a stage by name.

        Raises:
            PluginError: There is none, there are two, or it was written for other contracts.
        """
        plugins = self.stage_plugins[stage]
        same = [registered for registered in plugins if registered.offer.name == name]
        if not same:
            known = sorted(registered.offer.name for registered in plugins)
            raise PluginError(
                f"no {stage.value} plugin is called '{name}'{nearest(name, known)}\n"
                f"There is: {', '.join(known) or 'none'}{self.failure_advice()}"
            )
        found = _only(_plugins_called(stage, name), same)
        version = found.offer.contract_version
        if version != CONTRACT_VERSION:
            raise PluginError(
                f"{stage.value} plugin '{name}' of {found.source} was written for version {version} of the "
                f"contracts; this mlgen speaks version {CONTRACT_VERSION}. Install a release of one that fits the other"
            )
        return found

    def classical(self, stage: Stage) -> Registered[Plugin]:
        """Find the plugin that a chain uses at a stage where the card names none.

        Raises:
            PluginError: There is none, there are two, or it was written for other contracts.
        """
        offered = [registered for registered in self.stage_plugins[stage] if registered.offer.classical]
        if len(offered) != 1:
            names = " and ".join(f"'{r.offer.name}' of {r.source}" for r in offered)
            problem = f"{names} say that they are" if names else "no plugin says that it is"
            known = ", ".join(registered.offer.name for registered in self.stage_plugins[stage])
            raise PluginError(
                f"the card has no [{stage.value}], and {problem} the classical one; name one in the card: "
                f'[{stage.value}] plugin = "..."\nThere is: {known or "none"}{self.failure_advice()}'
            )
        return self.find(stage, offered[0].offer.name)

    def find_format(self, name: str) -> EventFormat | None:
        """Find an event format by name; None when there is none.

        Raises:
            PluginError: There are two.
        """
        same = [registered for registered in self.event_formats if registered.offer.name == name]
        return _only(_formats_called(name), same).offer if same else None

    def find_format_of(self, file_name: str) -> EventFormat | None:
        """Find an event format by the longest suffix that a file's name (without compression) has; None without any.

        Raises:
            PluginError: Two have that suffix.
        """
        matching = [
            (suffix, registered)
            for registered in self.event_formats
            for suffix in dict.fromkeys(registered.offer.suffixes)
            if file_name.lower().endswith(suffix)
        ]
        if not matching:
            return None
        longest = max((suffix for suffix, _ in matching), key=len)
        return _only(_formats_with(longest), [found for suffix, found in matching if suffix == longest]).offer

    def recognise(self, head: bytes) -> EventFormat | None:
        """Find the event format of a file from its first uncompressed bytes; None when no format knows it.

        A format that raises is left out, and is among the failures then.
        """
        for registered in self.event_formats:
            recognised = False
            with self.isolated(registered.source, f"event format '{registered.offer.name}' looked at a file"):
                recognised = bool(registered.offer.recognises(head))
            if recognised:
                return registered.offer
        return None

    @staticmethod
    def plugin_class(registered: Registered[Plugin]) -> type[Any]:
        """Return the class of a plugin, with its heavy imports done.

        Raises:
            PluginFailure: It could not be imported, or does not implement its contract.
        """
        with plugin_errors(registered):
            implementation: Any = registered.offer.factory()
        contract = CONTRACTS[registered.offer.stage]
        if not (isinstance(implementation, type) and issubclass(implementation, contract)):
            raise PluginFailure(
                f"{_described(registered)}: the factory gave {implementation!r}; "
                f"a subclass of mlgen.stages.{contract.__name__} is expected"
            )
        if missing := sorted(getattr(implementation, "__abstractmethods__", ())):
            raise PluginFailure(
                f"{_described(registered)}: {implementation.__name__} does not implement {', '.join(missing)}, which "
                f"mlgen.stages.{contract.__name__} asks for"
            )
        return implementation

    def create(self, registered: Registered[Plugin], settings: Any) -> Contract:
        """Make an untrained plugin with the given settings."""
        implementation = self.plugin_class(registered)
        with plugin_errors(registered):
            created: Contract = implementation(settings)
        return created


@contextlib.contextmanager
def plugin_errors(registered: Registered[Plugin]) -> Iterator[None]:
    """Report an exception from inside a plugin with its name, version and stage; mlgen's own errors pass.

    What the plugin prints goes to standard error: standard output is for events and results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except MlgenError:
        raise
    except Exception as error:
        raise PluginFailure(f"{_described(registered)} failed: {type(error).__name__}: {error}") from error


def _described(registered: Registered[Plugin]) -> str:
    return f"{registered.offer.stage.value} plugin '{registered.offer.name}' of {registered.source}"


def _name(registered: Registered[Any]) -> str:
    return str(registered.offer.name)


def _checked_plugin(stage: Stage, offer: object) -> Plugin:
    if not isinstance(offer, Plugin):
        raise PluginError(f"the hook {STAGE_HOOKS[stage]} gave {type(offer).__name__}; Plugin is expected")
    if offer.stage is not stage:
        raise PluginError(
            f"'{offer.name}' says it is for {offer.stage.value}, but comes from the hook {STAGE_HOOKS[stage]}"
        )
    return offer


def _checked_tool(kind: str, offer: object) -> Tool:
    if not isinstance(offer, Tool):
        raise PluginError(f"the hook {TOOL_HOOKS[kind]} gave {type(offer).__name__}; Tool is expected")
    return offer


def _checked_format(offer: object) -> EventFormat:
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
    return offer


def _plugins_called(stage: Stage, name: str) -> str:
    return f"{stage.value} plugins are called '{name}'"


def _formats_called(name: str) -> str:
    return f"event formats are called '{name}'"


def _formats_with(suffix: str) -> str:
    return f"event formats have the suffix '{suffix}'"


def _only(what: str, same: Sequence[Registered[T]]) -> Registered[T]:
    """Return the single one of those that share a name or suffix; refuse to choose between two."""
    if len(same) > 1:
        raise PluginError(_conflict(what, same) + "; uninstall one, or switch third-party plugins off (--no-plugins)")
    return same[0]


def _conflict(what: str, same: Sequence[Registered[Any]]) -> str:
    if len({registered.offer.name for registered in same}) == 1:
        return f"{len(same)} {what}: from " + " and ".join(str(registered.source) for registered in same)
    return f"{len(same)} {what}: " + " and ".join(f"'{r.offer.name}' of {r.source}" for r in same)


def _source(entry_point: importlib.metadata.EntryPoint) -> Source:
    distribution = entry_point.dist
    if distribution is None:
        return Source("(unknown distribution)", "?", entry_point.name)
    return Source(distribution.name, distribution.version, entry_point.name)


def use_third_party(allowed: bool) -> contextlib.ExitStack:
    """Switch third-party plugins on or off (``--no-plugins``), in this process and in those that it starts.

    The choice is kept in the environment variable alone, so that there is one place that says it.

    Returns:
        What brings the former choice back, when it is closed or left as a context; may be ignored.
    """
    undo = contextlib.ExitStack()
    undo.callback(_set_disabled, os.environ.get(DISABLE_VARIABLE))
    _set_disabled(None if allowed else "1")
    return undo


def _set_disabled(value: str | None) -> None:
    if value is None:
        os.environ.pop(DISABLE_VARIABLE, None)
    else:
        os.environ[DISABLE_VARIABLE] = value
    plugin_manager.cache_clear()


@functools.cache
def plugin_manager() -> PluginManager:
    """Return the plugins of this environment, loaded once. Heeds ``MLGEN_DISABLE_PLUGINS``."""
    return PluginManager(third_party=os.environ.get(DISABLE_VARIABLE, "") in ("", "0"))
