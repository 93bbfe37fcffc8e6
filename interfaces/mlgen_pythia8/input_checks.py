"""What is wrong with a hard event that Pythia refuses, in words that say more than Pythia's."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mlgen.events import EventBatch

#: Share of the energy that may be missing: files have some 8 digits, and Pythia mends what is less.
TOLERANCE = 1e-4
INCOMING, FINAL = -1, 1


def what_is_wrong(event: EventBatch) -> str:
    """Look at one hard event; returns an empty text when its colours and momenta are right."""
    columns = event.columns()
    incoming, final = columns["status"] == INCOMING, columns["status"] == FINAL
    sign = np.where(incoming, -1, np.where(final, 1, 0))
    if np.count_nonzero(incoming) == 2:
        momenta = event.momenta()
        missing = np.abs(sign @ momenta)
        energy = float(momenta[incoming, 3].sum())
        if missing.max() > TOLERANCE * energy:
            name = ("px", "py", "pz", "energy")[int(np.argmax(missing))]
            return f"its {name} is not conserved, by {missing.max():.4g} GeV"
    ends: Counter[int] = Counter()
    for one, two, end in zip(columns["color1"].tolist(), columns["color2"].tolist(), sign.tolist(), strict=True):
        ends[one] += end
        ends[two] -= end
    loose = sorted(tag for tag, balance in ends.items() if tag and balance)
    if loose:
        tags = ", ".join(map(str, loose[:4]))
        return f"its colour lines do not connect: tag {tags} has one end only"
    return ""
