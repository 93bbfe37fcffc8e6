"""Calorimeter showers: how well `caloflow` imitates Geant4, how fast it is, and what it needs.

    python benchmarks/showers.py accuracy MODEL HELD_OUT... [--first N] [--seeds 3] [--smaller 2500=MODEL ...]
    python benchmarks/showers.py speed MODEL [--geant4]
    python benchmarks/showers.py memory MODEL
    python benchmarks/showers.py large BINNING.XML

MODEL is a folder that `mlgen train` made. HELD_OUT are showers that it did not learn from; `accuracy` prints the areas
under the curves of networks that see all voxels and the separation powers, each beside truth against truth; `speed`
the time of a shower beside Geant4's, measured in the same run; `large` trains and uses a model of a calorimeter with
many voxels, to see memory and time.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlgen.formats.shower_files import open_showers
from mlgen.plugins import plugin_manager
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import ShowerSurrogate, Stage
from mlgen.store import load_model

SAMPLERS = ("teacher", "student")
POSITRON = -11
REPETITIONS = 5


def model_of(folder: Path, sampler: str) -> Any:
    """A trained surrogate, as a card would use it."""
    registered = plugin_manager().find(Stage.CALORIMETER, "caloflow")
    settings = registered.offer.settings.model_validate({"sampler": sampler})
    return load_model(folder, registered, settings).implementation


def showers_of(specifications: list[str], first: int | None) -> ShowerBatch:
    """Showers of several files, of each all or ``FILE:START:STOP``."""
    parts = []
    for specification in specifications:
        path, _, limits = specification.partition(":")
        batches = list(open_showers(path))
        batch = joined(batches)
        if limits:
            start, _, stop = limits.partition(":")
            batch = batch[int(start or 0) : int(stop) if stop else None]
        parts.append(batch)
    everything = joined(parts)
    return everything if first is None else everything[:first]


def joined(batches: list[ShowerBatch]) -> ShowerBatch:
    """One batch."""
    names = ("incident_energy", "pdg_id", "direction", "voxels")
    arrays = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}
    return ShowerBatch(**arrays, geometry=batches[0].geometry)


def accuracy(arguments: argparse.Namespace) -> None:
    """AUC and separation powers of teacher and student, beside truth against truth."""
    from mlgen.validation.separation import separation_powers
    from mlgen.validation.settings import VoxelNetworkSettings
    from mlgen.validation.shower_classifiers import low_level_aucs
    from mlgen.validation.voxel_encoding import VoxelForm

    truth = showers_of(arguments.held_out, arguments.first)
    print(f"{len(truth):,} held-out showers, {arguments.seeds} seeds of each classifier")
    # Most train: what a classifier finds grows with the showers it learns from.
    network = VoxelNetworkSettings(training_share=arguments.share, validation_share=0.08)
    models = {f"{sampler}": (arguments.model, sampler) for sampler in arguments.samplers}
    for smaller in arguments.smaller:
        name, _, folder = smaller.partition("=")
        models |= {f"{sampler}, {name} training showers": (Path(folder), sampler) for sampler in arguments.samplers}
    for number, (name, (folder, sampler)) in enumerate(models.items()):
        surrogate = model_of(folder, sampler)
        begin = time.process_time()
        made = surrogate.generate(truth.pdg_id, truth.incident_energy, truth.direction, np.random.default_rng(77))
        print(f"\n{name}: {folder}, {1e3 * (time.process_time() - begin) / len(truth):.2f} ms of CPU a shower")
        excess = (made.voxels.sum(axis=1) - truth.incident_energy).max()
        print(f"  largest total deposit beyond the incident energy: {excess:.4f} MeV")
        for form in arguments.forms:
            # The floor is the same for all models.
            (found,) = low_level_aucs(
                truth,
                made,
                seeds=arguments.seeds,
                forms=[VoxelForm(form)],
                network=network,
                floor_seeds=arguments.seeds if number == 0 else 0,
            )
            measure = found.measure
            seeds = ", ".join(f"{value:.4f}" for value in found.seed_values)
            floor = f"   floor {measure.floor:.4f} +- {measure.floor_error:.4f}" if number == 0 else ""
            print(f"  AUC {form:20} {measure.value:.4f} +- {measure.error:.4f}{floor}   seeds {seeds}", flush=True)
            if number == 0:
                print("    " + measure.note)
        powers = separation_powers(truth, made)
        for feature, power in powers.items():
            if feature.startswith("E"):
                print(
                    f"  S^2 {feature:20} {power.value:.5f} +- {power.error:.5f}   floor {power.floor:.5f}, of equal "
                    f"distributions {power.expected:.5f} +- {power.spread:.5f}"
                )
        worst = max(powers.items(), key=lambda item: item[1].value - item[1].expected)
        print(f"  S^2 of {len(powers)} features, largest above chance: {worst[0]} {worst[1].value:.5f}", flush=True)


def speed(arguments: argparse.Namespace) -> None:
    """Time of a shower in batches of 100 on all cores, by energy; and Geant4's on one core."""
    import torch

    torch.set_num_threads(arguments.threads)
    times = {}
    for sampler in SAMPLERS:
        surrogate = model_of(arguments.model, sampler)
        for energy in (10.0, 100.0):
            for batch in (100, 1000) if sampler == "student" else (100,):
                times[sampler, energy, batch] = _time_of(surrogate, energy, batch)
                low, middle = times[sampler, energy, batch]
                print(
                    f"{sampler}, {energy:g} GeV, batches of {batch}: {low:.3f} ms a shower (median {middle:.3f}), "
                    f"{arguments.threads} threads",
                    flush=True,
                )
    if arguments.geant4:
        for energy in (10.0, 100.0):
            seconds = _geant4(energy, arguments.showers)
            ratios = ", ".join(
                f"{sampler} {1e3 * seconds / times[sampler, energy, 100][0]:,.0f}" for sampler in SAMPLERS
            )
            print(f"Geant4, {energy:g} GeV: {1e3 * seconds:.1f} ms a shower on one core; times as fast: {ratios}")


