"""Reading LHE into columns beside pylhe, and LHE -> HepMC3 beside a plain loop over particles.

    python benchmarks/formats.py [EVENTS.lhe.gz]

Both sides run in this process, in turn, `ROUNDS` times; the medians and their ratio are printed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyhepmc
import pylhe

from mlgen.chain.convert import convert
from mlgen.formats import open_events

ROUNDS = 5
SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "lhe" / "madgraph-2.2.1-Z-mlm.lhe.gz"
EXAMPLE = Path(__file__).parent.parent / "examples" / "zjet.lhe.gz"


def read_with_mlgen(path: Path, _: Path) -> int:
    with open_events(path) as events:
        return sum(len(batch) for batch in events)


def read_with_pylhe(path: Path, _: Path) -> int:
    return sum(1 for _ in pylhe.LHEFile.fromfile(str(path)).events)


def hepmc_with_mlgen(path: Path, folder: Path) -> int:
    return convert([path], folder / "mlgen.hepmc3", force=True).events


def hepmc_with_plain_loop(path: Path, folder: Path, *, whole: bool = True) -> int:
    """What people write: one GenEvent an event, particle by particle.

    With `whole` it keeps what mlgen keeps: beams, colour flow, scale, couplings, process, cross section; without, only
    momenta, the graph and the weights.
    """
    file = pylhe.LHEFile.fromfile(str(path))
    init = file.init.initInfo
    cross_section = sum(process.xSection for process in file.init.procInfo)
    error = sum(process.error**2 for process in file.init.procInfo) ** 0.5
    run = pyhepmc.GenRunInfo()
    count = 0
    with pyhepmc.open(str(folder / "plain.hepmc3"), "w") as output:
        for number, event in enumerate(file.events):
            run.weight_names = ["Default", *event.weights]
            out = pyhepmc.GenEvent(run, pyhepmc.Units.GEV, pyhepmc.Units.MM)
            out.event_number = number
            particles, vertices = [], {}
            for entry in event.particles:
                status = {-1: 3 if whole else 4, 1: 1, 2: 2, 3: 3}[int(entry.status)]
                particle = pyhepmc.GenParticle((entry.px, entry.py, entry.pz, entry.e), int(entry.id), status)
                particle.generated_mass = entry.m
                particles.append(particle)
                mothers = (int(entry.mother1), int(entry.mother2))
                if mothers[0] > 0:
                    if mothers not in vertices:
                        vertices[mothers] = pyhepmc.GenVertex()
                        for mother in sorted(set(mothers) - {0}):
                            vertices[mothers].add_particle_in(particles[mother - 1])
                    vertices[mothers].add_particle_out(particle)
            if whole:
                for parton, beam, energy, sign in (
                    (particles[0], init.beamA, init.energyA, 1),
                    (particles[1], init.beamB, init.energyB, -1),
                ):
                    vertex = pyhepmc.GenVertex()
                    vertex.add_particle_in(pyhepmc.GenParticle((0, 0, sign * energy, energy), int(beam), 4))
                    vertex.add_particle_out(parton)
                    out.add_vertex(vertex)
            for vertex in vertices.values():
                out.add_vertex(vertex)
            out.weights = [event.eventinfo.weight, *event.weights.values()]
            if whole:
                for entry, particle in zip(event.particles, particles, strict=True):
                    for name, color in (("flow1", entry.color1), ("flow2", entry.color2)):
                        if color:
                            particle.attributes[name] = int(color)
                    particle.attributes["spin"] = float(entry.spin)
                out.attributes["event_scale"] = event.eventinfo.scale
                out.attributes["alphaQCD"] = event.eventinfo.aqcd
                out.attributes["alphaQED"] = event.eventinfo.aqed
                out.attributes["signal_process_id"] = int(event.eventinfo.pid)
                out.cross_section = pyhepmc.GenCrossSection()
                out.cross_section.set_cross_section(cross_section, error)
            output.write(out)
            count += 1
    return count


def hepmc_with_small_loop(path: Path, folder: Path) -> int:
    return hepmc_with_plain_loop(path, folder, whole=False)


def rate(work: Callable[[Path, Path], int], path: Path, folder: Path) -> float:
    start = time.perf_counter()
    events = work(path, folder)
    return events / (time.perf_counter() - start)


Work = Callable[[Path, Path], int]


def compare(title: str, ours: Work, theirs: Work, path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours(path, folder)  # imports and caches
        pairs = [(rate(ours, path, folder), rate(theirs, path, folder)) for _ in range(ROUNDS)]
    mine, peer = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    spread = f"({ratios[0]:.2f} - {ratios[-1]:.2f})"
    print(f"{title:<34} {mine:>10,.0f} {peer:>10,.0f} {statistics.median(ratios):>8.2f} {spread}")


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED if SHARED.exists() else EXAMPLE
    print(f"{path.name}, events/s, median of {ROUNDS} rounds")
    print(f"{'':<34} {'mlgen':>10} {'peer':>10} {'ratio':>8}")
    compare("LHE -> columns (pylhe)", read_with_mlgen, read_with_pylhe, path)
    compare("LHE -> HepMC3 (loop, same content)", hepmc_with_mlgen, hepmc_with_plain_loop, path)
    compare("LHE -> HepMC3 (loop, graph only)", hepmc_with_mlgen, hepmc_with_small_loop, path)


if __name__ == "__main__":
    main()
