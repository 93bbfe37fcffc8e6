"""Neural phase-space sampling beside VEGAS: the same channels, maps, cuts and matrix-element calls, in one run.

    python benchmarks/phase_space.py [PROCESS...] [--points N] [--peers PEER...] [--madnis KEY=NUMBER...]

PROCESS: `ttg`, `dy`, `zprime`, `dygg`, `ttgg`; the first three where none is given. For each, MadNIS is trained with
its default settings, or those given. VEGAS gets as many calls of the matrix element as that training took: with a map
for each channel, and the channels drawn as often as their weights ask for; the same with all channels drawn equally
often; and with one map for each group of mirror images. All are measured on N points (default 500,000) that nothing
learned from. Efficiency: <w> / w_max where the weights above w_max carry 0.1 % of the cross section in their excess,
and again with the largest weight of the sample as w_max. Milliseconds per unweighted event: sampling and evaluation
over the events that 0.1 % overweights leave, alone and with the training spread over 100,000 and 1,000,000 events.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

PDF = {"beams": ["p", "p"], "energy": 13_000, "pdf": "NNPDF23_lo_as_0130_qed", "alpha_s": 0.118}
DRELL_YAN = {**PDF, "reaction": "d d~ > mu- mu+", "scale": 91.188, "cuts": {"mass": {"mu- mu+": 50}}}
GLUONS = {"pt": {"g": 20}, "eta": {"g": 5}}
PROCESSES: dict[str, dict[str, Any]] = {
    "ttg": {
        "process": {**PDF, "reaction": "g g > t t~ g", "scale": 173.0, "cuts": GLUONS},
    },
    "dy": {"process": DRELL_YAN},
    "zprime": {
        "process": {**DRELL_YAN, "parameters": {"z_prime": {"mass": 400, "width": 0.5}}},
    },
    "dygg": {
        "process": {
            **PDF,
            "reaction": "d d~ > mu- mu+ g g",
            "scale": 91.188,
            "cuts": {**GLUONS, "delta_r": {"g g": 0.4}, "mass": {"mu- mu+": 50}},
        },
    },
    "ttgg": {
        "process": {**PDF, "reaction": "g g > t t~ g g", "scale": 173.0, "cuts": {**GLUONS, "delta_r": {"g g": 0.4}}},
    },
}
PEERS: dict[str, dict[str, Any]] = {
    "a map a channel": {"share_groups": False},
    "a map a channel, drawn equally": {"share_groups": False, "minimum_share": 1},
    "a map a group": {},
}
COLUMNS = (
    "sampler", "cross section [pb]", "rel. std", "eff. 0.1 %", "eff. at max.", "calls", "training [s]",
    "ms/event", "with training: 1e5", "1e6",
)  # fmt: skip


def measured(name: str, phase_space: dict[str, Any], points: int, seed: int = 1) -> Any:
    """Integrate one process with one sampler."""
    from mlgen.card import card_from
    from mlgen.chain import integrate, plan_integration

    content = {
        "run": {"seed": seed},
        "process": PROCESSES[name]["process"],
        "phase_space": phase_space,
        "integration": {"points": points, "batch_size": 50_000},
    }
    return integrate(plan_integration(card_from(content, name, "", Path.cwd())))


def row(label: str, result: Any) -> list[str]:
    spread = math.sqrt(result.points / result.effective_sample_size - 1)
    efficiency = result.efficiency.efficiency
    sampling = result.seconds["integration"] / (result.points * efficiency)
    training = result.seconds["training"]
    return [
        label,
        f"{result.cross_section:.6g} +- {result.error:.2g}",
        f"{spread:.3f}",
        f"{efficiency:.4f}",
        f"{result.efficiency_at_maximum.efficiency:.4f}",
        f"{result.training_calls:,}",
        f"{training:.0f}",
        f"{1e3 * sampling:.4f}",
        f"{1e3 * (sampling + training / 1e5):.3f}",
        f"{1e3 * (sampling + training / 1e6):.4f}",
    ]


def show(name: str, points: int, peers: list[str], settings: dict[str, Any]) -> None:
    reaction = PROCESSES[name]["process"]["reaction"]
    print(f"\n{name}: {reaction}, {points:,} points", flush=True)
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    neural = measured(name, {"plugin": "madnis", **settings}, points)
    print("| " + " | ".join(row("madnis", neural)) + " |", flush=True)
    for peer in peers:
        vegas = measured(name, {"plugin": "vegas", "budget": neural.training_calls, **PEERS[peer]}, points)
        print("| " + " | ".join(row(f"vegas, {peer}", vegas)) + " |", flush=True)
        pull = (neural.cross_section - vegas.cross_section) / math.hypot(neural.error, vegas.error)
        at_share = neural.efficiency.efficiency / vegas.efficiency.efficiency
        at_maximum = neural.efficiency_at_maximum.efficiency / vegas.efficiency_at_maximum.efficiency
        print(
            f"|  madnis over it | {pull:+.1f} sigma | | {at_share:.1f} | {at_maximum:.1f} | | | | | |",
            flush=True,
        )
    for remark in (*neural.remarks, *neural.stage.remarks):
        print(f"remark: {remark}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processes", nargs="*", choices=[*PROCESSES], default=["ttg", "dy", "zprime"])
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument(
        "--madnis", nargs="+", metavar="KEY=NUMBER", default=[], help="settings other than the defaults"
    )
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    arguments = parser.parse_args()
    settings = {
        key: float(value) if "." in value else int(value) for key, value in (s.split("=") for s in arguments.madnis)
    }
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "madnis", "madspace", "vegas", "pyamplicol"))
    print(f"{platform.machine()}, {os.cpu_count()} cores; {versions}")
    for name in arguments.processes:
        show(name, arguments.points, arguments.peers, settings)


if __name__ == "__main__":
    main()
