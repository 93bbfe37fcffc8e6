"""Peak memory of ``mlgen convert``, ``run`` and ``validate`` on 1,000,000 events beside 100,000.

    python benchmarks/memory.py [EVENTS.lhe.gz] [--only TEXT]

The events are those of the given file (``examples/zjet_weighted.lhe.gz``), repeated. Each command runs as a process of
its own; the peak is the operating system's (ru_maxrss). With ``--only``, the commands whose title has the text.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlgen.formats import create_events, open_events

SIZES = (100_000, 1_000_000)
EXAMPLES = Path(__file__).parent.parent / "examples"
EXAMPLE = EXAMPLES / "zjet_weighted.lhe.gz"
COMMANDS = {
    "convert to hepmc3": ["convert", "{input}", "{folder}/out.hepmc3"],
    "convert to root": ["convert", "{input}", "{folder}/out.root"],
    "convert to rntuple": ["convert", "{input}", "{folder}/out.rntuple.root"],
    "convert to lheh5": ["convert", "{input}", "{folder}/out.h5"],
    "info": ["info", "{input}"],
    "validate": ["validate", "{input}", "other={input}", "-o", "{folder}/report.html"],
    "run, hit-or-miss": ["run", "{input}", "--unweighting", "hit-or-miss", "-o", "{folder}/out.lhe"],
    # Unweighted Drell-Yan events of a process; the input has no part in it.
    "run, process": ["run", "{process}", "--model", "{folder}/model", "-n", "{events}", "-o", "{folder}/out.lhe"],
    # The same with a surrogate, which is trained first.
    "run, two-stage": ["run", "{two_stage}", "-d", "{folder}", "-n", "{events}", "-o", "{folder}/out.lhe"],
    # A short training: its memory depends on the events it keeps, not on the steps.
    "run, discflow": [
        *("run", "{input}", "--generator", "discflow", "--model", "{folder}/model", "-n", "{events}"),
        *("-o", "{folder}/out.lhe", "--set", "generator.steps=200", "--set", "generator.batch_size=256"),
        *("--set", "generator.label_steps=50", "--set", "generator.training_events=100000"),
    ],
}


def repeated(path: Path, target: Path, size: int) -> None:
    with open_events(path) as events:
        batches = list(events)
        with create_events(target, events.run_info) as output:
            while output.events < size:
                for batch in batches:
                    output.write(batch[: size - output.events])


def peak_memory(arguments: list[str]) -> tuple[float, float]:
    """Run mlgen; return its peak memory in MiB and its wall time in seconds."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "mlgen", *arguments], stdout=subprocess.DEVNULL, stderr=2)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"mlgen {' '.join(arguments)} failed")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--only", default="", metavar="TEXT")
    arguments = parser.parse_args()
    source: Path = arguments.source
    print(f"{source.name}, repeated; peak memory in MiB")
    print(f"{'':<22}" + "".join(f"{size:>12,}" for size in SIZES) + f"{'ratio':>8}{'seconds':>9}")
    with tempfile.TemporaryDirectory() as name:
        inputs = {size: Path(name) / f"{size}.lhe" for size in SIZES}
        for size, path in inputs.items():
            repeated(source, path, size)
        for title, command in COMMANDS.items():
            if arguments.only not in title:
                continue
            peaks = []
            for size, path in inputs.items():
                with tempfile.TemporaryDirectory(dir=name) as folder:
                    cards = {"process": EXAMPLES / "drell_yan.toml", "two_stage": EXAMPLES / "drell_yan_two_stage.toml"}
                    values = {"input": path, "folder": folder, "events": size, **cards}
                    peak, seconds = peak_memory([argument.format(**values) for argument in command])
                peaks.append(peak)
            row = "".join(f"{peak:>12.0f}" for peak in peaks)
            print(f"{title:<22}{row}{peaks[-1] / peaks[0]:>8.2f}{seconds:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
