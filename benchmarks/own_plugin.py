"""From `mlgen new-plugin` to a run with a model of one's own, for each stage: commands, edited lines, seconds.

    python benchmarks/own_plugin.py [--stages generator ...]

For each stage a package is made, installed, listed, checked and run as it stands; then its model is replaced by one
of `benchmarks/own_models` (VEGAS maps, an ensemble of torch networks, a median of blocks with a floor, a spline flow of
zuko, principal components of showers), and it is checked and run again. Lines are counted by difflib: those added or
changed, and those removed, without blank lines, comments and docstrings.

Packages are installed into a virtual environment of its own, which sees what is installed here.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tokenize
from pathlib import Path

import mlgen
from mlgen.stages import Stage

OWN = Path(__file__).parent / "own_models"
NAMES = {
    Stage.PHASE_SPACE: "own-vegas",
    Stage.AMPLITUDE: "own-five",
    Stage.UNWEIGHTING: "own-median",
    Stage.GENERATOR: "own-nsf",
    Stage.CALORIMETER: "own-pca",
}
#: What an author has to add to the dependencies of the package.
DEPENDENCIES = {Stage.PHASE_SPACE: "vegas", Stage.AMPLITUDE: "torch", Stage.GENERATOR: "zuko"}
#: Commands of the way: as a user types them.
FIRST = ("new-plugin", "cd", "pip install", "plugins", "check-plugin", "run")
SECOND = ("check-plugin", "run --retrain --force")


def code_lines(path: Path) -> list[str]:
    """The lines that are code."""
    text = path.read_text()
    left_out = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            left_out.add(token.start[0])
    lines = enumerate(text.splitlines(), start=1)
    return [line.rstrip() for number, line in lines if line.strip() and number not in left_out]


def edited(before: Path, after: Path) -> tuple[int, int]:
    """Lines added or changed, and lines removed."""
    changes = list(difflib.ndiff(code_lines(before), code_lines(after)))
    return sum(line.startswith("+ ") for line in changes), sum(line.startswith("- ") for line in changes)


def environment(folder: Path) -> Path:
    """A virtual environment that sees the packages of this one; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "running.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


def timed(*command: object, cwd: Path) -> float:
    begin = time.perf_counter()
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return time.perf_counter() - begin


def measure(stage: Stage, folder: Path, python: Path) -> None:
    name = NAMES[stage]
    program = (python, "-m", "mlgen")
    seconds = [timed(*program, "new-plugin", name, "--stage", stage.value, cwd=folder)]
    package = folder / name
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-build-isolation", "-q")
    seconds.append(timed(*install, "-e", ".", cwd=package))
    seconds.append(timed(*program, "plugins", cwd=package))
    seconds.append(timed(*program, "check-plugin", name, cwd=package))
    seconds.append(timed(*program, "run", "card.toml", cwd=package))
    source = package / "src" / name.replace("-", "_")
    added = removed = 0
    for file in ("model.py", "__init__.py"):
        more, less = edited(source / file, OWN / stage.value / file)
        added, removed = added + more, removed + less
        shutil.copy(OWN / stage.value / file, source / file)
    again = [timed(*program, "check-plugin", name, cwd=package)]
    again.append(timed(*program, "run", "card.toml", "--retrain", "--force", cwd=package))
    dependency = 1 if stage in DEPENDENCIES else 0
    print(
        f"| {stage.value} | {len(FIRST)}; {len(SECOND)} | {' '.join(f'{one:.1f}' for one in seconds)} | "
        f"{' '.join(f'{one:.1f}' for one in again)} | {added + dependency} | {removed} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", default=[stage.value for stage in NAMES])
    arguments = parser.parse_args()
    print(f"mlgen {mlgen.__version__}, Python {sys.version.split()[0]}")
    first = ", ".join(one for one in FIRST if one != "cd")
    print(f"seconds of {first}; with the own model: {', '.join(SECOND)}")
    print("| stage | commands: as it stands; own model | seconds, as it stands | own model | lines added | removed |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = environment(folder / "environment")
        for stage in arguments.stages:
            measure(Stage(stage), folder, python)


if __name__ == "__main__":
    main()
