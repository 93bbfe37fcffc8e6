"""How long 50 installed plugin packages take, and packages that misbehave: whole processes, beside those of peers.

python benchmarks/plugin_listing.py

The packages are made here, ten for each stage, each with a module, an entry point and metadata as pip leaves them, and
lie in virtual environments of their own, which see what is installed where this runs.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from mlgen.stages import Stage

ROUNDS = 7
PACKAGES_PER_STAGE = 10
SLEEP = 5.0

MODULE = '''\
"""A generated plugin package."""

from pydantic import Field

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage


class MySettings(Settings):
    """What may stand in the card."""

    width: int = Field(64, ge=1, description="width of the hidden layers")
    depth: int = Field(3, ge=1, description="hidden layers")
    learning_rate: float = Field(1e-3, gt=0, description="largest learning rate")


def factory():
    """Import what is heavy."""
    from {module}_network import Network

    return Network


@hookimpl
def mlgen_{stage}():
    """Offer the plugin."""
    yield Plugin(
        "{name}",
        Stage.{member},
        factory,
        MySettings,
        Exactness.APPROXIMATE,
        "plugin {number} of {stage}",
        references=("arXiv:1234.56789",),
        contract_version=1,
    )
'''
MISBEHAVING = {
    "raises": "raise RuntimeError('broken at import')",
    "exits": "import sys\nsys.exit('no licence')",
    "prints": "print('*** welcome ***')",
    "sleeps": f"import time\ntime.sleep({SLEEP})",
}
#: What peers do with the same packages: Python alone, the entry points alone, pluggy with all modules loaded, pytest.
ENTRY_POINTS = "import importlib.metadata as m; print(len(m.entry_points(group='mlgen')))"
PLUGGY = (
    "import pluggy; from mlgen import hookspecs; manager = pluggy.PluginManager('mlgen'); "
    "manager.add_hookspecs(hookspecs); print(manager.load_setuptools_entrypoints('mlgen'))"
)
MANY = {
    "python -c pass": ["-c", "pass"],
    "python, entry points of the group only": ["-c", ENTRY_POINTS],
    "pluggy, all of them loaded": ["-c", PLUGGY],
    "pytest --version --version": ["-m", "pytest", "--version", "--version"],
    "mlgen --help": ["-m", "mlgen", "--help"],
    "mlgen plugins": ["-m", "mlgen", "plugins"],
    "mlgen plugins --json": ["-m", "mlgen", "plugins", "--json"],
    "mlgen --no-plugins plugins": ["-m", "mlgen", "--no-plugins", "plugins"],
}


def make_environment(folder: Path) -> tuple[Path, Path]:
    """Return the interpreter of a new environment, and where its packages go."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site_packages = next(folder.glob("lib/python*/site-packages"))
    running = sysconfig.get_path("purelib")
    (site_packages / "running_environment.pth").write_text(f"import site; site.addsitedir({running!r})\n")
    return folder / "bin" / "python", site_packages


def add_package(site_packages: Path, name: str, text: str, group: str = "mlgen") -> None:
    """Write a package as pip leaves it: a module, compiled, and its metadata."""
    module = name.replace("-", "_")
    (site_packages / f"{module}.py").write_text(text)
    metadata = site_packages / f"{module}-1.0.dist-info"
    metadata.mkdir()
    requirement = "Requires-Dist: mlgen-hep>=0.1\n"
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{requirement}")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{module} = {module}\n")
    (metadata / "INSTALLER").write_text("pip\n")
    (metadata / "RECORD").write_text(f"{module}.py,,\n")


def add_fifty(site_packages: Path) -> int:
    """Ten packages for each stage."""
    count = 0
    for stage in Stage:
        for number in range(PACKAGES_PER_STAGE):
            name = f"stranger-{stage.value.replace('_', '-')}-{number}"
            text = MODULE.format(
                module=name.replace("-", "_"), stage=stage.value, member=stage.name, name=name, number=number
            )
            add_package(site_packages, name, text)
            count += 1
    return count


def run(python: Path, arguments: list[str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Wall seconds and result of a process."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MLGEN_")}
    start = time.perf_counter()
    done = subprocess.run([str(python), *arguments], env=variables, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done


def measured(python: Path, arguments: list[str]) -> list[float]:
    """Wall seconds of some rounds, after one that fills the file cache and compiles."""
    run(python, arguments)
    return [run(python, arguments)[0] for _ in range(ROUNDS)]


def shown(times: list[float]) -> str:
    return f"{min(times):.3f} / {statistics.median(times):.3f}"


def main() -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    versions = ("mlgen-hep", "pluggy", "pydantic", "click", "numpy", "pytest")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in versions))
    with tempfile.TemporaryDirectory() as scratch:
        none, _ = make_environment(Path(scratch) / "none")
        many, site_packages = make_environment(Path(scratch) / "many")
        count = add_fifty(site_packages)
        print(f"\nwall seconds, best / median of {ROUNDS}; without further packages, and with {count} plugin packages")
        for title, arguments in MANY.items():
            # In turns, so that another program on the machine slows both down.
            run(none, arguments), run(many, arguments)
            pairs = [(run(none, arguments)[0], run(many, arguments)[0]) for _ in range(ROUNDS)]
            without, beside = ([pair[i] for pair in pairs] for i in (0, 1))
            print(f"  {title:<40} {shown(without)}   {shown(beside)}")
        listed = run(many, ["-m", "mlgen", "plugins"])[1].stdout
        found = sum(f"stranger-{stage.value.replace('_', '-')}-" in listed for stage in Stage)
        print(f"  {listed.count('mlgen-hep')} lines of built-ins, {found} of {len(Stage)} stages have new ones")

        plain = run(none, ["-m", "mlgen", "--help"])[1]
        print(f"\nmlgen --help, wall seconds, best / median of {ROUNDS}, with one package that misbehaves at import")
        print(f"  {'without it':<12} {shown(measured(none, ['-m', 'mlgen', '--help']))}")
        for title, text in MISBEHAVING.items():
            python, own = make_environment(Path(scratch) / title)
            add_package(own, f"package-that-{title}", text + "\n")
            times = measured(python, ["-m", "mlgen", "--help"])
            done = run(python, ["-m", "mlgen", "--help"])[1]
            same = done.stdout == plain.stdout and not done.stderr
            listing = run(python, ["-m", "mlgen", "plugins"])[0]
            words = "same output" if same else "OTHER OUTPUT"
            print(f"  {title:<12} {shown(times)}, {words}; mlgen plugins takes {listing:.1f}")


if __name__ == "__main__":
    main()
