"""The command ``mlgen``: one file a command, each loaded only when it is called."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
import warnings
from typing import Any

import click

import mlgen
from mlgen.errors import MlgenError

#: Command and the line that ``mlgen --help`` shows, without importing the command.
COMMANDS = {
    "run": "Run a card, or replace a stage for an event file.",
    "train": "Train the model that a card names.",
    "integrate": "Compute the cross section of a card's process.",
    "validate": "Compare samples with a reference and write a report.",
    "simulate-showers": "Simulate showers of single particles in a calorimeter.",
    "convert": "Convert event files to another format.",
    "info": "Say what is in a file of events or showers, or a model.",
    "plugins": "List the plugins of this environment.",
    "new-plugin": "Write a package with a plugin to start from.",
    "check-plugin": "Check that a plugin keeps the rules of its stage.",
    "init": "Write a commented card to start from.",
}

#: Where a shell asks click what a line could go on with; click ends the program after its answer.
COMPLETION = "_MLGEN_COMPLETE"


class _LazyGroup(click.Group):
    """Knows its commands by name, and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mlgen.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from mlgen.errors import nearest

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no such command '{args[0]}'{nearest(args[0], COMMANDS)} Commands: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(mlgen.__version__, prog_name="mlgen")
@click.option("--debug", is_flag=True, help="Show the full traceback of an error.")
@click.option("--no-plugins", is_flag=True, help="Leave third-party plugins out.")
def cli(debug: bool, no_plugins: bool) -> None:
    """Let machine-learned models replace stages of a Monte Carlo chain.

    \b
    mlgen init card.toml                                  a card to start from
    mlgen run card.toml                                   run it
    mlgen run events.lhe.gz --generator cfm -o new.lhe.gz
    mlgen integrate card.toml                             the cross section of a card's process
    mlgen convert events.lhe.gz events.root
    mlgen validate truth.lhe.gz new.lhe.gz                is it right? a report
    """  # noqa: D301 - click wants a real \b
    context = click.get_current_context()
    context.call_on_close(_forget_plugin_files)
    if no_plugins:
        from mlgen.plugins import use_third_party

        context.with_resource(use_third_party(False))


def _forget_plugin_files() -> None:
    """Single files are for the command that names them: another one in this process does not see them."""
    if (plugins := sys.modules.get("mlgen.plugins")) is not None:
        plugins.forget_plugin_files()


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs the command and turns errors into one message and an exit code.

    Exit codes: 0, done; 1, a failure while running; 2, something the user can mend; 3, a gate that failed
    (`mlgen validate --fail-above`) or a rule that is broken (`mlgen check-plugin`); 130, interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    # A terminated run cleans up like an interrupted one: nothing half-written stays.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    with warnings.catch_warnings():
        warnings.filterwarnings("once", category=FutureWarning, module="mlgen")
        _show_deprecations()
        return _called(arguments, debug)


def _show_deprecations() -> None:
    """Show what will go as a message to the user, once each; other warnings are shown as they were."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *others: Any, **more: Any) -> None:
        # By its name: the module that has it is imported only by what warns.
        if category.__name__ == "MlgenDeprecationWarning":
            click.echo(f"mlgen: warning: {message}", err=True)
        else:
            usual(message, category, *others, **more)

    warnings.showwarning = show


def _called(arguments: list[str], debug: bool) -> int:
    try:
        # Outside its standalone mode, click returns the code of an `Exit`.
        code = cli.main(args=arguments, prog_name="mlgen", standalone_mode=False)
    except MlgenError as error:
        return _failed(str(error), error.exit_code, debug)
    except click.Abort:
        return _failed("interrupted; no output was left half-written", 130, debug)
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return 2
    except SystemExit as error:
        if error.code in (128 + signal.SIGTERM, 128 + signal.SIGHUP):
            return _failed("terminated; no output was left half-written", int(error.code), debug)
        if COMPLETION in os.environ:
            raise
        # Nothing of mlgen itself does that. With code 0, it would look as if all had gone well.
        return _unforeseen(f"SystemExit: {error.code}", debug)
    except KeyboardInterrupt:
        return _failed("interrupted; no output was left half-written", 130, debug)
    except BrokenPipeError:
        # Whoever read our standard output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort, shown with a hint how to see more
        kind = f"{type(error).__name__}: " if not isinstance(error, OSError) else ""
        return _unforeseen(f"{kind}{error}", debug)
    return code if isinstance(code, int) else 0


def _unforeseen(problem: str, debug: bool) -> int:
    return _failed(f"{problem}\nThis was not foreseen; 'mlgen --debug ...' shows where it happened.", 1, debug)


def _failed(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    click.echo(f"mlgen: error: {message}", err=True)
    return code
