"""Events per second of the Pythia stage beside a plain Pythia loop over the same LHE file, and memory.

    python benchmarks/parton_shower.py [-n EVENTS] [EVENTS.lhe.gz ...]

Both sides read LHE and write HepMC3, in turn, in processes of their own. The plain loop is the fastest that was found
in Python: `nextBatch` of pythia8mc, whose arrays go into pyhepmc (`GenEvent.from_hepevt`) with Pythia's mothers, and
`pyhepmc.open` writes; places of vertices and colours are left out. The loop that most people write, particle by
particle, is shown beside it.

Wall times depend on what else runs; the processor time of all processes together does so less. Times are those of
the events alone: the difference of a long and a short run, so that start and initialisation of Pythia
(the same on both sides, once a process) drop out. Medians of rounds in which the sides take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "examples" / "zjet.lhe.gz", ROOT.parent / "shared" / "data" / "lhe" / "madgraph-3.7.1-gg_ttg.lhe.gz"]
#: Events of the short run.
FEW = 100

PLAIN = """
import sys, pythia8mc, pyhepmc, numpy as np, awkward as ak
source, target, count, how = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
pythia = pythia8mc.Pythia("", False)
lines = ("Print:quiet = on", "Beams:frameType = 4", f"Beams:LHEF = {source}", "Random:setSeed = on", "Random:seed = 1")
for line in lines:
    pythia.readString(line)
pythia.init()
run = pyhepmc.GenRunInfo()
run.weight_names = ["Default"]

def whole(prt, number):
    columns = {name: np.asarray(prt[name])[1:] for name in ("id", "status", "mother1", "mother2", "m")}
    p = prt.p
    px, py, pz, e = (np.asarray(p[name])[1:] for name in ("px", "py", "pz", "e"))
    last = np.maximum(columns["mother1"], columns["mother2"])
    mothers = np.stack([columns["mother1"], last], axis=1).astype(np.int32)
    mothers[:2] = 0
    status = np.where(columns["status"] > 0, 1, np.where(columns["status"] == -12, 4, 2)).astype(np.int32)
    event = pyhepmc.GenEvent(run)
    event.from_hepevt(number, px, py, pz, e, columns["m"], columns["id"], status, mothers)
    return event

def by_particle(record, number):
    event = pyhepmc.GenEvent(run)
    particles, ends = [], {}
    for i in range(1, record.size()):
        p = record[i]
        particle = pyhepmc.GenParticle((p.px(), p.py(), p.pz(), p.e()), p.id(), p.statusHepMC())
        particle.generated_mass = p.m()
        particles.append(particle)
    for i in range(1, record.size()):
        p = record[i]
        mothers = list(p.motherList())
        if mothers and mothers != [0]:
            vertex = ends.get(mothers[0])
            if vertex is None:
                vertex = pyhepmc.GenVertex((p.xProd(), p.yProd(), p.zProd(), p.tProd()))
                for mother in mothers:
                    ends[mother] = vertex
                    vertex.add_particle_in(particles[mother - 1])
                event.add_vertex(vertex)
            vertex.add_particle_out(particles[i - 1])
    event.event_number = number
    return event

written = 0
with pyhepmc.open(target, "w") as output:
    while written < count:
        if how == "batch":
            for event in pythia.nextBatch(min(100, count - written)):
                made = whole(event.prt, written)
                made.weights = [1.0]
                output.write(made)
                written += 1
        elif pythia.next():
            made = by_particle(pythia.event, written)
            made.weights = [1.0]
            output.write(made)
            written += 1
"""


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall time and processor time of a command and its children in s, and the largest memory of all of them in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        time.sleep(0.05)
    wall = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(process.stderr.read() if process.stderr else "failed")
    return wall, 0.0, peak


def _memory(pid: int) -> float:
    """Memory of a process and its children."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20 + sum(_memory(int(child)) for child in children)


def timed(command: list[str]) -> tuple[float, float, float]:
    """As `measured`, with the processor time of the children that have ended."""
    before = os.times()
    wall, _, peak = measured(command)
    after = os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system, peak


def ours(path: Path, target: Path, count: int, workers: int) -> list[str]:
    return [
        sys.executable, "-m", "mlgen", "run", str(path), "-n", str(count), "--shower", "pythia8",
        "--set", f"shower.workers={workers}", "-o", str(target), "--force",
    ]  # fmt: skip


def plain(path: Path, target: Path, count: int, how: str = "batch") -> list[str]:
    return [sys.executable, "-c", PLAIN, str(path), str(target), str(count), how]


def compare(path: Path, count: int, rounds: int, folder: Path) -> None:
    print(f"{path.name}, {count:,} events: events/s by the wall, and for each second of processor time")
    sides = {
        "plain loop, nextBatch and from_hepevt": lambda n: plain(path, folder / "plain.hepmc3", n),
        "plain loop, particle by particle": lambda n: plain(path, folder / "particles.hepmc3", n, "particles"),
        "mlgen, one worker": lambda n: ours(path, folder / "one.hepmc3", n, 1),
        "mlgen, two workers": lambda n: ours(path, folder / "two.hepmc3", n, 2),
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, command in sides.items():
            wall_few, cpu_few, _ = timed(command(FEW))
            wall, cpu, peak = timed(command(count))
            found[name].append(((count - FEW) / (wall - wall_few), (count - FEW) / (cpu - cpu_few), peak))
    reference: list[float] = []
    for name, runs in found.items():
        *rates, peak = (statistics.median(values) for values in zip(*runs, strict=True))
        reference = reference or rates
        shares = [f"{rate / known:.0%}" for rate, known in zip(rates, reference, strict=True)]
        print(f"  {name:40} {rates[0]:8.1f} ({shares[0]}) {rates[1]:8.1f} ({shares[1]})   {peak:6.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("-n", "--events", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="memory with N and 10 N events")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.files or FILES:
            if not path.exists():
                print(f"{path} is not there")
            elif arguments.memory:
                for count in (arguments.events, 10 * arguments.events):
                    _, _, peak = timed(ours(path, Path(folder) / "memory.hepmc3.zst", count, 1))
                    print(f"{path.name}, {count:,} events: {peak:.0f} MiB", flush=True)
            else:
                compare(path, arguments.events, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
