"""`mlgen validate`: its reading speed beside `mlgen convert`, what it finds, and how often it is wrong.

    python benchmarks/validation.py speed | alarms | power | peers [SEEDS]

`speed`: events/s of one pass over an LHE file, in turn: read alone, `mlgen convert` to LHE and to ROOT, and the pass of
`mlgen validate` (read, observables, histograms, random subset).
`alarms`: how many of SEEDS (100) halvings of one sample are flagged by the whole comparison, classifiers included.
`power`: how many of SEEDS (20) samples of 100,000 events with a deliberate distortion in one observable are flagged,
and whether that observable alone is named.
`peers`: Wasserstein distance beside scipy's, FPD of known Gaussians beside the closed form.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import wasserstein_distance

from mlgen.chain.convert import convert
from mlgen.formats import create_events, open_events
from mlgen.testing.samples import drell_yan_events
from mlgen.validation.axes import Axis, choose_axis
from mlgen.validation.compare import compare
from mlgen.validation.distances import frechet_physics_distance
from mlgen.validation.event_observables import choose_observables
from mlgen.validation.filling import Filled, Filler
from mlgen.validation.observable import Features, Observable, Values
from mlgen.validation.record import Comparison, SampleRecord, Verdict
from mlgen.validation.settings import ClassifierSettings, ValidationSettings
from mlgen.validation.wasserstein import wasserstein

ROUNDS = 5
SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "lhe" / "madgraph-2.2.1-Z-mlm.lhe.gz"
EXAMPLE = Path(__file__).parent.parent / "examples" / "zjet.lhe.gz"
UNKNOWN = SampleRecord("sample", (), "lhe", 0, 0, 0.0, 0.0, math.nan, math.nan, "", "")
PLAIN = ValidationSettings(classifier=False)


class Observed:
    """Observables of Drell-Yan events, from which samples are cut."""

    def __init__(self, n: int, seed: int) -> None:
        batch, _ = drell_yan_events(n, np.random.default_rng(seed))
        self.observables = choose_observables([[batch[:20_000]]], PLAIN)
        self.values = self.observables(batch).values
        self.names = [observable.name for observable in self.observables.definitions]
        self.axes = [
            choose_axis(observable, [self.values[row, :20_000]], PLAIN.bins)
            for row, observable in enumerate(self.observables.definitions)
        ]

    def compared(
        self, reference: np.ndarray, sample: np.ndarray, seed: int, settings: ValidationSettings
    ) -> Comparison:
        """Compare two cuts of the values."""
        first = filled(self.axes, reference, seed, halves=True)
        second = filled(self.axes, sample, seed + 1)
        return compare(first, second, UNKNOWN, UNKNOWN, settings, seed=seed)


def filled(axes: list[Axis], values: np.ndarray, seed: int, *, halves: bool = False) -> Filled:
    n = values.shape[1]
    filler = Filler(axes, [], 20_000, halves)
    rng = np.random.default_rng(seed)
    filler.add(Values(values, np.arange(n)), np.ones(n), {}, rng)
    return filler.finished()


def speed() -> None:
    """Print events/s of each kind of pass."""
    source = SHARED if SHARED.exists() else EXAMPLE
    with tempfile.TemporaryDirectory() as name, open_events(source) as events:
        folder = Path(name)
        path = folder / "events.lhe"
        batches = list(events)
        with create_events(path, events.run_info) as output:
            for _ in range(10):
                for batch in batches:
                    output.write(batch)
        observables = choose_observables([batches], PLAIN)
        pilot = np.concatenate([observables(batch).values for batch in batches], axis=1)
        axes = [choose_axis(o, [pilot[row]], PLAIN.bins) for row, o in enumerate(observables.definitions)]

        def read() -> int:
            with open_events(path) as opened:
                return sum(len(batch) for batch in opened)

        def histograms() -> int:
            filler, rng = Filler(axes, [], 100_000, True), np.random.default_rng(1)
            with open_events(path) as opened:
                for batch in opened:
                    filler.add(observables(batch), batch.weight, {}, rng)
            return filler.finished().events

        passes: dict[str, Callable[[], int]] = {
            "read alone": read,
            "mlgen convert, LHE -> LHE": lambda: convert([path], folder / "c.lhe", force=True).events,
            "mlgen convert, LHE -> ROOT": lambda: convert([path], folder / "c.root", force=True).events,
            "mlgen validate, one pass": histograms,
        }
        rates: dict[str, list[float]] = {title: [] for title in passes}
        for _ in range(ROUNDS):
            for title, run in passes.items():
                start = time.perf_counter()
                rates[title].append(run() / (time.perf_counter() - start))
        own = rates["mlgen validate, one pass"]
        print(f"{source.name}, repeated, {len(observables.definitions)} observables; events/s, median of {ROUNDS}")
        for title, values in rates.items():
            ratios = [mine / other for mine, other in zip(own, values, strict=True)]
            print(f"{title:<28}{statistics.median(values):>10,.0f}   validate/this {statistics.median(ratios):.2f}")


def alarms(seeds: int) -> None:
    """Print how often two halves of one sample are flagged, and by what."""
    settings = ValidationSettings(classifier=ClassifierSettings(seeds=1, events=5_000))
    observed = Observed(20_000, 31)
    flagged, by_shape, smallest = 0, 0, []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(20_000)
        comparison = observed.compared(
            observed.values[:, order[:10_000]], observed.values[:, order[10_000:]], seed, settings
        )
        flagged += not comparison.agrees
        by_shape += any(r.verdict is Verdict.DIFFERS for r in comparison.observables)
        smallest.append(comparison.p_value)
    below = sum(p < 0.05 for p in smallest)
    print(f"{seeds} halvings of 20,000 events, {len(observed.names)} observables and 2 classifiers:")
    print(f"flagged {flagged}, of these by an observable {by_shape}; smallest p below 5 % in {below}")


def power(seeds: int) -> None:
    """Print how often a distortion of one observable in 100,000 events is found, and named alone."""

    def scaled(values: np.ndarray, rng: np.random.Generator, row: int, factor: float) -> None:
        values[row] *= factor

    def bump(values: np.ndarray, rng: np.random.Generator, row: int, share: float) -> None:
        n = values.shape[1]
        moved = rng.choice(n, int(share * n), replace=False)
        low, high = np.nanquantile(values[row], [0.6, 0.64])
        values[row, moved] = rng.uniform(low, high, len(moved))

    cases = [
        ("pT(mu-) x 1.02", "pT(mu-)", scaled, 1.02),
        ("pT(mu-) x 1.03", "pT(mu-)", scaled, 1.03),
        ("eta(mu-) x 1.02", "eta(mu-)", scaled, 1.02),
        ("m(mu-, mu+) x 1.02", "m(mu-, mu+)", scaled, 1.02),
        ("deltaR(mu-, mu+) x 1.02", "deltaR(mu-, mu+)", scaled, 1.02),
        ("2 % of events moved, pT(mu-)", "pT(mu-)", bump, 0.02),
        ("2 % of events moved, eta(mu-)", "eta(mu-)", bump, 0.02),
        ("1 % of events moved, eta(mu-)", "eta(mu-)", bump, 0.01),
    ]
    print(f"{'distortion of one observable':<34}{'found':>8}{'named alone':>13}   of {seeds} samples of 100,000 events")
    found = {title: [0, 0] for title, *_ in cases}
    for seed in range(seeds):
        observed = Observed(200_000, 100 + seed)
        for title, name, distort, size in cases:
            sample = observed.values[:, 100_000:].copy()
            distort(sample, np.random.default_rng(seed), observed.names.index(name), size)
            comparison = observed.compared(observed.values[:, :100_000], sample, seed, PLAIN)
            named = [r.observable.name for r in comparison.observables if r.verdict is Verdict.DIFFERS]
            found[title][0] += name in named
            found[title][1] += named == [name]
    for title, (times, alone) in found.items():
        print(f"{title:<34}{times:>8}{alone:>13}")


def peers() -> None:
    """Print our measures beside those of others."""
    rng = np.random.default_rng(7)
    x, y, ones = rng.normal(size=50_000), rng.normal(0.02, 1, 50_000), np.ones(50_000)
    for title, run in (
        ("mlgen", lambda: wasserstein(x, ones, y, ones)),
        ("scipy", lambda: wasserstein_distance(x, y, ones, ones)),
    ):
        start = time.perf_counter()
        values = [run() for _ in range(10)]
        print(f"Wasserstein distance, {title}: {values[0]:.8f}, {(time.perf_counter() - start) * 100:.1f} ms")
    columns = tuple(Observable(f"x{k}", f"x{k}") for k in range(5))
    reference = Features(rng.normal(size=(50_000, 5)), np.ones(50_000), columns)
    sample = Features(rng.normal(0.1, 1.0, size=(50_000, 5)), np.ones(50_000), columns)
    value, error = frechet_physics_distance(reference, sample, rng)
    print(f"FPD of Gaussians 0.1 apart in 5 dimensions: {value:.4f} +- {error:.4f}; closed form {5 * 0.1**2:.4f}")


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else "speed"
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    single = {"speed": speed, "peers": peers}
    if what in single:
        single[what]()
    elif what == "alarms":
        alarms(seeds or 100)
    elif what == "power":
        power(seeds or 20)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
