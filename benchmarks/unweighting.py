"""Time of an unweighted event: MadNIS with a surrogate and two stages, beside VEGAS and hit-or-miss, in one run.

    python benchmarks/unweighting.py [PROCESS...] [--events N] [--models DIR] [--chains NAME...] [--share S]

PROCESS: `ttgg`, `ttg`; both where none is given. Every chain is what `mlgen run` does with a card: it writes N
unweighted events (default 100,000) with at most the share S (0.001) of the cross section in overweights. `vegas` has
the same channels, maps, cuts and matrix element as `madnis`, and as many calls as its training took. Models are kept in
DIR (a temporary folder) with the time of their training; what is there is used again. Times are wall times, of an event
without its colour flow, writing and training; "with training" has the training spread over 1,000,000 events, and the
last columns have colour flows and writing, which are the same for all chains. An event counts as often as its weight
allows: milliseconds are those of an effective event, (sum w)^2 / sum w^2.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from phase_space import PROCESSES

#: Steps of the surrogate's training, and of that of a network of event weights.
STEPS = {"ttgg": 15_000, "ttg": 4_000}
EVENT_WEIGHT_STEPS = {"ttgg": 10_000, "ttg": 10_000}
STEPS_OF_A_RUN = (
    "sampling", "mapping and densities", "surrogate", "matrix element", "unweighting", "candidates", "measuring costs",
)  # fmt: skip
CHAINS: dict[str, dict[str, Any]] = {
    "vegas, hit-or-miss": {"sampler": "vegas", "unweighting": "hit-or-miss"},
    "madnis, hit-or-miss": {"sampler": "madnis", "unweighting": "hit-or-miss"},
    "vegas, bnn, two-stage": {"sampler": "vegas", "surrogate": "bnn", "unweighting": "two-stage"},
    "madnis, bnn, two-stage": {"sampler": "madnis", "surrogate": "bnn", "unweighting": "two-stage"},
    "madnis, bnn, two-stage, optimal share": {
        "sampler": "madnis",
        "surrogate": "bnn",
        "unweighting": "two-stage",
        "settings": {"evaluated_share": "optimal"},
    },
    "madnis, event-weight network, two-stage": {
        "sampler": "madnis",
        "surrogate": "event-weight",
        "unweighting": "two-stage",
    },
}
COLUMNS = (
    "chain", "candidates", "true weights", "accepted", "overweights", "n_eff / n", "sampling", "mapping, PDFs",
    "surrogate", "matrix element", "rest", "ms/event", "gain", "training [s]", "with training: 1e6", "gain",
    "colours, writing", "with it: ms/event", "gain",
)  # fmt: skip


def card_of(process: str, chain: dict[str, Any], events: int, models: Path, share: float, seed: int) -> Any:
    """The card of a chain; `mlgen run` would take the same."""
    from mlgen.card import card_from

    name = f"{process}_{chain['sampler']}"
    content: dict[str, Any] = {
        "run": {"seed": seed, "events": events},
        "process": PROCESSES[process]["process"],
        "phase_space": {"plugin": chain["sampler"], "model": str(models / name)},
        "output": {"files": [str(models / "events.lhe")]},
    }
    if chain["sampler"] == "vegas":
        content["phase_space"] |= {"share_groups": False, "budget": calls_of(models / f"{process}_madnis")}
    own: dict[str, Any] = {"plugin": chain["unweighting"], "overweight_share": share, **chain.get("settings", {})}
    if chain["unweighting"] == "hit-or-miss":
        own["maximum"] = "overweight-share"
    if chain.get("surrogate") == "bnn":
        # Trained on points of MadNIS, and used with either sampler.
        content["amplitude"] = {"plugin": "bnn", "model": str(models / f"{process}_bnn"), "steps": STEPS[process]}
    if chain.get("surrogate") == "event-weight":
        own |= {
            "surrogate": "event-weight",
            "model": str(models / f"{process}_event_weight"),
            "steps": EVENT_WEIGHT_STEPS[process],
        }
    return card_from(content | {"unweighting": own}, process, "", Path.cwd())


def calls_of(folder: Path) -> int:
    """Integrand calls of a sampler's training."""
    return int(json.loads((folder / "model.json").read_text())["trained_on"]["events"])


