"""Whatever a sampler learned, the differential cross section is the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from mlgen.card import card_from
from mlgen.chain import plan_integration
from mlgen.chain.process_source import open_process
from mlgen.chain.samplers import trained_sampler
from mlgen.stages import silent

SAMPLERS: Mapping[str, Mapping[str, Any]] = {
    "flat": {},
    "vegas": {"iterations": 4, "points": 4_000},
    "madnis": {"steps": 150, "vegas_points": 2_000, "held_out_points": 20_000},
}
POINTS = {"flat": 400_000, "vegas": 60_000, "madnis": 60_000}
EDGES = (50.0, 80.0, 110.0, 160.0, 7_000.0)


def spectrum(plugin: str) -> tuple[np.ndarray, np.ndarray]:
    """Cross section in bins of the largest transverse momentum, and its errors, in pb."""
    content = {
        "process": {
            "reaction": "g g > g g g",
            "energy": 13_000,
            "pdf": "NNPDF23_lo_as_0130_qed",
            "scale": 91.188,
            "cuts": {"pt": {"g": 50}, "eta": {"g": 3}, "delta_r": {"g g": 0.4}},
        },
        "phase_space": {"plugin": plugin, **SAMPLERS[plugin]},
    }
    plan = plan_integration(card_from(content, "test", "", Path.cwd()))
    process = open_process(plan.card)
    assert plan.sampler is not None
    sampler, _, _ = trained_sampler(plan, plan.sampler, process, silent)
    points = sampler.sample(POINTS[plugin], np.random.default_rng(7))
    found = process.integrand.points(points.x, points.channel)
    shares = sampler.channel_weights(found.features, found.prior)[np.arange(len(found)), points.channel]
    weight = shares * found.value / points.density
    leading = np.hypot(found.momenta[:, 2:, 0], found.momenta[:, 2:, 1]).max(axis=1)
    in_bins = weight[:, None] * ((leading[:, None] >= EDGES[:-1]) & (leading[:, None] < EDGES[1:]))
    return in_bins.mean(axis=0), in_bins.std(axis=0) / np.sqrt(len(weight))


@pytest.mark.physics
def test_flat_vegas_and_madnis_agree() -> None:
    """g g > g g g in four bins of the leading transverse momentum, at a significance of 1e-4 for each pair."""
    spectra = {plugin: spectrum(plugin) for plugin in SAMPLERS}
    for first, second in (("flat", "vegas"), ("flat", "madnis"), ("vegas", "madnis")):
        (a, error_a), (b, error_b) = spectra[first], spectra[second]
        assert np.all(error_a < 0.1 * a), "too few points to tell anything"
        assert np.all(error_b < 0.1 * b), "too few points to tell anything"
        squares = float(np.sum((a - b) ** 2 / (error_a**2 + error_b**2)))
        assert chi2.sf(squares, len(a)) > 1e-4, f"{first}: {a} +- {error_a}, {second}: {b} +- {error_b}"
    # The samplers have to be different ones for their agreement to say anything.
    relative = {plugin: float(np.hypot.reduce(error) / values.sum()) for plugin, (values, error) in spectra.items()}
    assert relative["madnis"] * np.sqrt(POINTS["madnis"]) < 0.5 * relative["flat"] * np.sqrt(POINTS["flat"])
