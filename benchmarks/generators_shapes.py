"""Distributions of generated events beside those of held-out ones: bins, bands, scale and coupling."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from generators_classifiers import Samples
from generators_output import Output
from generators_tables import FloatArray, Objects, Table, find_objects, kinematics, transverse_sum

_BINS = 50
#: Share of the truth's events from which a bin is judged.
_SMALLEST_SHARE = 0.01
_ALLOWED = 0.02
_ALLOWED_AT_PEAK = 0.01
#: Ends of the axes, as quantiles of the truth.
_LOWEST, _HIGHEST = 0.0005, 0.995
_PEAK = (86.0, 96.0)
_PEAK_BINS = 40
_OF_Z = ("m(mu-, mu+)", "pT(Z)", "pT(j1)", "pT(j2)", "delta R(j1, j2)", "HT")
_OF_TOPS = ("pT(t)", "m(t, t~)", "pT(tt)", "pT(j1)", "HT")
#: Points of the table of the coupling.
_COUPLING_POINTS = 2000


@dataclass(frozen=True)
class Axis:
    """An observable with its bins, and what is allowed of them.

    Args:
        title: What is printed.
        observable: Name in `kinematics`.
        edges: Of the bins.
        allowed: Deviation of the ratio from one.
    """

    title: str
    observable: str
    edges: FloatArray
    allowed: float = _ALLOWED


@dataclass(frozen=True)
class Ratio:
    """The ratio of two normalised histograms, in the bins that are judged.

    Args:
        deviation: Ratio minus one, ``(bins,)``.
        error: Statistical, of both samples.
        band: Standard deviation of the named weights' ratios; zeros where there are none.
    """

    deviation: FloatArray
    error: FloatArray
    band: FloatArray

    def beyond(self, allowed: float) -> int:
        """Bins that deviate by more than allowed and two standard errors."""
        return int(np.sum(np.abs(self.deviation) - 2 * self.error > allowed))

    @property
    def largest(self) -> str:
        """The largest deviation with its error."""
        if not len(self.deviation):
            return "-"
        place = int(np.argmax(np.abs(self.deviation)))
        return f"{100 * self.deviation[place]:+.1f} +- {100 * self.error[place]:.1f} %"

    @property
    def chi2(self) -> float:
        """Mean square of the pulls."""
        return float(np.mean((self.deviation / self.error) ** 2)) if len(self.error) else math.nan

    def coverage(self, *, band: bool) -> float:
        """Share of bins within two standard errors, with or without the band."""
        size = np.hypot(self.error, self.band) if band else self.error
        return float(np.mean(np.abs(self.deviation) < 2 * size)) if len(size) else math.nan


def choose_axes(truth: dict[str, FloatArray]) -> list[Axis]:
    """Axes of the observables that the events have: logarithmic for those in GeV, but for the mass of the muons."""
    axes = []
    for name in _OF_TOPS if "pT(t)" in truth else _OF_Z:
        values = truth.get(name, np.zeros(0))
        known = values[np.isfinite(values) & (values > 0)]
        if not len(known):
            continue
        low, high = np.quantile(known, [_LOWEST, _HIGHEST])
        logarithmic = name.startswith(("pT", "HT")) or name == "m(t, t~)"
        edges = np.geomspace(low, high, _BINS + 1) if logarithmic else np.linspace(low, high, _BINS + 1)
        axes.append(Axis(name, name, edges))
        if name == "m(mu-, mu+)":
            peak = np.linspace(*_PEAK, _PEAK_BINS + 1)
            axes.append(Axis(f"{name}, 86-96 GeV", name, peak, _ALLOWED_AT_PEAK))
    return axes


def ratio(axis: Axis, truth: FloatArray, truth_weight: FloatArray, values: FloatArray, table: Table) -> Ratio:
    """Compare the bins of one observable.

    Args:
        axis: Observable and bins.
        truth: Its values in the truth.
        truth_weight: Weights of the truth.
        values: Its values in the sample.
        table: The sample, with its weights.
    """
    expected, expected_error = _shares(axis, truth, truth_weight)
    found, found_error = _shares(axis, values, table.weight)
    chosen = expected >= _SMALLEST_SHARE
    quotient = found[chosen] / expected[chosen]
    relative = np.hypot(expected_error[chosen] / expected[chosen], found_error[chosen] / expected[chosen])
    variations = [weights for name, weights in table.variations.items() if _of_band(name)]
    band = np.zeros(int(chosen.sum()))
    if len(variations) > 1:
        contents = [_shares(axis, values, weights)[0][chosen] / expected[chosen] for weights in variations]
        band = np.std(contents, axis=0, ddof=1)
    return Ratio(quotient - 1, np.maximum(relative, 1e-12), band)


def _of_band(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "mlgen" and parts[2] == "stat"


def _shares(axis: Axis, values: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shares of all events in the bins, and their errors."""
    total = weight.sum()
    shares = np.histogram(values, axis.edges, weights=weight)[0] / total
    squares = np.histogram(values, axis.edges, weights=weight**2)[0] / total**2
    # Of all events, so a bin with a large share fluctuates less than sqrt(n).
    overall = float(np.sum(weight**2)) / total**2
    return shares, np.sqrt(np.maximum(squares - 2 * shares * squares + shares**2 * overall, 0.0))


