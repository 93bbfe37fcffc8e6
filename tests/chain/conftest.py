"""A process whose cross section is known in closed form, to test what is done with processes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mlgen.card import Card
from mlgen.events import EventBatch
from mlgen.hard_process.hard_process import HardProcess
from mlgen.hard_process.integrand import HardPoints, PointCounts
from mlgen.hard_process.settings import ProcessSettings
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import Evaluated, Integrand

#: Cross section of `KnownProcess`, in pb, whole and by subprocess.
KNOWN = 10 * (3 / 4) * (7 / 8)
#: Where x_0 has to be.
CUT = 0.5


class KnownIntegrand(Integrand):
    """Two identical channels of f(x) = 10 pb * 2 x_0 * 3 x_1^2, with x_0 > 1/2 and x_1 > 1/2.

    Its integral is 10 pb * 3/4 * 7/8.

    Args:
        shares: Shares of the two subprocesses in it.
        broken: What is wrong with it.
    """

    dimensions, channels, groups, features = 2, ("first", "second"), (0, 1), 2

    def __init__(self, shares: tuple[float, float], broken: str) -> None:
        self.shares, self.broken = shares, broken
        self.counts = PointCounts()

    def __call__(self, x, channel):
        points = self.points(x, channel)
        return Evaluated(points.value, points.prior, points.features)

    def points(self, x, channel):
        inside = np.all(x > CUT, axis=1)
        if self.broken == "no phase space":
            inside[:] = False
        value = np.where(inside, 10 * 2 * x[:, 0] * 3 * x[:, 1] ** 2, 0.0)
        if self.broken == "not finite":
            wrong = inside & (x[:, 0] > 0.9)
            self.counts.not_finite += int(wrong.sum())
            value[wrong] = 0.0
        if self.broken == "never finite":
            self.counts.not_finite += int(inside.sum())
            value[:] = 0.0
        if self.broken == "negative":
            value[x[:, 0] > 0.9] *= -1
        n = len(x)
        self.counts.evaluated += n
        self.counts.outside_cuts += int((~inside).sum())
        self.counts.negative += int((value < 0).sum())
        energy = np.full(n, 5.0)
        # The point itself stands in the momenta, so that an event tells where it comes from.
        pt, pz = 3 * x[:, 0], 3 * x[:, 1]
        momentum = np.stack([pt, 0 * pt, pz, np.hypot(pt, pz)], axis=1)
        beam = np.stack([0 * pt, 0 * pt, energy, energy], axis=1)
        momenta = np.stack([beam, beam * [1, 1, -1, 1], momentum, momentum * [-1, -1, -1, 1]], axis=1)
        return HardPoints(
            momenta=momenta,
            value=value,
            prior=np.full((n, 2), 0.5),
            features=x,
            subprocess_values=value[:, None] * self.shares,
            factorisation_scale=energy,
            renormalisation_scale=energy,
            alpha_s=np.full(n, 0.118),
        )


class KnownProcess(HardProcess):
    """A process with `KnownIntegrand`: nothing of it is computed."""

    def __init__(self, settings: ProcessSettings, shares: tuple[float, float], broken: str) -> None:
        self.settings = settings
        self.subprocesses = (Subprocess((11, -11), (13, -13)), Subprocess((-11, 11), (13, -13)))
        self.integrand = KnownIntegrand(shares, broken)
        self.matrix_elements = []
        self.fingerprint = {"reaction": settings.reaction, "energy": settings.energy, "cuts": {"pt": [1, 2]}}
        self._pdf = None

    def with_matrix_elements(self, matrix_elements):
        return self

    def events(self, momenta, subprocess, weight, scale, alpha_s, rng):
        n = len(weight)
        flat = momenta.reshape(-1, 4)
        columns = {name: flat[:, i] for i, name in enumerate(("px", "py", "pz", "energy"))}
        columns["pdg_id"] = np.array([s.pdg_ids for s in self.subprocesses])[subprocess].ravel()
        columns["status"] = np.tile([-1, -1, 1, 1], n)
        return EventBatch.from_columns(np.full(n, 4), columns, weight=weight, process_id=1, scale=scale)


@dataclasses.dataclass
class Known:
    """What a test may choose of the process, and what it should give."""

    shares: tuple[float, float] = (1.5, -0.5)
    broken: str = ""
    cross_section: float = KNOWN

    @property
    def parts(self) -> tuple[float, float]:
        """Cross sections of the subprocesses in pb."""
        return self.shares[0] * KNOWN, self.shares[1] * KNOWN

    def process(self, card: Card) -> KnownProcess:
        """Stands in for `mlgen.chain.process_source.open_process`."""
        return KnownProcess(card.model.process, self.shares, self.broken)


@pytest.fixture(scope="module", autouse=True)
def plain_pictures():
    """Reports of trainings have their figures, each with an empty picture: matplotlib takes longer than the training.

    What is drawn is tested in `tests/amplitudes` and `tests/report`, reports with it in `tests/cli`.
    """
    picture = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlgen.amplitudes.figures._svg", lambda draw: picture)
        patch.setattr("mlgen.report.curves.curves_figure", lambda curves: picture)
        yield


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Known:
    """Every card with a [process] is one with the known process."""
    state = Known()
    for module in ("integration", "process_run", "process_source"):
        monkeypatch.setattr(f"mlgen.chain.{module}.open_process", state.process)
    return state
