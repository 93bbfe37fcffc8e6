"""``mlgen plugins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options

#: Seconds for loading a package that users of every command would notice.
SLOW = 0.5

if TYPE_CHECKING:
    from mlgen.hookspecs import Plugin
    from mlgen.plugins import PluginManager, Registered


@click.command("plugins")
@options.as_json
@options.plugin_files
@options.debug
def command(as_json: bool) -> None:
    """List the plugins of this environment, and the packages that could not be loaded."""
    import mlgen
    from mlgen.cli.terminal import print_json
    from mlgen.plugin_offers import version_problem
    from mlgen.plugin_sources import HOST_DISTRIBUTION
    from mlgen.plugins import plugin_manager
    from mlgen.stages import CONTRACT_VERSIONS

    manager = plugin_manager()
    content: dict[str, Any] = {
        "mlgen": mlgen.__version__,
        "contract_versions": list(CONTRACT_VERSIONS),
        "stages": {
            stage.value: [
                {
                    "name": registered.offer.name,
                    "exactness": registered.offer.exactness.value,
                    "distribution": registered.source.distribution,
                    "version": registered.source.version,
                    "summary": registered.offer.summary,
                    "references": list(registered.offer.references),
                    "capabilities": sorted(capability.value for capability in registered.offer.capabilities),
                    "contract_version": registered.offer.contract_version,
                    "problem": version_problem(registered.offer.contract_version) or "",
                }
                # Schemas take their time, and only programs read them.
                | ({"settings": _settings(manager, registered)} if as_json else {})
                for registered in plugins
            ]
            for stage, plugins in manager.stage_plugins.items()
        },
        "tools": {
            kind: [
                {
                    "name": registered.offer.name,
                    "distribution": registered.source.distribution,
                    "version": registered.source.version,
                    "summary": registered.offer.summary,
                    "requires": registered.offer.requires,
                }
                for registered in tools
            ]
            for kind, tools in manager.tools.items()
        },
        "event_formats": [
            {
                "name": registered.offer.name,
                "suffixes": list(registered.offer.suffixes),
                "distribution": registered.source.distribution,
                "version": registered.source.version,
                "summary": registered.offer.summary,
            }
            for registered in manager.event_formats
        ],
        "conflicts": manager.conflicts(),
    }
    # After everything was called, so that it is all there.
    content["failures"] = [str(failure) for failure in manager.failures]
    content["slow"] = {
        source.place: round(seconds, 1)
        for source, seconds in manager.seconds.items()
        # A single file is only loaded where it is named.
        if seconds > SLOW and source.distribution != HOST_DISTRIBUTION and not source.single_file
    }
    if as_json:
        print_json(content)
    else:
        _show(content)


def _settings(manager: PluginManager, registered: Registered[Plugin]) -> dict[str, Any]:
    """The settings of a plugin with their defaults; none when they have no JSON schema, which is a failure then."""
    properties: dict[str, Any] = {}
    with manager.isolated(registered.source, f"settings of '{registered.offer.name}'"):
        properties = registered.offer.settings.model_json_schema().get("properties", {})
    return {
        name: {"default": entry.get("default"), "description": entry.get("description", "")}
        for name, entry in properties.items()
    }


def _show(content: dict[str, Any]) -> None:
    from mlgen.plugin_offers import spoken_versions

    for stage, plugins in content["stages"].items():
        click.echo(stage)
        for plugin in plugins:
            references = f" [{', '.join(plugin['references'])}]" if plugin["references"] else ""
            source = f"{plugin['distribution']} {plugin['version']}"
            click.echo(f"  {plugin['name']:<14} {plugin['exactness']:<12} {source}")
            click.echo(f"  {'':<14} {' '.join(plugin['summary'].split())}{references}")
            if plugin["capabilities"]:
                click.echo(f"  {'':<14} can do: {', '.join(plugin['capabilities'])}")
            if plugin["problem"]:
                click.echo(f"  {'':<14} cannot be used: {plugin['problem']}")
        if not plugins:
            click.echo("  none")
    for kind, tools in content["tools"].items():
        if tools:
            click.echo(kind.replace("_", " "))
        for tool in tools:
            click.echo(f"  {tool['name']:<14} {tool['summary']}  ({tool['distribution']} {tool['version']})")
    click.echo("event formats")
    for entry in content["event_formats"]:
        click.echo(f"  {entry['name']:<14} {' '.join(entry['suffixes']):<12} {entry['summary']}")
    for conflict in content["conflicts"]:
        click.echo(f"conflict: {conflict}")
    for failure in content["failures"]:
        click.echo(f"not loaded: {failure}")
    for place, seconds in content["slow"].items():
        advice = "heavy imports belong into the factories, which are called when a card asks"
        click.echo(f"slow: {place} took {seconds} s to load; {advice}")
    click.echo(f"contracts: {spoken_versions()}")