def _time_of(surrogate: ShowerSurrogate, energy: float, batch: int) -> tuple[float, float]:
    """Least and median of the time of a shower, ms."""
    pdg_id, energies = np.full(batch, POSITRON), np.full(batch, 1e3 * energy)
    direction = np.tile([0.0, 0.0, 1.0], (batch, 1))
    surrogate.generate(pdg_id, energies, direction, np.random.default_rng(0))
    found = []
    for repetition in range(REPETITIONS):
        begin = time.perf_counter()
        surrogate.generate(pdg_id, energies, direction, np.random.default_rng(repetition))
        found.append(1e3 * (time.perf_counter() - begin) / batch)
    return min(found), float(np.median(found))


def _geant4(energy: float, showers: int) -> float:
    """CPU seconds of a shower, without the start of the program: of two runs of different length."""
    spent = []
    for n in (showers, 2 * showers):
        command = ["simulate-showers", "-n", str(n), "--particle", "e+", "--energies", f"{energy:g}", "--jobs", "1"]
        begin = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "mlgen", *command, "-o", f"geant4_{os.getpid()}.h5", "--force"],
            check=True,
            capture_output=True,
        )
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime)
    Path(f"geant4_{os.getpid()}.h5").unlink()
    return (spent[1] - spent[0]) / showers


def memory(arguments: argparse.Namespace) -> None:
    """Largest memory of a process that makes n and 10 n showers, in batches as the chain has them."""
    for n in (2000, 20_000):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "import numpy as np, resource, showers\n"
            f"model = showers.model_of(showers.Path({str(arguments.model)!r}), 'student')\n"
            f"for k in range({n} // 500):\n"
            "    model.generate(np.full(500, -11), np.full(500, 5e4), np.tile([0., 0., 1.], (500, 1)), "
            "np.random.default_rng(k))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        print(f"{n:,} showers: {done.stdout.strip()} MiB")


