"""``mlgen plugins``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options

if TYPE_CHECKING:
    from mlgen.hookspecs import Plugin
    from mlgen.plugins import PluginManager, Registered


@click.command("plugins")
@options.as_json
@options.debug
def command(as_json: bool) -> None:
    """List the plugins of this environment, and the packages that could not be loaded."""
    from mlgen.cli.terminal import print_json
    from mlgen.plugins import plugin_manager

    manager = plugin_manager()
    content: dict[str, Any] = {
        "stages": {
            stage.value: [
                {
                    "name": registered.offer.name,
                    "exactness": registered.offer.exactness.value,
                    "distribution": registered.source.distribution,
                    "version": registered.source.version,
                    "summary": registered.offer.summary,
                    "references": list(registered.offer.references),
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
        "failures": [str(failure) for failure in manager.failures],
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
    for stage, plugins in content["stages"].items():
        click.echo(stage)
        for plugin in plugins:
            references = f" [{', '.join(plugin['references'])}]" if plugin["references"] else ""
            source = f"{plugin['distribution']} {plugin['version']}"
            click.echo(f"  {plugin['name']:<14} {plugin['exactness']:<12} {source}")
            click.echo(f"  {'':<14} {plugin['summary']}{references}")
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
