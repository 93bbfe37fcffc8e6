"""Makes the files of the benchmark of the generators with mlgen's own commands: truth, parts of it, models, events."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
from generators_output import Output

from mlgen import create_events, open_events

BoolArray = npt.NDArray[np.bool_]

_CARD = """\
[run]
seed = {seed}
events = {events}
batch_size = 32_768

[process]
reaction = "{reaction}"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
matrix_element = "amplicol"

[process.cuts]
pt = {{ j = 20 }}
eta = {{ j = 5 }}
mass = {{ "mu+ mu-" = [60, 120] }}
{more}
[phase_space]
plugin = "vegas"
model = "models/{name}"

[unweighting]
plugin = "hit-or-miss"
maximum = "overweight-share"
overweight_share = 0.0001

[output]
files = ["{name}.lhe.gz"]
"""
_CARDS = {
    "z1j": {"seed": 711, "reaction": "p p > mu+ mu- j", "more": ""},
    "z2j": {"seed": 712, "reaction": "p p > mu+ mu- j j", "more": 'delta_r = { "j j" = 0.4 }\n'},
}


def mlgen(*arguments: str | Path, folder: Path | None = None) -> float:
    """Run a command of mlgen in a process of its own, and give its wall time in seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "mlgen", *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"mlgen {' '.join(map(str, arguments))}\n{done.stderr[-4000:]}")
    return time.perf_counter() - start


def make_data(folder: Path, events: int, output: Output) -> None:
    """Write the cards and make the events of each that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _CARDS.items():
        card, file = folder / f"{name}.toml", folder / f"{name}.lhe.gz"
        if file.exists():
            output.say(f"{file}: is there")
            continue
        if not card.exists():
            card.write_text(_CARD.format(name=name, events=events, **content))
        seconds = mlgen("run", card.name, "-n", str(events), folder=folder)
        output.say(f"{file}: {events:,} events in {seconds:.0f} s")
        output.keep("data", name, events=events, seconds=seconds)


def split(path: Path, folder: Path, train: int, seed: int | None, output: Output) -> None:
    """Split a file into training and held-out events.

    Args:
        path: The file.
        folder: Where `train.lhe.gz` and `heldout.lhe.gz` go.
        train: Events to train on.
        seed: Of a choice at random; None takes the first events, which is right where events do not depend on their
            place in the file.
        output: Where it is told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total = count_events(path)
    if train >= total:
        raise SystemExit(f"{path} has {total:,} events; fewer than that are expected for the training")
    chosen: BoolArray = np.arange(total) < train
    if seed is not None:
        chosen = np.random.default_rng(seed).permutation(chosen)
    write_parts(path, {folder / "train.lhe.gz": chosen, folder / "heldout.lhe.gz": ~chosen})
    output.say(f"{folder}: {train:,} events to train on, {total - train:,} held out, of {path.name}")
    output.keep("split", file=str(path), train=train, heldout=total - train, seed=seed)


def count_events(path: Path) -> int:
    """Events of a file."""
    with open_events(path) as source:
        return sum(len(batch) for batch in source)


def write_parts(path: Path, parts: dict[Path, BoolArray]) -> None:
    """Write the chosen events of a file into one file each."""
    with open_events(path) as source, ExitStack() as stack:
        outputs = {file: stack.enter_context(create_events(file, source.run_info, force=True)) for file in parts}
        start = 0
        for batch in source:
            stop = start + len(batch)
            for file, chosen in parts.items():
                if chosen[start:stop].any():
                    outputs[file].write(batch[np.flatnonzero(chosen[start:stop])])
            start = stop


def settings_of(model: Path, pairs: Sequence[str], *, training: bool = False) -> list[str]:
    """Options of mlgen that set keys of the generator: those of its training, and then those given.

    A key without a section is the generator's.
    """
    kept = model.with_suffix(".settings.json")
    if training:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(list(pairs)))
    known = json.loads(kept.read_text()) if kept.exists() and not training else []
    named = [pair if "." in pair.split("=")[0] else f"generator.{pair}" for pair in (*known, *pairs)]
    # The last one of each key.
    last = {pair.split("=")[0]: pair for pair in named}
    return [part for pair in last.values() for part in ("--set", pair)]


