"""The part of a validation's report that only showers have."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mlgen.report.page import (
    Cell,
    Column,
    Figure,
    FigureGrid,
    Item,
    Kind,
    Reference,
    Remarks,
    Section,
    Table,
    Text,
)
from mlgen.validation.figures import Figures
from mlgen.validation.record import Comparison

SHOWER_REFERENCES = (
    Reference("Krause et al., CaloChallenge 2022", "https://arxiv.org/abs/2410.21611"),
    Reference("Krause and Shih, CaloFlow", "https://arxiv.org/abs/2106.05285"),
    Reference("Diefenbacher et al., DCTRGAN (separation power)", "https://arxiv.org/abs/2009.03796"),
)

_HOW = (
    "The separation power S² = ½ Σ (p − q)²/(p + q) of two histograms is 0 if they are equal and 1 if they do not "
    "overlap. Finite samples of one distribution do not give 0 but the expected value, with its spread; two halves of "
    "the reference are fewer showers and so give more. Separation powers take no part in the verdict, which the tests "
    "of the observables and the classifiers make.",
    "A low-level classifier sees all voxels: as they are over the incident energy, with each layer normalised and the "
    "layers' energies given beside, and as logarithms. A high-level one sees the observables. AUC 0.5 is perfect.",
)


def shower_section(comparison: Comparison, figures: Figures, several: bool) -> Iterator[Section]:
    """Separation powers and average showers of one sample; nothing for events."""
    showers = comparison.showers
    if showers is None:
        return
    name = comparison.sample.name
    rows = [
        (
            power.name,
            Cell(power.value, power.error),
            Cell(power.expected, power.spread),
            Cell(power.floor, power.floor_error),
            (power.value - power.expected) / power.spread if power.spread > 0 else math.nan,
            Cell(power.p_value, text=f"{power.p_value:.2g}"),
            power.bins,
        )
        for power in sorted(showers.separations, key=lambda p: -p.value)
    ]
    columns = (
        Column("feature"),
        Column("S²", Kind.NUMBER, description="Separation power of sample and reference, with its statistical error."),
        Column("expected", Kind.NUMBER, description="Mean and spread for equal distributions and as many showers."),
        Column("floor", Kind.NUMBER, description="Half of the reference against the other half."),
        Column("excess", Kind.NUMBER, description="S² less the expected value, over the spread.", digits=2),
        Column("p", Kind.P_VALUE, description="Of a value at least as large for equal distributions; exchanges."),
        Column("bins", Kind.NUMBER, description="Bins in which there is anything."),
    )
    cut = f", voxels above {showers.threshold:g} MeV" if showers.threshold else ""
    counts = f"{showers.reference_showers:,} showers of the reference and {showers.sample_showers:,} of the sample{cut}"
    items: list[Item] = [Text(_HOW), Remarks(showers.remarks)]
    if name in figures.separations:
        alt = f"separation powers of {name} beside those of equal distributions"
        items.append(FigureGrid([Figure(figures.separations[name], "Separation powers", alt)]))
    items.append(Table(f"Separation powers of {name}", columns, rows, note=f"From {counts}."))
    drawn = [
        Figure(
            figures.averages[name, average.title],
            f"Average shower, {average.title}",
            f"mean energy of every voxel in the reference and in {name}, and their ratio, {average.title}",
        )
        for average in showers.averages
        if (name, average.title) in figures.averages
    ]
    if drawn:
        items.append(FigureGrid(drawn, title="Average showers"))
    yield Section(f"Showers of {name}" if several else "Showers", items)
