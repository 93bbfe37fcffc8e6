"""How many truth events a generator is worth that learned from few: lecture notes sec. 4.2.3, eq. 4.45 to 4.47."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from generators_output import Output
from generators_samples import count_events, generate, train, write_parts
from generators_tables import FloatArray, IntArray, Table, kinematics, read

#: Observables and quantiles of each, by dimension.
MEASURES: dict[str, tuple[tuple[str, ...], int]] = {
    "1 dimension": (("pT(Z)",), 20),
    "2 dimensions": (("pT(Z)", "y(Z)"), 10),
    "5 dimensions": (("pT(Z)", "y(Z)", "y(j1)", "cos theta (Collins-Soper)", "m(mu-, mu+)"), 3),
}
_SIZES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
#: Disjoint samples of one size that a mean is taken of, at most.
_MOST_SAMPLES = 100


@dataclass(frozen=True)
class Quantiles:
    """Cells of equal probability: quantiles of the first observable, in each those of the second, and so on.

    Args:
        names: Of the observables.
        edges: For each observable, inner edges in each of the cells so far, ``(cells, number - 1)``.
    """

    names: tuple[str, ...]
    edges: tuple[FloatArray, ...]

    @classmethod
    def of(cls, values: dict[str, FloatArray], names: tuple[str, ...], number: int) -> Quantiles:
        """Find the cells of the truth's values."""
        cell = np.zeros(len(values[names[0]]), np.int64)
        levels = np.arange(1, number) / number
        edges: list[FloatArray] = []
        for name in names:
            cells = int(cell.max()) + 1
            inner = np.stack([np.quantile(values[name][cell == k], levels) for k in range(cells)])
            edges.append(inner)
            cell = cell * number + (values[name][:, None] > inner[cell]).sum(axis=1)
        return cls(names, tuple(edges))

    @property
    def cells(self) -> int:
        """Number of cells, n_quant."""
        return int(self.edges[-1].shape[0]) * (int(self.edges[-1].shape[1]) + 1)

    def __call__(self, values: dict[str, FloatArray]) -> IntArray:
        """The cell of each event, ``(n,)``."""
        cell = np.zeros(len(values[self.names[0]]), np.int64)
        for name, inner in zip(self.names, self.edges, strict=True):
            cell = cell * (inner.shape[1] + 1) + (values[name][:, None] > inner[cell]).sum(axis=1)
        return cell