def train(name: str, folder: Path, pairs: Sequence[str], seed: int, output: Output) -> float:
    """Train a generator on the folder's training events, and give the wall time.

    `mlgen run` trains where there is no model; it is asked for one event. The time has its start-up and the reading.
    """
    model = folder / "models" / name
    if (model / "model.json").exists():
        output.say(f"{model}: is there")
        return 0.0
    scratch = folder / f"{name}.one.lhe"
    seconds = mlgen(
        "run", folder / "train.lhe.gz", "--generator", name, "--model", model, "-n", "1", "--seed", str(seed),
        "-o", scratch, "--force", *settings_of(model, pairs, training=True),
    )  # fmt: skip
    scratch.unlink()
    output.say(f"{name}: trained on {folder / 'train.lhe.gz'} in {seconds:.0f} s {' '.join(pairs)}")
    output.keep(name, "training", str(folder.name), seconds=seconds, settings=list(pairs))
    return seconds


def generate(
    name: str, folder: Path, events: int, pairs: Sequence[str], seed: int, output: Output, target: Path | None = None
) -> float:
    """Generate events with a trained model into FOLDER/NAME.lhe.gz, and give the wall time."""
    file = target or folder / f"{name}.lhe.gz"
    model = folder / "models" / name
    if not (model / "model.json").exists():
        raise SystemExit(f"{model} is no model; begin with: generators.py train {name} {folder}")
    seconds = mlgen(
        "run", folder / "train.lhe.gz", "--generator", name, "--model", model, "-n", str(events), "--seed", str(seed),
        "-o", file, "--force", *settings_of(model, pairs),
    )  # fmt: skip
    output.say(f"{file}: {events:,} events in {seconds:.1f} s, {events / seconds:,.0f} events/s with start-up")
    output.keep(name, "generation", str(folder.name), events=events, seconds=seconds)
    return seconds


def show_speed(name: str, folder: Path, events: int, pairs: Sequence[str], rounds: int, output: Output) -> None:
    """Print events/s of a trained generator beside those of copying the file that it made.

    Both write plain LHE. The start-up is the time for one event; commands alternate, and the fastest of each counts.
    """
    output.title(f"{name}: speed, {events:,} events, plain LHE, fastest of {rounds}")
    made, copied = folder / f"{name}.speed.lhe", folder / f"{name}.copy.lhe"
    common: list[str | Path] = [
        "run",
        folder / "train.lhe.gz",
        "--generator",
        name,
        "--model",
        folder / "models" / name,
    ]
    options = ["--force", *settings_of(folder / "models" / name, pairs)]
    commands = {
        "generate": lambda n: mlgen(*common, "-n", str(n), "-o", made, *options),
        "copy": lambda n: mlgen("convert", made, copied, "-n", str(n), "--force"),
    }
    times: dict[str, tuple[list[float], list[float]]] = {title: ([], []) for title in commands}
    for _ in range(rounds):
        times["generate"][0].append(commands["generate"](1))
        times["generate"][1].append(commands["generate"](events))
        times["copy"][0].append(commands["copy"](1))
        times["copy"][1].append(commands["copy"](events))
    rows, rates = [], {}
    for title, (starts, wholes) in times.items():
        start, whole = min(starts), min(wholes)
        rates[title] = events / whole, (events - 1) / max(whole - start, 1e-9)
        rows.append([title, f"{whole:.1f} s", f"{start:.1f} s", *(f"{rate:,.0f}" for rate in rates[title])])
        output.keep(
            name, "speed", title, events=events, seconds=whole, start_up=start, rate=rates[title][0],
            rate_without_start_up=rates[title][1],
        )  # fmt: skip
    output.table(["command", "whole", "start-up", "events/s", "events/s without start-up"], rows)
    whole, net = (rates["generate"][k] / rates["copy"][k] for k in range(2))
    output.say(f"generate / copy: {whole:.2f}, without start-up {net:.2f}")
    for file in (made, copied):
        file.unlink()