def large(arguments: argparse.Namespace) -> None:
    """Train a small model of a calorimeter with many voxels, and make showers: time and memory."""
    from mlgen_caloflow.settings import CaloFlowSettings
    from mlgen_caloflow.surrogate import CaloFlow

    geometry = next(iter(Geometry.all_from_xml(arguments.binning).values()))
    settings = CaloFlowSettings(
        passes=arguments.passes, student_passes=arguments.passes, layer_passes=20, fewest_steps=10, batch_size=32
    )
    surrogate = CaloFlow(settings)
    begin = time.process_time()
    report = surrogate.train(list(_toy_showers(geometry, arguments.showers)), np.random.default_rng(1))
    seconds = time.process_time() - begin
    steps = {name: report.figures[f"{name}_steps"] for name in SAMPLERS}
    size = sum(array.nbytes for array in surrogate.state().values()) / 1e6
    print(
        f"{geometry.n_voxels:,} voxels, {arguments.showers:,} showers: trained {steps} steps in {seconds:.0f} s of CPU"
    )
    print(f"  {size:.0f} MB of parameters, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
    for sampler in SAMPLERS:
        loaded = CaloFlow.from_state(settings.model_copy(update={"sampler": sampler}), surrogate.state())
        low, _ = _time_of_photons(loaded)
        print(f"  {sampler}: {low:.1f} ms a shower in batches of 100")


def _time_of_photons(surrogate: ShowerSurrogate) -> tuple[float, float]:
    pdg_id, energies = np.full(100, 22), np.full(100, 5e4)
    direction = np.tile([0.0, 0.0, 1.0], (100, 1))
    begin = time.process_time()
    surrogate.generate(pdg_id, energies, direction, np.random.default_rng(0))
    passed = 10.0 * (time.process_time() - begin)
    return passed, passed


def _toy_showers(geometry: Geometry, n: int) -> Iterator[ShowerBatch]:
    """Showers that fall off with depth and radius, most voxels empty: for time and memory alone."""
    rng = np.random.default_rng(3)
    layer = np.repeat(np.arange(len(geometry.layers)), [part.n_voxels for part in geometry.layers])
    radius = np.concatenate([part.radii for part in geometry.layers])
    depth = layer / max(1, len(geometry.layers))
    shape = np.exp(-radius / 15.0) * (depth + 0.02) ** 2 * np.exp(-6 * depth)
    energy = np.exp(rng.uniform(np.log(1e3), np.log(1e6), n))
    voxels = shape * rng.exponential(size=(n, len(shape))) * (rng.random((n, len(shape))) < 0.2)
    voxels *= (0.9 * energy / voxels.sum(axis=1))[:, None]
    batch = ShowerBatch(energy, np.full(n, 22), np.tile([0.0, 0.0, 1.0], (n, 1)), voxels, geometry)
    yield batch


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("accuracy")
    one.add_argument("model", type=Path)
    one.add_argument("held_out", nargs="+")
    one.add_argument("--first", type=int)
    one.add_argument("--seeds", type=int, default=3)
    one.add_argument("--forms", nargs="+", default=["voxels", "normalised voxels", "logarithmic voxels"])
    one.add_argument("--share", type=float, default=0.76, help="of the held-out showers that train the classifier")
    one.add_argument("--samplers", nargs="+", default=list(SAMPLERS))
    one.add_argument("--smaller", nargs="*", default=[])
    one.set_defaults(run=accuracy)
    two = commands.add_parser("speed")
    two.add_argument("model", type=Path)
    two.add_argument("--threads", type=int, default=2)
    two.add_argument("--geant4", action="store_true")
    two.add_argument("--showers", type=int, default=10)
    two.set_defaults(run=speed)
    three = commands.add_parser("memory")
    three.add_argument("model", type=Path)
    three.set_defaults(run=memory)
    four = commands.add_parser("large")
    four.add_argument("binning", type=Path)
    four.add_argument("--showers", type=int, default=300)
    four.add_argument("--passes", type=float, default=1.0)
    four.set_defaults(run=large)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