def quantile_error(cell: IntArray, weight: FloatArray, cells: int, size: int) -> tuple[float, float, int]:
    """Mean of MSE (eq. 4.45) over disjoint samples of `size` events, its error, and the number of samples."""
    number = min(len(cell) // size, _MOST_SAMPLES)
    if not number:
        return math.nan, math.nan, 0
    found = []
    for k in range(number):
        part = slice(k * size, (k + 1) * size)
        shares = np.bincount(cell[part], weight[part], cells) / weight[part].sum()
        found.append(float(np.mean((shares - 1 / cells) ** 2)))
    error = float(np.std(found, ddof=1)) / math.sqrt(number) if number > 1 else math.nan
    return float(np.mean(found)), error, number


def expected_error(cells: int, size: float) -> float:
    r"""MSE of a sample of the truth, :math:`(1/n - 1/n^2) / N` for n cells and N events."""
    return (1 / cells - 1 / cells**2) / size


def show_amplification(
    name: str, folder: Path, sizes: Sequence[int], truth_events: int, replicas: int, largest: float,
    pairs: Sequence[str], output: Output,
) -> None:  # fmt: skip
    """Train on few events, generate many, and print quantile errors beside those of the truth.

    Args:
        name: Of the generator.
        folder: Has `z1j.lhe.gz`; files and models go to `amplification`.
        sizes: Events of the trainings.
        truth_events: Events that define the quantiles: the first ones of the file. Trainings take the ones behind.
        replicas: Trainings of each size, on different events.
        largest: Generated events of a training, in its own events.
        pairs: Settings of the generator.
        output: Where it goes.
    """
    path = folder / "z1j.lhe.gz"
    total = count_events(path)
    truth = read(path)
    rest = truth[truth_events:]
    if truth_events + replicas * max(sizes) > total:
        raise SystemExit(f"{path} has {total:,} events; {truth_events + replicas * max(sizes):,} are needed")
    values = kinematics(truth[:truth_events])
    cells = {title: Quantiles.of(values, *what) for title, what in MEASURES.items()}
    del values
    rest_cells = _cells(cells, rest)
    for size in sizes:
        generated: list[Table] = []
        for replica in range(replicas):
            own = folder / "amplification" / f"{size}-{replica}"
            own.mkdir(parents=True, exist_ok=True)
            place = np.arange(total) - truth_events - replica * size
            if not (own / "train.lhe.gz").exists():
                write_parts(path, {own / "train.lhe.gz": (place >= 0) & (place < size)})
            train(name, own, pairs, 1 + replica, output)
            events = round(largest * size)
            if not (own / f"{name}.lhe.gz").exists() or count_events(own / f"{name}.lhe.gz") != events:
                generate(name, own, events, pairs, 1 + replica, output)
            generated.append(read(own / f"{name}.lhe.gz"))
        for title, measure in cells.items():
            _show(name, size, title, measure, generated, (rest_cells[title], rest.weight, truth_events), output)


def _cells(cells: dict[str, Quantiles], table: Table) -> dict[str, IntArray]:
    values = kinematics(table)
    return {title: measure(values) for title, measure in cells.items()}


def _show(
    name: str, size: int, title: str, measure: Quantiles, generated: list[Table],
    truth: tuple[IntArray, FloatArray, int], output: Output,
) -> None:  # fmt: skip
    cell, weight, truth_events = truth
    n = measure.cells
    output.title(f"{name}: {size:,} training events, {title} ({', '.join(measure.names)}), {n} quantiles")
    found = [(measure(kinematics(table)), table.weight) for table in generated]
    most = min(len(table) for table in generated)
    numbers = [number for factor in _SIZES if (number := round(factor * size)) <= most]
    edges = expected_error(n, truth_events)
    rows = []
    for number in numbers:
        own = [quantile_error(*one, n, number)[0] for one in found]
        true, true_error, samples = quantile_error(cell, weight, n, number)
        closed = expected_error(n, number) + edges
        rows.append([
            f"{number:,}", f"{np.mean(own):.3e} +- {_spread(own):.1e}", f"{true:.3e} +- {true_error:.1e} ({samples})",
            f"{closed:.3e}", f"{np.mean(own) / closed:.2f}",
        ])  # fmt: skip
        output.keep(
            name, "amplification", str(size), title, str(number), generated=own, truth=true, truth_error=true_error,
            closed_form=closed,
        )  # fmt: skip
    output.table(["N", "MSE generated", "MSE truth (samples)", "closed form", "generated / closed form"], rows)
    last = [quantile_error(*one, n, numbers[-1])[0] for one in found]
    # Without the fluctuations of the generated events and of the quantiles themselves.
    plateau = [mse - expected_error(n, numbers[-1]) - edges for mse in last]
    starts = range(0, len(found) * size, size)
    trained = [quantile_error(cell[k : k + size], weight[k : k + size], n, size)[0] for k in starts]
    factors, ideal, peers = (
        expected_error(n, 1) / np.mean(values) / size for values in (last, plateau, np.subtract(trained, edges))
    )
    output.say(
        f"MSE of the training events {np.mean(trained):.3e} +- {_spread(trained):.1e}, closed form "
        f"{expected_error(n, size):.3e}; plateau of the generator {np.mean(plateau):.3e} +- {_spread(plateau):.1e}",
        f"amplification A = N(truth of this MSE) / {size:,}: {factors:.2f} with the MSE of {numbers[-1]:,} events, "
        + (f"{ideal:.2f} with the plateau" if ideal > 0 else "not resolved with the plateau")
        + f"; the training events themselves {peers:.2f}",
    )
    output.keep(
        name, "amplification", str(size), title, "result", plateau=plateau, factor=factors, factor_of_plateau=ideal,
        training=trained, factor_of_training=peers,
    )  # fmt: skip


def _spread(values: Sequence[float]) -> float:
    """Standard error of the mean over the trainings; NaN for one."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
