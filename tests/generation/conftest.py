"""Events of which everything is known, and a density that learns them in a second."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from mlgen.events import INTEGER_COLUMNS, EventBatch
from mlgen.generation import LearnedGenerator, LearnedGeneratorSettings, PointDensity
from mlgen.run_info import Beam, Process, RunInfo

BEAM_ENERGY, HIGGS_MASS, PT_MINIMUM, PT_SLOPE = 6500.0, 125.0, 20.0, 30.0
#: Colours of both incoming gluons, the Higgs boson and two jets: two flows for one and for two jets.
_FLOWS = {
    0: [[(1, 2), (2, 1), (0, 0)]] * 2,
    1: [[(1, 2), (2, 3), (0, 0), (1, 3)], [(1, 2), (3, 1), (0, 0), (3, 2)]],
    2: [[(1, 2), (2, 3), (0, 0), (1, 4), (4, 3)], [(1, 2), (3, 1), (0, 0), (3, 4), (4, 2)]],
}


class Higgs:
    """g g > H with 0, 1 or 2 gluons: rapidities are normal, transverse momenta of jets exponential above 20 GeV.

    The rapidity of H has a standard deviation of 0.7 without jets and 1 with them; the first jet's is half of H's and
    0.8 times a standard normal number, the second's a standard normal number. With jets, the colour flow is the second
    one with probability sigmoid(2 (y_jet - y_H)), and the helicity of the first jet positive with
    sigmoid((pT - 45) / 10).
    Both are as they have to be for equal beams: an exchange of the gluons exchanges the flows and keeps the helicity.
    """

    def __init__(self, beam_energy: float = BEAM_ENERGY) -> None:
        self.beam_energy = beam_energy
        self.info = RunInfo(
            beams=(Beam(2212, beam_energy), Beam(2212, beam_energy)),
            weight_strategy=3,
            processes=tuple(Process(k + 1, sigma, 1.0, 1.0) for k, sigma in enumerate((50.0, 30.0, 20.0))),
        )

    def events(self, n: int, seed: int, shares=(0.5, 0.3, 0.2), weight=1.0) -> EventBatch:
        """Make events; process 1, 2 and 3 for 0, 1 and 2 jets."""
        rng = np.random.default_rng(seed)
        jets = rng.choice(3, n, p=shares)
        y_higgs = rng.standard_normal(n) * np.where(jets == 0, 0.7, 1.0)
        y = np.stack([0.5 * y_higgs + 0.8 * rng.standard_normal(n), rng.standard_normal(n)], axis=1)
        pt = PT_MINIMUM + rng.exponential(PT_SLOPE, (n, 2))
        pt = np.where((jets == 2)[:, None], -np.sort(-pt, axis=1), pt)
        exists = np.arange(2) < jets[:, None]
        return self.build(y_higgs, y, np.where(exists, pt, 0.0), rng.uniform(-np.pi, np.pi, (n, 2)), jets, rng, weight)

    def build(self, y_higgs, y, pt, phi, jets, rng, weight=1.0) -> EventBatch:
        """Put events together."""
        n = len(jets)
        jet = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(y), pt * np.cosh(y)], axis=2)
        sideways = -jet[:, :, :2].sum(axis=1)
        mt = np.hypot(HIGGS_MASS, np.hypot(*sideways.T))
        higgs = np.column_stack([sideways, mt * np.sinh(y_higgs), mt * np.cosh(y_higgs)])
        total = higgs + jet.sum(axis=1)
        forward, backward = (total[:, 3] + total[:, 2]) / 2, (total[:, 3] - total[:, 2]) / 2
        zero = np.zeros(n)
        incoming = [np.stack([zero, zero, s * e, e], axis=1) for s, e in ((1, forward), (-1, backward))]
        momenta = np.concatenate([np.stack([*incoming, higgs], axis=1), jet], axis=1)
        rows = np.zeros((n, 5, 6), np.int64)
        rows[:, :, 0] = [21, 21, 25, 21, 21]
        rows[:, :, 1] = [-1, -1, 1, 1, 1]
        rows[:, 2:, 2:4] = [1, 2]
        flow = (rng.random(n) < sigmoid(2 * (y[:, 0] - y_higgs))).astype(np.int64)
        spin = np.full((n, 5), 9.0)
        spin[:, 3] = np.where(rng.random(n) < sigmoid((pt[:, 0] - 45) / 10), 1.0, -1.0)
        for number, flows in _FLOWS.items():
            for k in (0, 1):
                here = (jets == number) & (flow == k)
                table = np.array(flows[k])
                rows[here, : 3 + number, 4:6] = np.where(table > 0, 500 + table, 0)
        exists = np.arange(5) < 3 + jets[:, None]
        masses = np.zeros((n, 5))
        masses[:, 2] = HIGGS_MASS
        columns = dict(zip(INTEGER_COLUMNS, rows[exists].T, strict=True))
        columns |= dict(zip(("px", "py", "pz", "energy"), momenta[exists].T, strict=True))
        columns |= {"generated_mass": masses[exists], "spin": spin[exists]}
        batch = EventBatch.from_columns(
            3 + jets,
            columns,
            weight=np.broadcast_to(weight, n).astype(float),
            process_id=jets + 1,
            scale=HIGGS_MASS,
            alpha_qed=0.0078,
            alpha_qcd=0.118,
        )
        return batch[(forward < self.beam_energy) & (backward < self.beam_energy)]

    def numbers(self, batch: EventBatch, jets: int) -> dict[str, np.ndarray]:
        """Rapidities, transverse momenta, colour flow and helicity of the events with so many jets."""
        chosen = batch[np.flatnonzero(batch.counts == 3 + jets)]
        rows = {name: chosen.column(name).reshape(-1, 3 + jets) for name in ("pz", "energy", "px", "py", "spin")}
        rapidity = np.arctanh(rows["pz"][:, 2:] / rows["energy"][:, 2:])
        numbers = {"y_higgs": rapidity[:, 0], "weight": chosen.weight}
        if jets:
            color1, color2 = (chosen.column(name).reshape(-1, 3 + jets) for name in ("color1", "color2"))
            numbers |= {
                "y_jet": rapidity[:, 1],
                "pt": np.hypot(rows["px"], rows["py"])[:, 3],
                "flow": (color2[:, 0] != color1[:, 1]).astype(int),
                "spin": rows["spin"][:, 3],
            }
        return numbers


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class LinearNormal(PointDensity):
    """A normal density with a mean that is linear in what is given, learned in no time."""

    def __init__(self, dimension: int, context: int, frozen: bool = False) -> None:
        super().__init__()
        self.dimension, self.frozen = dimension, frozen
        self.layer = nn.utils.skip_init(nn.Linear, context + 1, 2 * dimension)
        self.root = nn.Parameter(torch.eye(dimension))
        self.requires_grad_(not frozen)

    def initialise(self, rng):
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.zero_()

    def last_layers(self):
        return [self.layer]

    def _parts(self, context):
        out = self.layer(torch.cat([context.new_ones(len(context), 1), context], dim=1))
        mean, log_width = out.chunk(2, dim=1)
        return mean, torch.tril(self.root, -1), torch.exp(log_width)

    def loss(self, points, context, noise):
        return -self.log_density(points, context)

    def sample(self, normal, context):
        mean, root, width = self._parts(context)
        return mean + (normal + normal @ root.T) * width

    def log_density(self, points, context):
        mean, root, width = self._parts(context)
        scaled = (points - mean) / width
        latent = torch.linalg.solve_triangular(
            root + torch.eye(self.dimension), scaled.T, upper=False, unitriangular=True
        ).T
        return -0.5 * latent.square().sum(1) - 0.5 * self.dimension * math.log(2 * math.pi) - width.log().sum(1)


class LinearGenerator(LearnedGenerator):
    name = "linear"
    summary = "a linear normal density"
    frozen = False

    def make_density(self, dimension, context):
        return LinearNormal(dimension, context, self.frozen)


class FrozenGenerator(LinearGenerator):
    """Learns nothing of what correlates coordinates: deliberately bad."""

    frozen = True


@pytest.fixture(scope="session")
def higgs() -> Higgs:
    return Higgs()


@pytest.fixture(scope="session")
def linear():
    """Makes generators of a linear density with small settings, and trains them on events if there are any."""

    def make(events=None, *, info=None, seed=1, generator=LinearGenerator, **settings):
        quick = {"steps": 300, "batch_size": 256, "label_steps": 150, "learning_rate": 1e-2, "minimum_events": 50}
        made = generator(LearnedGeneratorSettings(**{**quick, **settings}))
        if events is None:
            return made
        report = made.train([events], info or Higgs().info, np.random.default_rng(seed))
        made.report = report
        return made

    return make


@pytest.fixture(scope="session")
def frozen_generator():
    return FrozenGenerator