def show_shapes(name: str, samples: Samples, output: Output) -> None:
    """Print mean, width and bin-wise ratios, beside those of the training events."""
    output.title(f"{name}: distributions beside the truth; the floor is the training file")
    tables = {"generated": samples.generated, "training": samples.train}
    if np.any(samples.train.weight < 0):
        numbers = samples.train.numbers.copy()
        numbers[:, 0] = np.abs(numbers[:, 0])
        tables["training, no signs"] = replace(samples.train, numbers=numbers)
    truth = kinematics(samples.heldout)
    values = {label: kinematics(table) for label, table in tables.items()}
    rows = []
    for axis in choose_axes(truth):
        expected, weight = truth[axis.observable], samples.heldout.weight
        mean, error, width = _moments(expected, weight)
        for label, table in tables.items():
            observed = values[label].get(axis.observable, np.full(len(table), np.nan))
            own_mean, own_error, own_width = _moments(observed, table.weight)
            found = ratio(axis, expected, weight, observed, table)
            outside = found.beyond(axis.allowed)
            banded = bool(np.any(found.band > 0))
            rows.append([
                axis.title if label == "generated" else "", label,
                f"{own_mean:.3f} +- {own_error:.3f} ({mean:.3f} +- {error:.3f})", f"{own_width:.3f} ({width:.3f})",
                str(len(found.error)), found.largest, f"{outside} beyond {100 * axis.allowed:.0f} %",
                f"{found.chi2:.2f}", f"{100 * found.coverage(band=False):.0f} %",
                f"{100 * found.coverage(band=True):.0f} %" if banded else "no band",
                f"{100 * np.median(found.band):.2f} %" if banded else "",
            ])  # fmt: skip
            output.keep(
                name, "shapes", axis.title, label, mean=own_mean, mean_error=own_error, width=own_width,
                truth_mean=mean, truth_mean_error=error, truth_width=width, bins=len(found.error), beyond=outside,
                largest=float(np.abs(found.deviation).max(initial=0.0)), chi2=found.chi2,
                covered=found.coverage(band=False), covered_with_band=found.coverage(band=True) if banded else None,
                deviation=found.deviation, error=found.error, band=found.band,
            )  # fmt: skip
    output.table(
        ["observable", "sample", "mean (truth)", "width (truth)", "bins", "largest deviation", "bins", "chi2/bin",
         "within 2 stat.", "with band", "band"],
        rows,
    )  # fmt: skip


def _moments(values: FloatArray, weight: FloatArray) -> tuple[float, float, float]:
    """Mean, its error and standard deviation of the values that are there."""
    known = np.isfinite(values)
    x, w = values[known], weight[known]
    if not len(x):
        return math.nan, math.nan, math.nan
    mean = float(np.average(x, weights=w))
    variance = float(np.average((x - mean) ** 2, weights=w))
    error = math.sqrt(float(np.sum((w * (x - mean)) ** 2))) / abs(float(w.sum()))
    return mean, error, math.sqrt(max(variance, 0.0))


def distance(x: FloatArray, u: FloatArray, y: FloatArray, v: FloatArray) -> float:
    """Kolmogorov's distance of two weighted samples."""
    points = np.unique(np.concatenate([x, y]))

    def cumulative(values: FloatArray, weight: FloatArray) -> FloatArray:
        return np.asarray(np.cumsum(np.bincount(np.searchsorted(points, values), weight, len(points))) / weight.sum())

    return float(np.max(np.abs(cumulative(x, u) - cumulative(y, v))))


def show_scales(name: str, samples: Samples, output: Output) -> None:
    """Print distances of scale and coupling, and whether the coupling is the training file's function of the scale."""
    output.title(f"{name}: scale and coupling")
    truth = samples.heldout
    known = _coupling(samples.train)
    rows = []
    for label, table in (("generated", samples.generated), ("training", samples.train), ("held out", truth)):
        # That of Kolmogorov at 95 %, of truth and truth.
        typical = 1.36 * math.sqrt(1 / len(table) + 1 / len(truth))
        relative = np.abs(np.interp(table.scale, *known) / table.alpha_s - 1)
        objects: Objects = find_objects(table)
        to_ht = 2 * table.scale / transverse_sum(objects)
        numbers = {
            "scale": distance(table.scale, table.weight, truth.scale, truth.weight),
            "alpha_s": distance(table.alpha_s, table.weight, truth.alpha_s, truth.weight),
            "coupling_median": float(np.median(relative)),
            "coupling_largest": float(np.quantile(relative, 0.999)),
            "scale_to_ht_mean": float(np.mean(to_ht)),
            "scale_to_ht_width": float(np.std(to_ht)),
            "scale_to_ht_most": float(np.mean(np.abs(to_ht - 1) < 1e-6)),
        }
        output.keep(name, "scales", label, typical_distance=typical, **numbers)
        rows.append([
            label, f"{numbers['scale']:.4f}", f"{numbers['alpha_s']:.4f}", f"{typical:.4f}",
            f"{numbers['coupling_median']:.1e}, {numbers['coupling_largest']:.1e}",
            f"{numbers['scale_to_ht_mean']:.4f}, {numbers['scale_to_ht_width']:.4f}",
            f"{100 * numbers['scale_to_ht_most']:.1f} %",
        ])  # fmt: skip
    output.table(
        ["sample", "KS of scale", "KS of alpha_s", "95 % of truth", "|alpha_s / training's - 1|: median, 99.9 %",
         "scale / (HT/2): mean, width", "equal to 1"],
        rows,
    )  # fmt: skip


def _coupling(table: Table) -> tuple[FloatArray, FloatArray]:
    """Points of the coupling as a function of the scale: medians of equally filled parts of the scale."""
    order = np.argsort(table.scale)
    parts = np.array_split(order, min(_COUPLING_POINTS, max(len(order) // 4, 2)))
    scale = np.array([table.scale[part].mean() for part in parts])
    coupling = np.array([table.alpha_s[part].mean() for part in parts])
    ends = [order[0]], [order[-1]]
    return (
        np.concatenate([table.scale[ends[0]], scale, table.scale[ends[1]]]),
        np.concatenate([table.alpha_s[ends[0]], coupling, table.alpha_s[ends[1]]]),
    )
