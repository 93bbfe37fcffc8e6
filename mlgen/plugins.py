"""Finds, loads, checks and lists plugins.

Entry points of the group ``mlgen`` are loaded one by one. A package that fails to load is kept as a `LoadFailure` and
breaks nothing else; asking for a name that is not there shows the failures, since the name may have been in one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
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
    """An entry point, or a hook of it, that raised."""

    source: Source
    error: str

    def __str__(self) -> str:
        return f"{self.source} (entry point '{self.source.entry_point}'): {self.error}"


@dataclass(frozen=True, slots=True)
class Registered(Generic[T]):
    """A `Plugin` or `Tool` with its source."""

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
        with self._isolated(source):
            module = entry_point.load()
            self._pluggy.register(module, name)
            self._pluggy.check_pending()
            complete = True
        if not complete and self._pluggy.get_plugin(name) is not None:
            # A hook that pluggy refused would otherwise be held against every package that is loaded after it.
            self._pluggy.unregister(name=name)

    @contextlib.contextmanager
    def _isolated(self, source: Source) -> Iterator[None]:
        """Keep what a package raises, exits with or prints from disturbing anything else."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except (Exception, SystemExit) as error:  # noqa: BLE001 - kept and shown as a failure
            self.failures.append(LoadFailure(source, f"{type(error).__name__}: {error}"))

    def _offers(self, hook: str, kind: type[T]) -> Iterator[Registered[T]]:
        for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
            source = self._sources[implementation.plugin_name]
            offers: list[Any] = []
            with self._isolated(source):
                offers = list(implementation.function())
            for offer in offers:
                if isinstance(offer, kind):
                    yield Registered(offer, source)
                else:
                    problem = f"the hook {hook} gave {type(offer).__name__}; {kind.__name__} is expected"
                    self.failures.append(LoadFailure(source, problem))

    @functools.cached_property
    def stage_plugins(self) -> Mapping[Stage, tuple[Registered[Plugin], ...]]:
        """The plugins of each stage, by name."""
        found = {stage: sorted(self._offers(hook, Plugin), key=_name) for stage, hook in STAGE_HOOKS.items()}
        for stage, plugins in found.items():
            for registered in plugins:
                if registered.offer.stage is not stage:
                    problem = (
                        f"'{registered.offer.name}' says it is for {registered.offer.stage.value}, "
                        f"but comes from the hook {STAGE_HOOKS[stage]}"
                    )
                    self.failures.append(LoadFailure(registered.source, problem))
        return {stage: tuple(r for r in plugins if r.offer.stage is stage) for stage, plugins in found.items()}

    @functools.cached_property
    def tools(self) -> Mapping[str, tuple[Registered[Tool], ...]]:
        """The tools of each kind (`mlgen.hookspecs.TOOL_HOOKS`), by name."""
        return {kind: tuple(sorted(self._offers(hook, Tool), key=_name)) for kind, hook in TOOL_HOOKS.items()}

    @functools.cached_property
    def event_formats(self) -> tuple[Registered[EventFormat], ...]:
        """The event formats, those of mlgen first."""
        from mlgen.event_format import EventFormat

        found = self._offers(f"{PROJECT}_event_formats", EventFormat)  # type: ignore[type-abstract]
        return tuple(sorted(found, key=lambda r: r.source.distribution != HOST_DISTRIBUTION))

    def conflicts(self) -> list[str]:
        """Names that two plugins of one stage share, in words."""
        return [
            _conflict(stage, name, same)
            for stage, plugins in self.stage_plugins.items()
            for name in dict.fromkeys(r.offer.name for r in plugins)
            if len(same := [r for r in plugins if r.offer.name == name]) > 1
        ]

    def find(self, stage: Stage, name: str) -> Registered[Plugin]:
        """Find the plugin of a stage by name.

        Raises:
            PluginError: There is none, there are two, or it was written for other contracts.
        """
        plugins = self.stage_plugins[stage]
        same = [registered for registered in plugins if registered.offer.name == name]
        if len(same) > 1:
            raise PluginError(_conflict(stage, name, same) + "; uninstall one, or switch third-party plugins off")
        if not same:
            known = sorted(registered.offer.name for registered in plugins)
            message = f"no {stage.value} plugin is called '{name}'{nearest(name, known)}"
            message += f"\nThere is: {', '.join(known) or 'none'}"
            if self.failures:
                message += "\nThese packages could not be loaded, it may be in one of them:"
                message += "".join(f"\n  {failure}" for failure in self.failures)
            raise PluginError(message)
        version = same[0].offer.contract_version
        if version != CONTRACT_VERSION:
            raise PluginError(
                f"{stage.value} plugin '{name}' of {same[0].source} was written for version {version} of the "
                f"contracts; this mlgen speaks version {CONTRACT_VERSION}"
            )
        return same[0]

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
    """Report an exception from inside a plugin with its name, version and stage; mlgen's own errors pass."""
    try:
        yield
    except MlgenError:
        raise
    except Exception as error:
        raise PluginFailure(f"{_described(registered)} failed: {type(error).__name__}: {error}") from error


def _described(registered: Registered[Plugin]) -> str:
    return f"{registered.offer.stage.value} plugin '{registered.offer.name}' of {registered.source}"


def _name(registered: Registered[Any]) -> str:
    return str(registered.offer.name)


def _conflict(stage: Stage, name: str, same: list[Registered[Plugin]]) -> str:
    return f"{len(same)} {stage.value} plugins are called '{name}': from " + " and ".join(
        str(registered.source) for registered in same
    )


def _source(entry_point: importlib.metadata.EntryPoint) -> Source:
    distribution = entry_point.dist
    if distribution is None:
        return Source("(unknown distribution)", "?", entry_point.name)
    return Source(distribution.name, distribution.version, entry_point.name)


_third_party = True


def use_third_party(allowed: bool) -> None:
    """Switch third-party plugins on or off for this process (``--no-plugins``)."""
    global _third_party
    _third_party = allowed
    plugin_manager.cache_clear()


@functools.cache
def plugin_manager() -> PluginManager:
    """Return the plugins of this environment, loaded once. Heeds ``MLGEN_DISABLE_PLUGINS``."""
    disabled = os.environ.get(DISABLE_VARIABLE, "") not in ("", "0")
    return PluginManager(third_party=_third_party and not disabled)
