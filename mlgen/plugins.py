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
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

import mlgen
from mlgen import hookspecs
from mlgen.errors import MlgenError, PluginError, PluginFailure, nearest
from mlgen.hookspecs import FORMAT_HOOK, PROJECT, STAGE_HOOKS, TOOL_HOOKS, Plugin, Tool
from mlgen.plugin_errors import described, plugin_errors
from mlgen.plugin_offers import check_contract_version, checked_format, checked_plugin, checked_tool
from mlgen.plugin_sources import (
    HOST_DISTRIBUTION,
    Source,
    check_host_requirement,
    is_interruption,
    line_of,
    read_plugin_file,
    source_of,
)
from mlgen.stages import CONTRACTS, Contract, Stage

if TYPE_CHECKING:
    from mlgen.event_format import EventFormat

DISABLE_VARIABLE = "MLGEN_DISABLE_PLUGINS"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """An entry point that could not be loaded, or something of it that raised or cannot be used."""

    source: Source
    error: str

    def __str__(self) -> str:
        return f"{self.source.place}: {self.error}"


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
        self._offered: dict[tuple[str, str], list[Registered[Any]]] = {}
        self.failures: list[LoadFailure] = []
        #: Seconds that each source took to load, hooks included.
        self.seconds: dict[Source, float] = {}
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=PROJECT)
        for entry_point in sorted(entry_points, key=lambda e: (e.name, e.value)):
            source = source_of(entry_point)
            if third_party or source.distribution == HOST_DISTRIBUTION:
                with self.isolated(source):
                    if source.distribution != HOST_DISTRIBUTION:
                        check_host_requirement(entry_point)
                    self._register(entry_point.load(), source)

    def _register(self, module: object, source: Source) -> None:
        name = f"{source.distribution}:{source.entry_point}"
        if (other := self._pluggy.get_name(module)) is not None:
            # pluggy would say so with a list of all that is there.
            raise PluginError(f"it leads to the same module as {self._sources[other].place}; uninstall or mend one")
        self._sources[name] = source
        try:
            self._pluggy.register(module, name)
            self._check_hooks(name)
        except Exception:
            # A hook that pluggy refused would otherwise be held against every package that is loaded after it.
            if self._pluggy.get_plugin(name) is not None:
                self._pluggy.unregister(name=name)
            del self._sources[name]
            raise

    def _check_hooks(self, name: str) -> None:
        known = {hook for hook in vars(hookspecs) if hook.startswith(f"{PROJECT}_")}
        for caller in self._pluggy.get_hookcallers(self._pluggy.get_plugin(name)) or ():
            if caller.name not in known:
                raise PluginError(
                    f"it has the hook '{caller.name}', which mlgen {mlgen.__version__} does not know"
                    f"{nearest(caller.name, known) or '.'} Was it written for a newer mlgen?"
                )
        self._pluggy.check_pending()

    def add_file(self, path: Path) -> Source:
        """Load the plugins of a single file; one that is loaded already is not loaded again.

        Raises:
            PluginError: It cannot be loaded, something that it offers cannot be used, or it offers nothing.
        """
        path = path.absolute()
        for source in self.files:
            # One file has many paths: through a link, or by way of another folder (``cards/../mine.py``).
            if Path(source.entry_point).resolve() == path.resolve():
                return source
        with contextlib.redirect_stdout(sys.stderr):
            begin = time.perf_counter()
            module, source = read_plugin_file(path)
            self.seconds[source] = time.perf_counter() - begin
        if not _implements_hooks(module):
            raise PluginError(f"{path}: {_no_hooks(module)}")
        try:
            self._register(module, source)
        except (PluginError, pluggy.PluginValidationError) as error:
            raise PluginError(f"{path}: {error}") from error
        self._forget_offers()
        offers: list[Registered[Any]] = [*self.event_formats]
        for plugins in self.stage_plugins.values():
            offers += plugins
        for tools in self.tools.values():
            offers += tools
        failed = [failure for failure in self.failures if failure.source == source]
        if failed or not any(offer.source == source for offer in offers):
            self.remove_file(source)
            problems = "\n".join(map(str, failed)) or f"{path}: its hooks offer nothing; a Plugin or Tool is expected"
            raise PluginError(problems)
        return source

    def remove_file(self, source: Source) -> None:
        """Forget the plugins of a single file."""
        name = next(name for name, found in self._sources.items() if found == source)
        self._pluggy.unregister(name=name)
        del self._sources[name]
        self.failures = [failure for failure in self.failures if failure.source != source]
        self._offered = {key: offers for key, offers in self._offered.items() if key[1] != name}
        self._forget_offers()

    @property
    def files(self) -> tuple[Source, ...]:
        """The single files that were loaded."""
        return tuple(source for source in self._sources.values() if source.single_file)

    def _forget_offers(self) -> None:
        for name in ("stage_plugins", "tools", "event_formats"):
            self.__dict__.pop(name, None)

    @contextlib.contextmanager
    def isolated(self, source: Source, what: str = "") -> Iterator[None]:
        """Keep what a package raises, exits with or prints from disturbing anything else; it becomes a failure.

        Args:
            source: The package.
            what: What of it is at work, for the failure.
        """
        begin = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except BaseException as error:  # kept and shown as a failure
            if is_interruption(error):
                raise
            problem = str(error) if isinstance(error, MlgenError) else f"{type(error).__name__}: {error}"
            if isinstance(error, TypeError) and "Plugin.__init__() got an unexpected" in problem:
                problem += f" (this is mlgen {mlgen.__version__}; was it written for a newer one?)"
            if source.single_file and (line := line_of(error, Path(source.entry_point))):
                problem += f" (line {line})"
            failure = LoadFailure(source, f"{what}: {problem}" if what else problem)
            # The same can go wrong for each of many files.
            if failure not in self.failures:
                self.failures.append(failure)
        finally:
            self.seconds[source] = self.seconds.get(source, 0.0) + time.perf_counter() - begin

    def _offers(self, hook: str, check: Callable[[Any], T]) -> list[Registered[T]]:
        """Call a hook of every package; `check` returns what can be used, and raises for the rest."""
        found: list[Registered[T]] = []
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            key = hook, implementation.plugin_name
            if key not in self._offered:
                self._offered[key] = self._called(implementation.function, self._sources[key[1]], check)
            found += self._offered[key]
        return found

    def _called(
        self, function: Callable[[], Iterable[Any]], source: Source, check: Callable[[Any], T]
    ) -> list[Registered[T]]:
        offers: list[Any] = []
        with self.isolated(source):
            offers.extend(function())
        found: list[Registered[T]] = []
        for offer in offers:
            with self.isolated(source):
                found.append(Registered(check(offer), source))
        return found

    @functools.cached_property
    def stage_plugins(self) -> Mapping[Stage, tuple[Registered[Plugin], ...]]:
        """The plugins of each stage, by name."""
        return {
            stage: tuple(sorted(self._offers(hook, functools.partial(checked_plugin, stage)), key=_name))
            for stage, hook in STAGE_HOOKS.items()
        }

    @functools.cached_property
    def tools(self) -> Mapping[str, tuple[Registered[Tool], ...]]:
        """The tools of each kind (`mlgen.hookspecs.TOOL_HOOKS`), by name."""
        return {
            kind: tuple(sorted(self._offers(hook, functools.partial(checked_tool, kind)), key=_name))
            for kind, hook in TOOL_HOOKS.items()
        }

    @functools.cached_property
    def event_formats(self) -> tuple[Registered[EventFormat], ...]:
        """The event formats, those of mlgen first."""
        found = self._offers(FORMAT_HOOK, checked_format)
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
                f"There is: {', '.join(known) or 'none'}. One in a single file has to be named: --plugin FILE, or "
                f'plugins = ["FILE"] at the top of the card{self.failure_advice()}'
            )
        found = _only(_plugins_called(stage, name), same)
        check_contract_version(found.offer.contract_version, f"{stage.value} plugin '{name}' of {found.source}")
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
                f"{described(registered)}: the factory gave {implementation!r}; "
                f"a subclass of mlgen.stages.{contract.__name__} is expected"
            )
        if missing := sorted(getattr(implementation, "__abstractmethods__", ())):
            raise PluginFailure(
                f"{described(registered)}: {implementation.__name__} does not implement {', '.join(missing)}, which "
                f"mlgen.stages.{contract.__name__} asks for"
            )
        return implementation

    def create(self, registered: Registered[Plugin], settings: Any) -> Contract:
        """Make an untrained plugin with the given settings."""
        implementation = self.plugin_class(registered)
        with plugin_errors(registered):
            created: Contract = implementation(settings)
        return created


