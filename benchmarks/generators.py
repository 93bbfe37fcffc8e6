"""End-to-end event generators: what they learn, beside truth that they did not see; every figure with its floor.

    python benchmarks/generators.py data FOLDER [--events N]        # makes z1j.lhe.gz and z2j.lhe.gz
    python benchmarks/generators.py split FILE FOLDER --train N [--seed S]
    python benchmarks/generators.py train NAME FOLDER [--set KEY=VALUE ...]
    python benchmarks/generators.py generate NAME FOLDER -n N
    python benchmarks/generators.py evaluate FOLDER [NAME ...] [--only auc shapes ...]
    python benchmarks/generators.py speed NAME FOLDER -n N
    python benchmarks/generators.py negative FOLDER [NAME ...]
    python benchmarks/generators.py amplification NAME FOLDER

`split` takes the first N events, or N at random with a seed. `train` and `generate` are `mlgen run` with FOLDER's
train.lhe.gz; models are in FOLDER/models/NAME, events in FOLDER/NAME.lhe.gz. `evaluate` compares those with FOLDER's
heldout.lhe.gz: classifiers (`auc`), distributions (`shapes`), class frequencies (`classes`), rules and a shower
(`validity`), scale and coupling (`scales`), nearest neighbours (`memory`); a NAME may also be a file. `negative` learns
from a sample with 20 % of negative weights, of which the signed truth is known. `amplification` is the quantile measure
of lecture notes sec. 4.2.3. `--json FILE` keeps all numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from generators_amplification import show_amplification
from generators_classes import show_classes
from generators_classifiers import COLUMNS, METHODS, Classifiers, Samples
from generators_memory import show_memory
from generators_negative import make_negative
from generators_output import Output
from generators_samples import generate, make_data, show_speed, split, train
from generators_shapes import show_scales, show_shapes
from generators_tables import Table, joined, read
from generators_validity import show_validity

PARTS = ("classes", "scales", "shapes", "memory", "validity", "auc")


def evaluate(arguments: argparse.Namespace, output: Output, parts: tuple[str, ...] = PARTS) -> None:
    """Compare the files of generators with the held-out events."""
    folder: Path = arguments.folder
    names = arguments.names or sorted(path.name for path in (folder / "models").iterdir() if path.is_dir())
    learned, heldout = read(folder / "train.lhe.gz"), read(folder / "heldout.lhe.gz", arguments.events)
    classifiers = Classifiers(
        arguments.classifier_events, arguments.seeds, tuple(arguments.methods), tuple(arguments.columns)
    )
    for name in names:
        path = Path(name) if Path(name).is_file() else folder / f"{name}.lhe.gz"
        samples = Samples(*_of_one_width(learned, heldout, read(path, arguments.events)))
        counts = [len(samples.train), len(samples.heldout), len(samples.generated)]
        output.say(f"\n# {name}: {counts[0]:,} training, {counts[1]:,} held-out, {counts[2]:,} generated events")
        output.keep(name, train=counts[0], heldout=counts[1], generated=counts[2])
        for part in parts:
            if part in arguments.only:
                _show(part, name, path, samples, classifiers, arguments, output)


def _show(
    part: str, name: str, path: Path, samples: Samples, classifiers: Classifiers, arguments: argparse.Namespace,
    output: Output,
) -> None:  # fmt: skip
    """Show one part of the comparison."""
    shown: dict[str, Callable[[], None]] = {
        "classes": lambda: show_classes(name, samples, output),
        "scales": lambda: show_scales(name, samples, output),
        "shapes": lambda: show_shapes(name, samples, output),
        "memory": lambda: show_memory(name, samples, arguments.memory_events, output),
        "validity": lambda: show_validity(name, path, arguments.folder / "heldout.lhe.gz", arguments.showered, output),
        "auc": lambda: classifiers.show(name, samples, output),
    }
    shown[part]()


def _of_one_width(*tables: Table) -> list[Table]:
    """The tables with as many places for particles as the widest has."""
    both = joined([tables[0], *(table[:0] for table in tables[1:])])
    # Each keeps its own named weights, which joining leaves out.
    widened = [both, *(joined([table, both[:0]]) for table in tables[1:])]
    return [replace(wide, variations=table.variations) for wide, table in zip(widened, tables, strict=True)]


def negative(arguments: argparse.Namespace, output: Output) -> None:
    """Make the sample with negative weights, train on it, and compare with the signed truth."""
    source, folder = arguments.folder / "z1j.lhe.gz", arguments.folder / "negative"
    if not (folder / "train.lhe.gz").exists():
        make_negative(source, folder, arguments.train_events, 1, output)
    arguments.folder = folder
    for name in arguments.names:
        train(name, folder, arguments.set, 1, output)
        if not (folder / f"{name}.lhe.gz").exists():
            generate(name, folder, arguments.generated, arguments.set, 1, output)
    evaluate(arguments, output, ("classes", "shapes", "auc"))


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = result.add_subparsers(dest="what", required=True)

    def command(name: str, *places: str) -> argparse.ArgumentParser:
        own = commands.add_parser(name)
        own.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
        for place in places:
            own.add_argument(place, type=str if place == "name" else Path)
        return own

    def settings(own: argparse.ArgumentParser) -> None:
        own.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the generator")
        own.add_argument("--seed", type=int, default=1)

    def comparison(own: argparse.ArgumentParser) -> None:
        own.add_argument("names", nargs="*", help="generators, or files; all with a model when left out")
        own.add_argument("--events", type=int, default=200_000, help="held-out and generated events, at most")
        own.add_argument("--classifier-events", type=int, default=100_000, help="of each sample, at most")
        own.add_argument("--seeds", type=int, default=3, help="trainings of each classifier")
        own.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
        own.add_argument("--columns", nargs="+", choices=COLUMNS, default=[COLUMNS[0], *COLUMNS[2:]])
        own.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
        own.add_argument("--memory-events", type=int, default=20_000)
        own.add_argument("--showered", type=int, default=20_000)

    own = command("data", "folder")
    own.add_argument("--events", type=int, default=800_000)
    own = command("split", "file", "folder")
    own.add_argument("--train", type=int, required=True)
    own.add_argument("--seed", type=int, help="of a choice at random; the first events when left out")
    settings(command("train", "name", "folder"))
    own = command("generate", "name", "folder")
    own.add_argument("-n", type=int, required=True)
    settings(own)
    comparison(command("evaluate", "folder"))
    own = command("speed", "name", "folder")
    own.add_argument("-n", type=int, default=100_000)
    own.add_argument("--rounds", type=int, default=3)
    settings(own)
    own = command("negative", "folder")
    own.add_argument("--train-events", type=int, help="of the training sample; as many as z1j.lhe.gz allows")
    own.add_argument("--generated", type=int, default=200_000)
    comparison(own)
    settings(own)
    own = command("amplification", "name", "folder")
    own.add_argument("--sizes", type=int, nargs="+", default=[2_000, 10_000], help="events of the trainings")
    own.add_argument("--truth", type=int, default=500_000, help="events that define the quantiles")
    own.add_argument("--replicas", type=int, default=3, help="trainings of each size, on different events")
    own.add_argument("--largest", type=float, default=100, help="generated events, in training events")
    settings(own)
    return result


def main() -> None:
    a = parser().parse_args()
    output = Output(a)
    run: dict[str, Callable[[], object]] = {
        "data": lambda: make_data(a.folder, a.events, output),
        "split": lambda: split(a.file, a.folder, a.train, a.seed, output),
        "train": lambda: train(a.name, a.folder, a.set, a.seed, output),
        "generate": lambda: generate(a.name, a.folder, a.n, a.set, a.seed, output),
        "evaluate": lambda: evaluate(a, output),
        "speed": lambda: show_speed(a.name, a.folder, a.n, a.set, a.rounds, output),
        "negative": lambda: negative(a, output),
        "amplification": lambda: show_amplification(
            a.name, a.folder, a.sizes, a.truth, a.replicas, a.largest, a.set, output
        ),
    }
    run[a.what]()


if __name__ == "__main__":
    main()