class Trainings:
    """Trains what is not there yet, and remembers how long that took."""

    def __init__(self, models: Path) -> None:
        self._file = models / "times.json"
        self.seconds: dict[str, float] = json.loads(self._file.read_text()) if self._file.is_file() else {}

    def of(self, process: str, chain: dict[str, Any], make: Any) -> float:
        """Seconds of all trainings of a chain."""
        parts = [chain["sampler"]]
        if surrogate := chain.get("surrogate"):
            parts.append(surrogate.replace("-", "_"))
        names = [f"{process}_{part}" for part in parts]
        for count in range(1, len(parts) + 1):
            self._train(names[count - 1], make(count))
        return sum(self.seconds[name] for name in names)

    def _train(self, name: str, card: Any) -> None:
        from mlgen.chain import plan_chain, train_chain

        if name in self.seconds:
            return
        start = time.perf_counter()
        train_chain(plan_chain(card, training_only=True))
        self.seconds[name] = time.perf_counter() - start
        self._file.write_text(json.dumps(self.seconds, indent=2))
        print(f"trained {name}: {self.seconds[name]:.0f} s", flush=True)


def show(process: str, arguments: argparse.Namespace, models: Path) -> None:
    from mlgen.chain import plan_chain, run_chain

    print(f"\n{process}: {PROCESSES[process]['process']['reaction']}, {arguments.events:,} events", flush=True)
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    trainings = Trainings(models)
    reference: tuple[float, float, float] | None = None
    said: list[str] = []
    # MadNIS first: VEGAS gets as many calls.
    trainings.of(process, CHAINS["madnis, hit-or-miss"], lambda _: training_card(process, "madnis", None, models))
    for name in arguments.chains:
        chain = CHAINS[name]
        training = trainings.of(
            process,
            chain,
            lambda count, chain=chain: training_card(
                process, chain["sampler"], chain.get("surrogate") if count == 2 else None, models
            ),
        )
        card = card_of(process, chain, arguments.events, models, arguments.share, 1)
        result = run_chain(plan_chain(card, force=True))
        figures = result.stages[-1].figures
        seconds = {step: result.seconds.get(step, 0.0) for step in STEPS_OF_A_RUN}
        effective = figures["effective_sample_size"]
        each = sum(seconds.values()) / effective
        both = each + training / 1e6
        whole = each + result.seconds["events"] / arguments.events
        reference = reference or (each, both, whole)
        true_weights = figures.get("true_evaluations", figures["candidates"])
        main = ("sampling", "mapping and densities", "surrogate", "matrix element")
        cells = [
            name,
            f"{figures['candidates']:,}",
            f"{true_weights:,}",
            f"{figures['accepted']:,}",
            f"{figures['overweight_share']:.2e}",
            f"{effective / figures['accepted']:.4f}",
            *(f"{seconds[step]:.1f}" for step in main),
            f"{sum(seconds.values()) - sum(seconds[step] for step in main):.1f}",
            f"{1e3 * each:.4f}",
            f"{reference[0] / each:.1f}",
            f"{training:.0f}",
            f"{1e3 * both:.3f}",
            f"{reference[1] / both:.1f}",
            f"{result.seconds['events']:.1f}",
            f"{1e3 * whole:.3f}",
            f"{reference[2] / whole:.1f}",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
        said.append(
            f"{name}: cross section {result.cross_section:.6g} +- {result.cross_section_error:.2g} pb; "
            + ", ".join(f"{key} {value:.4g}" for key, value in figures.items() if key.startswith(("gain", "pays")))
            + ", ".join(f"; {key} {figures[key]:.4g}" for key in figures if key.endswith("_us") and key[:4] != "pays")
        )
        said += [f"  remark: {remark}" for remark in result.stages[-1].remarks]
    print("\n".join(said), flush=True)


def training_card(process: str, sampler: str, surrogate: str | None, models: Path) -> Any:
    """The card that trains a sampler, or a surrogate on points of a sampler that is there."""
    chain = {"sampler": sampler, "unweighting": "hit-or-miss"}
    if surrogate == "bnn":
        chain = {"sampler": "madnis", "surrogate": "bnn", "unweighting": "hit-or-miss"}
    if surrogate == "event-weight":
        chain = {"sampler": sampler, "surrogate": "event-weight", "unweighting": "two-stage"}
    return card_of(process, chain, 1, models, 1e-3, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processes", nargs="*", choices=["ttgg", "ttg"], default=["ttgg", "ttg"])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--share", type=float, default=1e-3, help="share of the cross section in overweights")
    parser.add_argument("--models", type=Path, help="folder of the models")
    parser.add_argument("--chains", nargs="+", choices=list(CHAINS), default=list(CHAINS), metavar="NAME")
    arguments = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "madnis", "madspace", "vegas", "pyamplicol"))
    print(f"{platform.machine()}, {os.cpu_count()} cores; {versions}")
    with tempfile.TemporaryDirectory(prefix="mlgen-benchmark-") as name:
        models = arguments.models or Path(name)
        models.mkdir(parents=True, exist_ok=True)
        for process in arguments.processes:
            show(process, arguments, models.resolve())


if __name__ == "__main__":
    main()
