"""Runs the examples of a page, one after the other, in one folder and one virtual environment."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Iterator
from pathlib import Path

import example_server
from documentation import ROOT
from example_card import card_problems
from example_page import Block, ExampleError, Page

#: Seconds that one command may take, or one block of Python.
LIMIT = 120
_PROMPT = "$ "
_NUMBER = re.compile(r"[-+]?\d[\d_,.]*(?:[eE][-+]?\d+)?")
#: The scripts of the virtual environment, and where their function `main` is.
_SCRIPTS = {
    "mlgen": "from mlgen.cli import main",
    "pip": "from pip._internal.cli.main import main",
    "pytest": "from pytest import console_main as main",
}
#: What they end with: processes that are started from one must not run it again.
_MAIN = "if __name__ == '__main__':\n    sys.exit(main())\n"
#: Beginnings of variables that are not handed on.
_LEFT_OUT = ("MLGEN_", "PYTEST_", "COV_", "PIP_", "PYTHONPATH")
#: Runs blocks of Python that it is told of, one line of JSON each, in one namespace.
_PYTHON = """
import contextlib, io, json, os, sys, traceback
namespace = {"__name__": "__main__"}
answers = sys.stdout
for line in sys.stdin:
    task = json.loads(line)
    os.chdir(task["folder"])
    if task["folder"] not in sys.path:
        sys.path.insert(0, task["folder"])
    error, printed = "", io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            exec(compile("\\n" * (task["line"] - 1) + task["code"], task["name"], "exec"), namespace)
        except BaseException:
            error = traceback.format_exc()
    answers.write(json.dumps({"error": error, "printed": printed.getvalue()}) + "\\n")
    answers.flush()
