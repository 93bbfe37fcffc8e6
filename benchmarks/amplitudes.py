"""Surrogates of |M|^2 beside the matrix element, and beside a plain network on the same points, in one run.

    python benchmarks/amplitudes.py [PROCESS...] [--points N] [--draw HOW] [--set KEY=VALUE...] [--no-peer]
    python benchmarks/amplitudes.py PROCESS --curve points|steps

PROCESS: `ttg`, `ttgg`, `dygg`; all where none is given. Points come from the process's VEGAS sampler as `mlgen train`
draws them (`[amplitude] draw`, default "mixture"); 100,000 are learned from, 100,000 others are tested. The surrogate
has its default settings, or those given, and runs on one core. The peer is a plain network of the same size on the
logarithms of the invariants s_ij, trained by Adam on the logarithm of |M|^2 for the same time. Delta is eq. (1.96), the
pull eq. (1.97) with the systematic error, of Plehn et al., arXiv:2211.01421. Speed: microseconds a point on one core in
batches of 10,000, median of rounds in turn; "20 networks" gives |M|^2 of 20 sampled networks for each point.
`--curve` shows accuracy against the number of training points, or against the number of steps and so the time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from phase_space import PROCESSES

BATCH = 10_000
ROUNDS = 7
TEST_POINTS = 100_000
#: Integrand points for the sampler that draws the points.
BUDGETS = {"ttg": 300_000, "dygg": 400_000, "ttgg": 600_000}
CURVES = {
    "points": [1_000, 3_000, 10_000, 30_000, 100_000, 300_000],
    "steps": [500, 1_500, 5_000, 15_000],
}
COLUMNS = (
    "network", "points", "steps", "training [s]", "median", "99 %", "largest 0.1 %: mean", "pull: mean", "width",
    "68 %", "95 %",
)  # fmt: skip


def drawn(name: str, number: int, draw: str) -> tuple[Any, Any, Any, Any]:
    """Points of a process, with its matrix element."""
    from mlgen.card import card_from
    from mlgen.chain import plan_integration
    from mlgen.chain.amplitude_points import draw_points
    from mlgen.chain.candidates import CandidateSource
    from mlgen.chain.process_source import open_process
    from mlgen.chain.samplers import trained_sampler
    from mlgen.stages import no_progress, silent

    content = {
        "run": {"seed": 1},
        "process": PROCESSES[name]["process"],
        "phase_space": {"plugin": "vegas", "budget": BUDGETS[name]},
    }
    plan = plan_integration(card_from(content, name, "", Path.cwd()))
    process = open_process(plan.card)
    sampler, _, _ = trained_sampler(plan, plan.sampler, process, silent)
    (points,) = draw_points(CandidateSource(process, plan.sampler, sampler), number, draw, 1, no_progress)
    return process.amplitude_process(0), process.matrix_elements[0], points.momenta, points.values


def row(
    label: str, points: int, steps: int, seconds: float, truth: Any, prediction: Any, uncertain: bool = True
) -> str:
    """One line of the table of accuracies."""
    from mlgen.amplitudes.accuracy import accuracy

    found = accuracy(truth, prediction)
    largest, pulls = found.largest_permille, found.systematic
    cells = [
        label,
        f"{points:,}",
        f"{steps:,}",
        f"{seconds:.0f}",
        f"{found.median_absolute_delta:.2e}",
        f"{found.absolute_delta_quantiles[0.99]:.2e}",
        f"{largest.mean_delta:+.1e} +- {largest.mean_delta_error:.0e}",
    ]
    if uncertain:
        cells += [f"{pulls.mean:+.3f}", f"{pulls.width:.3f}", f"{pulls.coverage_68:.3f}", f"{pulls.coverage_95:.3f}"]
    else:
        cells += [""] * 4
    return "| " + " | ".join(cells) + " |"


def plain_network(
    process: Any, momenta: Any, values: Any, seconds: float, units: int, layers: int
) -> tuple[Callable[..., Any], int]:
    """Train the peer for a time; returns its prediction and the steps that it took."""
    import torch

    from mlgen.stages import Amplitude

    pairs = list(itertools.combinations(range(momenta.shape[1]), 2))

    def inputs(points: Any) -> Any:
        metric = np.array([-1.0, -1.0, -1.0, 1.0])
        products = np.stack([2 * np.sum(points[:, i] * points[:, j] * metric, axis=1) for i, j in pairs], axis=1)
        return np.log(np.maximum(np.abs(products), 1e-12))

    torch.set_num_threads(1)
    torch.manual_seed(1)
    x, y = inputs(momenta), np.log(values)
    center, spread = x.mean(axis=0), x.std(axis=0)
    mean, width = y.mean(), y.std()
    points = torch.tensor((x - center) / spread, dtype=torch.float32)
    targets = torch.tensor((y - mean) / width, dtype=torch.float32)
    sizes = [len(pairs), *[units] * layers]
    hidden = [(torch.nn.Linear(a, b), torch.nn.SiLU()) for a, b in itertools.pairwise(sizes)]
    network = torch.nn.Sequential(*(layer for both in hidden for layer in both), torch.nn.Linear(units, 1))
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    start, steps = time.perf_counter(), 0
    while (share := (time.perf_counter() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * share))
        chosen = torch.randint(len(points), (1024,))
        loss = (network(points[chosen])[:, 0] - targets[chosen]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps += 1

    def predict(points: Any) -> Any:
        with torch.no_grad():
            out = network(torch.tensor((inputs(points) - center) / spread, dtype=torch.float32))[:, 0]
        predicted = np.exp(out.double().numpy() * width + mean)
        return Amplitude(predicted, np.zeros(len(points)), np.zeros(len(points)))

    return predict, steps


def speeds(element: Any, surrogate: Any, momenta: Any) -> dict[str, float]:
    """Microseconds a point on one core."""
    from mlgen.threads import one_thread

    batch, alpha_s = momenta[:BATCH], np.full(BATCH, 0.118)
    work = {
        "matrix element": lambda: element.evaluate(batch, alpha_s),
        "surrogate": lambda: surrogate.predict(batch),
        f"{surrogate.members} networks": lambda: surrogate.predict_members(batch),
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    with one_thread():
        for _ in range(ROUNDS):
            for name, call in work.items():
                start = time.perf_counter()
                call()
                times[name].append(1e6 * (time.perf_counter() - start) / BATCH)
    return {name: float(np.median(all_times)) for name, all_times in times.items()}


def trained(process: Any, momenta: Any, values: Any, settings: dict[str, Any]) -> tuple[Any, Any, float]:
    """Train a surrogate; returns it with its report and the seconds."""
    from mlgen_bnn.settings import BnnSettings
    from mlgen_bnn.surrogate import BnnSurrogate

    surrogate = BnnSurrogate(BnnSettings(**settings))
    start = time.perf_counter()
    report = surrogate.train(process, momenta, values, np.random.default_rng(1))
    return surrogate, report, time.perf_counter() - start


def show(name: str, arguments: argparse.Namespace, settings: dict[str, Any]) -> None:
    print(f"\n{name}: {PROCESSES[name]['process']['reaction']}, points drawn as '{arguments.draw}'", flush=True)
    numbers = CURVES["points"] if arguments.curve == "points" else [arguments.points]
    process, element, momenta, values = drawn(name, max(numbers) + TEST_POINTS, arguments.draw)
    test, truth = momenta[:TEST_POINTS], values[:TEST_POINTS]
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    surrogate: Any = None
    for number in numbers:
        part = slice(TEST_POINTS, TEST_POINTS + number)
        for steps in CURVES["steps"] if arguments.curve == "steps" else [settings.get("steps")]:
            own = settings | ({"steps": steps} if steps else {})
            surrogate, report, seconds = trained(process, momenta[part], values[part], own)
            print(row("bnn", number, report.figures["steps"], seconds, truth, surrogate.predict(test)), flush=True)
    if arguments.curve:
        return
    if arguments.peer:
        used = surrogate.settings
        peer, steps = plain_network(process, momenta[part], values[part], seconds, used.units, used.layers)
        print(row("plain network", number, steps, seconds, truth, peer(test), uncertain=False), flush=True)
    figures = {key: value for key, value in report.figures.items() if not key.endswith("points")}
    print(f"training: {json.dumps(figures)}", flush=True)
    found = speeds(element, surrogate, test)
    print("us a point: " + ", ".join(f"{what} {each:.2f}" for what, each in found.items()), flush=True)
    exact = found["matrix element"]
    print(
        "times the matrix element: " + ", ".join(f"{what} {exact / each:.1f}" for what, each in found.items()),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processes", nargs="*", choices=[*BUDGETS], default=[*BUDGETS])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--draw", default="mixture", choices=["matrix-element", "phase-space", "mixture"])
    parser.add_argument("--set", nargs="+", metavar="KEY=VALUE", default=[], help="settings other than the defaults")
    parser.add_argument("--curve", choices=list(CURVES))
    parser.add_argument("--no-peer", dest="peer", action="store_false")
    arguments = parser.parse_args()
    settings = {}
    for setting in arguments.set:
        key, _, value = setting.partition("=")
        settings[key] = float(value) if "." in value or "e-" in value else int(value) if value.isdigit() else value
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "pytorch-optimizer", "madspace", "pyamplicol"))
    print(f"{platform.machine()}, {os.cpu_count()} cores; {versions}; settings {settings}")
    for name in arguments.processes:
        show(name, arguments, settings)


if __name__ == "__main__":
    main()