def _name(registered: Registered[Any]) -> str:
    return str(registered.offer.name)


def _plugins_called(stage: Stage, name: str) -> str:
    return f"{stage.value} plugins are called '{name}'"


def _formats_called(name: str) -> str:
    return f"event formats are called '{name}'"


def _formats_with(suffix: str) -> str:
    return f"event formats have the suffix '{suffix}'"


def _only(what: str, same: Sequence[Registered[T]]) -> Registered[T]:
    """Return the single one of those that share a name or suffix; refuse to choose between two."""
    if len(same) > 1:
        advice = "uninstall or rename one, or switch third-party plugins off (--no-plugins)"
        if any(registered.source.single_file for registered in same):
            advice = "rename one, or name one file less"
        raise PluginError(f"{_conflict(what, same)}; {advice}")
    return same[0]


def _conflict(what: str, same: Sequence[Registered[Any]]) -> str:
    if len({registered.offer.name for registered in same}) == 1:
        return f"{len(same)} {what}: from " + " and ".join(_distinct(registered.source) for registered in same)
    return f"{len(same)} {what}: " + " and ".join(f"'{r.offer.name}' of {_distinct(r.source)}" for r in same)


def _distinct(source: Source) -> str:
    """A source in words; files have their paths, since two may share name and content."""
    return f"{source.entry_point} (single file)" if source.single_file else str(source)


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


def add_plugin_file(path: Path) -> Source:
    """Load the plugins of a single file, for the rest of this process; only what was named explicitly is loaded.

    Args:
        path: A Python file with functions decorated by `mlgen.hookspecs.hookimpl`. It is code, and is run.

    Returns:
        Where its plugins say that they come from.

    Raises:
        PluginError: It cannot be loaded, or offers nothing.
    """
    return plugin_manager().add_file(path)


def forget_plugin_files() -> None:
    """Forget the plugins of all single files."""
    if plugin_manager.cache_info().currsize:
        manager = plugin_manager()
        for source in manager.files:
            manager.remove_file(source)


def _implements_hooks(module: types.ModuleType) -> bool:
    return any(hasattr(value, f"{PROJECT}_impl") for value in vars(module).values())


def _no_hooks(module: types.ModuleType) -> str:
    plain = [name for name in vars(module) if name.startswith(f"{PROJECT}_")]
    if plain:
        return f"'{plain[0]}' is not decorated; write @hookimpl (from mlgen.hookspecs) above it"
    hooks = ", ".join(STAGE_HOOKS.values())
    return f"it has no hook: a function decorated with @hookimpl (from mlgen.hookspecs), for instance one of {hooks}"
