"""``mlgen check-plugin``."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options
from mlgen.stages import CAPABILITIES, Capability, Stage

if TYPE_CHECKING:
    from mlgen.hookspecs import Plugin
    from mlgen.plugins import Registered
    from mlgen.testing.checking import Outcome

#: Exit code where a rule was broken, as for a gate of ``mlgen validate`` that failed.
BROKEN = 3
_INDENT = " " * 4


@click.command("check-plugin")
@click.argument("name", required=False)
@click.option("--stage", type=click.Choice([stage.value for stage in Stage]), help="Where stages share the name.")
@click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="A setting, in place of the quick ones that the plugin is registered with.",
)
@click.option(
    "--without",
    metavar="CAPABILITY",
    multiple=True,
    type=click.Choice([one.name.lower() for some in CAPABILITIES.values() for one in some]),
    help="What the plugin cannot do with these settings, though it is registered as able to.",
)
@click.option(
    "--rule", "rules", metavar="RULE", multiple=True, help="Check only this rule; may be given several times."
)
@options.plugin_files
@options.as_json
@click.option("--debug", is_flag=True, help="Show the full traceback of everything that failed.")
@click.pass_context
def command(
    context: click.Context,
    name: str | None,
    stage: str | None,
    settings: tuple[str, ...],
    without: tuple[str, ...],
    rules: tuple[str, ...],
    as_json: bool,
    debug: bool,
) -> None:
    """Check whether a plugin keeps the rules of its stage's contract.

    Trains it on small samples, with the quick settings of its registration. These are the tests that the plugin's
    author inherits from mlgen.testing; the rules are on the page 'Rules of conformance' of mlgen's documentation. With
    --plugin and no NAME, all plugins of that file are checked. Exit code 3: a rule was broken.

    \b
    mlgen check-plugin cfm
    mlgen check-plugin bnn --set uncertainty=deterministic --without members
    mlgen check-plugin --plugin my_generator.py
    mlgen check-plugin cfm --rule same-seed-gives-the-same-training
    """  # noqa: D301 - click wants a real \b
    from mlgen.cli.terminal import print_json
    from mlgen.testing.checking import check_kit, check_rules, figures_of, files_of, kit_of

    debug = debug or bool(context.find_root().params.get("debug"))
    switched_off = [Capability[one.upper()] for one in without]
    checked = []
    chosen = _chosen(name, stage, context.meta.get(options.PLUGIN_FILES, []))
    for registered in chosen:
        check_rules(registered.offer.stage, rules)
    _check_switched_off(chosen, switched_off)
    for registered in chosen:
        changes = _changes(registered, settings)
        click.echo(_title(registered, changes), err=as_json)
        outcomes: list[Outcome] = []
        kit = kit_of(registered, changes, switched_off)
        for outcome in check_kit(kit, files_of(registered), rules=rules):
            _show(outcome, _as_above(outcome, outcomes), debug=debug, err=as_json)
            outcomes.append(outcome)
        figures = {} if rules else figures_of(kit)
        _show_summary(registered.offer.name, outcomes, figures, err=as_json)
        checked.append(_as_json(registered, changes, outcomes, figures))
    if as_json:
        print_json({"plugins": checked})
    if any(entry["broken"] for entry in checked):
        context.exit(BROKEN)


def _chosen(name: str | None, stage: str | None, files: Sequence[str]) -> list[Registered[Plugin]]:
    """The plugins to check."""
    from mlgen.errors import PluginError, UserError, nearest
    from mlgen.plugins import plugin_manager

    manager = plugin_manager()
    stages = list(Stage) if stage is None else [Stage(stage)]
    if name is None:
        if not files:
            raise click.UsageError("NAME is missing: the plugin to check, as in a card, or a file (--plugin FILE)")
        found = [
            manager.find(one, registered.offer.name)
            for one in stages
            for registered in manager.stage_plugins[one]
            if registered.source.single_file and registered.source.entry_point in files
        ]
        if not found:
            raise UserError(f"{', '.join(files)}: there is no plugin of {stage or 'a stage'} in it")
        return found
    having = [one for one in stages if any(r.offer.name == name for r in manager.stage_plugins[one])]
    if len(having) > 1:
        raise UserError(
            f"'{name}' is a plugin of {' and of '.join(one.value for one in having)}; "
            f"say which: --stage {having[0].value}"
        )
    if having or stage is not None:
        return [manager.find((having or stages)[0], name)]
    known = {one: [r.offer.name for r in manager.stage_plugins[one]] for one in stages}
    every = [other for names in known.values() for other in names]
    listed = "".join(f"\n  {one.value}: {', '.join(names) or 'none'}" for one, names in known.items())
    raise PluginError(
        f"no plugin is called '{name}'{nearest(name, every)}\nThere is:{listed}{manager.failure_advice()}"
    )


def _check_switched_off(chosen: Sequence[Registered[Plugin]], switched_off: Sequence[Capability]) -> None:
    """Refuse to switch off what nothing is registered with: it would have no effect."""
    from mlgen.errors import UserError

    able = {capability.name.lower() for registered in chosen for capability in registered.offer.capabilities}
    for capability in switched_off:
        if capability.name.lower() not in able:
            names = " and ".join(f"'{registered.offer.name}'" for registered in chosen)
            raise UserError(
                f"--without {capability.name.lower()}: {names} is not registered as able to do that; "
                f"there is: {', '.join(sorted(able)) or 'nothing'}"
            )


def _changes(registered: Registered[Plugin], settings: Sequence[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE``, and check all settings together."""
    import tomllib

    from pydantic import ValidationError

    from mlgen.errors import UserError, nearest

    offer = registered.offer
    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = (part.strip() for part in setting.partition("="))
        if not equals or not key:
            raise UserError(f"--set {setting}: KEY=VALUE is expected, for instance width=16")
        try:
            changes[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key] = value
    try:
        offer.settings.model_validate({**offer.quick_settings, **changes})
    except ValidationError as error:
        known = list(offer.settings.model_fields)
        problems = []
        for problem in error.errors():
            key = ".".join(map(str, problem["loc"])) or "settings"
            hint = nearest(key, known) if problem["type"] == "extra_forbidden" else ""
            problems.append(f"{key}: {problem['msg']}{hint}")
        place = "--set" if changes else "quick_settings of its registration"
        unknown = any(problem["type"] == "extra_forbidden" for problem in error.errors())
        there_is = f"\nThere is: {', '.join(known) or 'none'}" if unknown else ""
        raise UserError(f"{place}: not settings of '{offer.name}': {'; '.join(problems)}{there_is}") from error
    return changes