"""


class Story:
    """One page that is run.

    Args:
        page: The page.
        folder: An empty folder; the examples see the folder ``story`` in it.
    """

    def __init__(self, page: Page, folder: Path) -> None:
        self._page, self._folder = page, folder
        self._start = folder / "story"
        self._directory, self._exported = folder / "directory", folder / "exported"
        self._environment: dict[str, str] = {}
        self._python: subprocess.Popen[str] | None = None

    def run(self) -> None:
        """Run everything, in order.

        Raises:
            ExampleError: Something does not do what the page says; with the line.
        """
        self._prepare()
        try:
            for block in self._page.blocks:
                with self._told(block.line):
                    self._block(block)
            for instruction in self._page.last:
                with self._told(instruction.line):
                    self._act(instruction.word, instruction.text, instruction.line)
        finally:
            if self._python is not None:
                _kill(self._python)

    @contextlib.contextmanager
    def _told(self, line: int) -> Iterator[None]:
        try:
            yield
        except ExampleError as error:
            raise ExampleError(f"{self._page.path}:{line}: {error}") from error

    def _prepare(self) -> None:
        self._start.mkdir()
        self._directory.write_text(str(self._start))
        self._environment = make_environment(self._folder)

    def _block(self, block: Block) -> None:
        if block.skipped:
            return
        for instruction in block.instructions:
            self._act(instruction.word, instruction.text, instruction.line)
        if block.file:
            path = self._now / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.replaced)
        elif block.said("commands"):
            commands = [(line, []) for line in block.replaced.replace("\\\n", " ").splitlines() if line.strip()]
            self._console(block, commands)
        elif block.language == "console":
            self._console(block, list(_commands(block.replaced)))
        elif block.language == "python" and block.said("part"):
            compile(block.replaced, str(self._page.path), "exec")
        elif block.language == "python":
            self._run_python(block.replaced, block.line)
        elif block.language == "toml":
            problems = card_problems(block.replaced, card=not block.said("not-a-card"))
            if problems:
                raise ExampleError("; ".join(problems))

    def _act(self, word: str, text: str, line: int) -> None:
        if word == "run":
            code, output = self._shell(text)
            if code != 0:
                raise ExampleError(f"the hidden command '{text}' ended with code {code}:\n{output}")
        elif word == "python":
            self._run_python(text, line)

    @property
    def _now(self) -> Path:
        """The directory that the last command left."""
        return Path(self._directory.read_text().strip())

    def _console(self, block: Block, commands: list[tuple[str, list[str]]]) -> None:
        if not commands:
            raise ExampleError("a console block has no line that begins with '$ '")
        last = int(next(iter(block.said("exit")), "0"))
        how = next(iter(block.said("output")), "numbers")
        for number, (command, shown) in enumerate(commands, start=1):
            expected = last if number == len(commands) else 0
            whole = " ".join([command, *block.said("append")])
            code, output = self._shell(whole)
            if code != expected:
                raise ExampleError(f"'{whole}' ended with code {code}, {expected} is expected:\n{output}")
            if how != "any" and (missing := first_missing(shown, output, exact=how == "exact")):
                raise ExampleError(f"'{whole}' does not say '{missing}', but:\n{output}")

    def _shell(self, command: str) -> tuple[int, str]:
        script = (
            f'[ -f "{self._exported}" ] && . "{self._exported}"\ncd "$(cat "{self._directory}")"\n'
            f'{command}\ncode=$?\npwd > "{self._directory}"; export -p > "{self._exported}"; exit $code'
        )
        process = subprocess.Popen(
            ["bash", "-c", script],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ExampleError(f"'{command}' took longer than {LIMIT} s") from None
        return process.returncode, output

    def _run_python(self, code: str, line: int) -> None:
        if self._python is None:
            self._python = subprocess.Popen(
                [str(self._folder / "environment/bin/python"), "-c", _PYTHON],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        process = self._python
        assert process.stdin is not None
        assert process.stdout is not None
        task = {"code": code, "line": line, "name": self._page.path.name, "folder": str(self._now)}
        timer = threading.Timer(LIMIT, _kill, [process])
        timer.start()
        try:
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            timer.cancel()
        if not answer:
            raise ExampleError(f"the Python block ended its process, or took longer than {LIMIT} s")
        result = json.loads(answer)
        if result["error"]:
            raise ExampleError(f"the Python block failed:\n{result['printed']}{result['error']}")


def make_environment(folder: Path) -> dict[str, str]:
    """Make a virtual environment that sees the packages of this one, and return the variables to use it with.

    What is installed into it changes nothing of this one. pip finds nothing but what is there: it needs no network.
    """
    place, home = folder / "environment", folder / "home"
    home.mkdir()
    venv.create(place, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    seen = sysconfig.get_path("purelib")
    (packages / "packages_of_the_repository.pth").write_text(f"import site; site.addsitedir({seen!r})\n")
    for name, code in _SCRIPTS.items():
        script = place / "bin" / name
        text = f"#!{place}/bin/python\nimport sys\n{code}\n{_MAIN}"
        if name == "mlgen" and example_server.available():
            client = {"python": place / "bin/python", "packages": str(packages), "address": example_server.address()}
            text = example_server.CLIENT.format(**client)
        script.write_text(text)
        script.chmod(0o755)
    ours = str(Path(sys.executable).parent)
    others = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry != ours]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    return kept | {
        "PATH": os.pathsep.join([str(place / "bin"), *others]),
        "VIRTUAL_ENV": str(place),
        "HOME": str(home),
        "MLGEN_CACHE": str(folder / "cache"),
        "REPOSITORY": str(ROOT),
        "COLUMNS": "120",
        "OMP_NUM_THREADS": "1",
        # The switch is called by what it switches off: building packages in an environment of their own.
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


def first_missing(shown: list[str], output: str, *, exact: bool) -> str:
    """Return the first line that a page shows and a command did not say, after those before it; empty if there is none.

    White space counts as one blank, ``...`` stands for any text, and, unless it has to be exact, any number for any
    other. Other lines may stand between those that are shown.
    """
    said = iter(" ".join(line.split()) for line in output.splitlines())
    for line in shown:
        wanted = " ".join(line.split())
        if wanted in ("", "..."):
            continue
        pattern = re.compile(".*".join(_literal(part.strip(), exact=exact) for part in wanted.split("...")))
        if not any(pattern.search(candidate) for candidate in said):
            return line.strip()
    return ""


def _literal(text: str, *, exact: bool) -> str:
    if exact:
        return re.escape(text)
    return _NUMBER.pattern.join(re.escape(part) for part in _NUMBER.split(text))


def _commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command with the lines of output that the page shows."""
    command, shown, goes_on = "", [], False
    for line in text.splitlines():
        if goes_on:
            command += "\n" + line
        elif line.startswith(_PROMPT):
            if command:
                yield command, shown
            command, shown = line.removeprefix(_PROMPT), []
        else:
            if not command and line.strip():
                raise ExampleError(f"'{line}' stands before the first command")
            shown.append(line)
        goes_on = command.endswith("\\") and not shown
    if command:
        yield command, shown


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