def _title(registered: Registered[Plugin], changes: dict[str, Any]) -> str:
    offer = registered.offer
    said = "".join(f" {key}={value}" for key, value in {**offer.quick_settings, **changes}.items())
    able = ", ".join(sorted(one.value for one in offer.capabilities))
    return (
        f"{offer.stage.value} plugin '{offer.name}' of {registered.source}, {offer.exactness.value}"
        f"{f', {able}' if able else ''}\nsettings:{said or ' the usual ones'}"
    )


def _as_above(outcome: Outcome, before: Sequence[Outcome]) -> str:
    """Say what an outcome has in common with one that was shown before it; empty where nothing."""
    from mlgen.testing.checking import Verdict

    for other in before:
        if other.verdict is not Verdict.BROKEN:
            continue
        if outcome.cause and (outcome.cause, outcome.place) == (other.cause, other.place):
            return f"as above: {_mistake(outcome)}"
        if outcome.message == other.message:
            return f"as above: {outcome.message.splitlines()[0]}"
    return ""


def _mistake(outcome: Outcome) -> str:
    """What is wrong, in one line."""
    said = (outcome.cause or outcome.message).splitlines()[0]
    return f"{said}, {_short(outcome.place)}" if outcome.place else said


def _show_summary(name: str, outcomes: Sequence[Outcome], figures: Mapping[str, str], *, err: bool) -> None:
    """Show what one mistake broke together, figures that are no rule, and how many rules were kept and broken."""
    from mlgen.testing.checking import Verdict

    broken = Counter(_mistake(outcome) for outcome in outcomes if outcome.verdict is Verdict.BROKEN)
    for mistake, number in broken.items():
        if number > 1:
            click.echo(f"{number} broken rules: {mistake}", err=err)
    if broken:
        click.echo("mlgen's documentation is built by 'make docs' in a clone of mlgen", err=err)
    for title, value in figures.items():
        click.echo(f"{title}: {value}", err=err)
    counts = {verdict: sum(outcome.verdict is verdict for outcome in outcomes) for verdict in Verdict}
    seconds = sum(outcome.seconds for outcome in outcomes)
    said = ", ".join(f"{number} {verdict.value}" for verdict, number in counts.items())
    click.echo(f"{name}: {said} ({seconds:.1f} s)", err=err)


def _show(outcome: Outcome, as_above: str, *, debug: bool, err: bool) -> None:
    from mlgen.testing.checking import Verdict

    color = {Verdict.PASSED: "green", Verdict.BROKEN: "red", Verdict.NOT_APPLICABLE: None}[outcome.verdict]
    reason = f"  {outcome.message}" if outcome.verdict is Verdict.NOT_APPLICABLE else f"  {outcome.seconds:.1f} s"
    click.echo(f"  {click.style(f'{outcome.verdict.value:<14}', fg=color)}  {outcome.name}{reason}", err=err)
    if outcome.verdict is not Verdict.BROKEN:
        return
    lines = [as_above or outcome.message]
    if not as_above:
        if outcome.place:
            lines.append(f"raised at {_short(outcome.place)}")
        lines += [f"rule: {outcome.rule.words}", outcome.rule.place]
    if debug:
        lines.append(outcome.traceback)
    click.echo(textwrap.indent("\n".join(lines), _INDENT), err=err)


def _short(place: str) -> str:
    """A place relative to the current folder, where it is inside."""
    file, _, line = place.rpartition(":")
    path = Path(file)
    return f"{path.relative_to(Path.cwd())}:{line}" if path.is_relative_to(Path.cwd()) else place


def _as_json(
    registered: Registered[Plugin], changes: dict[str, Any], outcomes: Sequence[Outcome], figures: Mapping[str, str]
) -> dict[str, Any]:
    from mlgen.testing.checking import Verdict

    offer = registered.offer
    return {
        "name": offer.name,
        "stage": offer.stage.value,
        "distribution": registered.source.distribution,
        "version": registered.source.version,
        "settings": {**offer.quick_settings, **changes},
        "passed": sum(outcome.verdict is Verdict.PASSED for outcome in outcomes),
        "broken": sum(outcome.verdict is Verdict.BROKEN for outcome in outcomes),
        "not_applicable": sum(outcome.verdict is Verdict.NOT_APPLICABLE for outcome in outcomes),
        "figures": dict(figures),
        "rules": [
            {
                "rule": outcome.rule.identity,
                "case": outcome.case,
                "verdict": outcome.verdict.value,
                "message": outcome.message,
                "cause": outcome.cause,
                "place": outcome.place,
                "words": outcome.rule.words,
                "documented": outcome.rule.documented,
                "seconds": outcome.seconds,
            }
            for outcome in outcomes
        ],
    }
