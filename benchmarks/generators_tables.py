"""Hard events as arrays, and the observables that the benchmark of the generators looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen import open_events
from mlgen.events import EventBatch
from mlgen.representation.classes import canonical_colors

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Selection = slice | npt.NDArray[Any]

#: A transverse momentum below is zero up to rounding, and has no azimuth.
_NO_PT = 1e-4
_LOWEST_ANGLE = 1e-7 - np.pi
_INTEGERS = ("pdg_id", "status", "color1", "color2")
#: Base of the number that a colour flow is written as: no event has more lines than seven.
_LINES = 8


@dataclass(frozen=True)
class Table:
    """Events; particles stand in the order of the file, zeros behind the last one of an event.

    Args:
        integers: PDG ids, status and colour lines, canonical ones counted from 1, ``(n, particles, 4)``.
        momenta: px, py, pz, energy in GeV, ``(n, particles, 4)``.
        spin: Shape ``(n, particles)``.
        numbers: Weight, scale, alpha_s, process id, ``(n, 4)``.
        variations: Named weights, each ``(n,)``.
        beam_energy: Of each beam, GeV.
    """

    integers: IntArray
    momenta: FloatArray
    spin: FloatArray
    numbers: FloatArray
    variations: dict[str, FloatArray]
    beam_energy: float

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: Selection) -> Self:
        return replace(
            self,
            integers=self.integers[chosen],
            momenta=self.momenta[chosen],
            spin=self.spin[chosen],
            numbers=self.numbers[chosen],
            variations={name: values[chosen] for name, values in self.variations.items()},
        )

    @property
    def weight(self) -> FloatArray:
        """Nominal weights, ``(n,)``."""
        return self.numbers[:, 0]

    @property
    def scale(self) -> FloatArray:
        """Scales in GeV, ``(n,)``."""
        return self.numbers[:, 1]

    @property
    def alpha_s(self) -> FloatArray:
        """Strong couplings, ``(n,)``."""
        return self.numbers[:, 2]

    @property
    def multiplicity(self) -> IntArray:
        """Number of final particles, ``(n,)``."""
        return np.asarray((self.integers[:, :, 1] == 1).sum(axis=1), np.int64)

    @property
    def flows(self) -> IntArray:
        """Colour flows as numbers, ``(n,)``: equal flows are equal numbers, in every file."""
        lines = np.abs(self.integers[:, :, 2:]).reshape(len(self), -1)
        if lines.shape[1] > 17 or lines.max(initial=0) >= _LINES:
            raise SystemExit("events have too many colour lines for this benchmark")
        return np.asarray(lines @ _LINES ** np.arange(lines.shape[1], dtype=np.int64), np.int64)


def read(path: Path, events: int | None = None) -> Table:
    """Read the first events of a file; all, when None."""
    parts: list[Table] = []
    with open_events(path) as source:
        energy = source.run_info.beams[0].energy
        left = events if events is not None else -1
        for batch in source:
            chosen = batch if left < 0 else batch[:left]
            parts.append(_table(chosen, energy))
            left -= len(chosen) if left >= 0 else 0
            if left == 0:
                break
    return joined(parts)


def _table(batch: EventBatch, energy: float) -> Table:
    counts = batch.counts

    exists = np.arange(counts.max(initial=0)) < counts[:, None]

    def spread(names: Sequence[str]) -> npt.NDArray[Any]:
        columns = [batch.column(name) for name in names]
        result = np.zeros((*exists.shape, len(columns)), columns[0].dtype)
        result[exists] = np.stack(columns, axis=1)
        return result

    integers = spread(_INTEGERS).astype(np.int64)
    lines = canonical_colors(integers[:, :, 2:])
    integers[:, :, 2:] = np.where(lines == 0, 0, np.sign(lines) * (np.abs(lines) - 500))
    return Table(
        integers,
        spread(("px", "py", "pz", "energy")).astype(np.float64),
        spread(("spin",))[:, :, 0].astype(np.float64),
        np.stack([batch.weight, batch.scale, batch.alpha_qcd, batch.process_id.astype(np.float64)], axis=1),
        dict(batch.variations),
        energy,
    )


def joined(tables: Sequence[Table]) -> Table:
    """Join tables; named weights are those that all have."""
    most = max(table.integers.shape[1] for table in tables)

    def widened(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.pad(values, [(0, 0), (0, most - values.shape[1]), *[(0, 0)] * (values.ndim - 2)])

    names = set.intersection(*(set(table.variations) for table in tables))
    return Table(
        np.concatenate([widened(table.integers) for table in tables]),
        np.concatenate([widened(table.momenta) for table in tables]),
        np.concatenate([widened(table.spin) for table in tables]),
        np.concatenate([table.numbers for table in tables]),
        {n: np.concatenate([t.variations[n] for t in tables]) for n in tables[0].variations if n in names},
        tables[0].beam_energy,
    )


@dataclass(frozen=True)
class Objects:
    """What the observables are made of: the pair, the jets by transverse momentum, and what comes in.

    Args:
        names: Of the particle, the antiparticle and the pair.
        particle: Four-momentum of the muon (top), ``(n, 4)``.
        antiparticle: That of its antiparticle, ``(n, 4)``.
        jets: ``(n, jets, 4)``; NaN behind the last jet.
        jet_ids: PDG ids of the jets, ``(n, jets)``; 0 behind the last.
        order: Places of the jets in the file, one digit each, ``(n,)``.
        incoming: Energies of the incoming partons, ``(n, 2)``.
        incoming_ids: PDG ids of them, ``(n, 2)``.
    """

    names: tuple[str, str, str]
    particle: FloatArray
    antiparticle: FloatArray
    jets: FloatArray
    jet_ids: IntArray
    order: IntArray
    incoming: FloatArray
    incoming_ids: IntArray


def find_objects(table: Table) -> Objects:
    """Find the pair, the jets and the incoming partons of each event."""
    ids, final = table.integers[:, :, 0], table.integers[:, :, 1] == 1
    tops = bool(np.any(final & (np.abs(ids) == 6)))
    of_pair = final & (np.abs(ids) == 6 if tops else np.isin(np.abs(ids), (11, 13, 15)))
    rows = np.arange(len(table))
    first, second = (np.argmax(of_pair & (sign * ids > 0), axis=1) for sign in (1, -1))
    jet = final & ~of_pair
    most = int(jet.sum(axis=1).max(initial=0))
    pt = np.where(jet, np.hypot(table.momenta[:, :, 0], table.momenta[:, :, 1]), -1.0)
    order = np.argsort(-pt, axis=1, kind="stable")[:, :most]
    exists = np.take_along_axis(jet, order, axis=1)
    jets = np.take_along_axis(table.momenta, order[:, :, None], axis=1)
    jets[~exists] = np.nan
    incoming = np.argsort(table.integers[:, :, 1] != -1, axis=1, kind="stable")[:, :2]
    places = np.where(exists, order, 0)
    return Objects(
        ("t", "t~", "tt") if tops else ("mu-", "mu+", "Z"),
        table.momenta[rows, first],
        table.momenta[rows, second],
        jets,
        np.where(exists, np.take_along_axis(ids, order, axis=1), 0),
        np.asarray(places @ 10 ** np.arange(most, dtype=np.int64), np.int64),
        np.take_along_axis(table.momenta[:, :, 3], incoming, axis=1),
        np.take_along_axis(ids, incoming, axis=1),
    )


def pt(p: FloatArray) -> FloatArray:
    """Transverse momentum; zero where it is rounding."""
    size = np.hypot(p[..., 0], p[..., 1])
    return np.asarray(np.where(size < _NO_PT, 0.0, size), np.float64)


def phi(p: FloatArray) -> FloatArray:
    """Azimuth; NaN where there is no transverse momentum."""
    return np.asarray(np.where(pt(p) > 0, np.arctan2(p[..., 1], p[..., 0]), np.nan), np.float64)


def rapidity(p: FloatArray) -> FloatArray:
    """Rapidity, which for massless particles is the pseudorapidity."""
    transverse = np.sqrt(np.maximum(p[..., 3] ** 2 - p[..., 2] ** 2, 1e-12))
    return np.asarray(np.arcsinh(p[..., 2] / transverse), np.float64)


def mass(p: FloatArray) -> FloatArray:
    """Invariant mass."""
    squared = p[..., 3] ** 2 - np.sum(p[..., :3] ** 2, axis=-1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), np.float64)


def wrapped(angle: FloatArray) -> FloatArray:
    """The angle between -pi and pi; both ends are pi, so that rounding does not choose between them."""
    between = (angle + np.pi) % (2 * np.pi) - np.pi
    return np.asarray(np.where(between < _LOWEST_ANGLE, np.pi, between), np.float64)


def _decay_angles(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Polar angle (its cosine) and azimuth of `a` in the frame of Collins and Soper, PRD 16 (1977) 2219."""
    pair = a + b
    m, p_t = mass(pair), pt(pair)
    cosine = 2 * (a[:, 2] * b[:, 3] - a[:, 3] * b[:, 2]) / (m * np.sqrt(m**2 + p_t**2))
    relative = a[:, :2] - b[:, :2]
    with np.errstate(invalid="ignore", divide="ignore"):
        along = (relative * pair[:, :2]).sum(axis=1) / p_t
        across = (relative[:, 1] * pair[:, 0] - relative[:, 0] * pair[:, 1]) / p_t
        azimuth = np.arctan2(across * np.sqrt(m**2 + p_t**2), along * m)
    return cosine, np.where(p_t > 0, azimuth, np.nan)


def kinematics(table: Table, objects: Objects | None = None) -> dict[str, FloatArray]:
    """All observables that are real numbers, each ``(n,)``; NaN where an event lacks one. Names with phi are angles."""
    o = objects or find_objects(table)
    a, b, (name_a, name_b, name_v) = o.particle, o.antiparticle, o.names
    v = a + b
    jets = [(f"j{k + 1}", o.jets[:, k]) for k in range(o.jets.shape[1])]
    total = v + np.nansum(o.jets, axis=1)
    found: dict[str, FloatArray] = {f"m({name_a}, {name_b})": mass(v)}
    for name, p in [(name_v, v), (name_a, a), (name_b, b), *jets]:
        found |= {f"pT({name})": pt(p), f"y({name})": rapidity(p), f"phi({name})": phi(p)}
    for (first, p), (second, q) in combinations([(name_v, v), (name_a, a), (name_b, b), *jets], 2):
        if first == name_v and second in (name_a, name_b):
            continue
        delta_y, delta_phi = rapidity(p) - rapidity(q), wrapped(phi(p) - phi(q))
        pair = f"({first}, {second})"
        found |= {f"delta y{pair}": delta_y, f"delta phi{pair}": delta_phi}
        found[f"delta R{pair}"] = np.hypot(delta_y, delta_phi)
        found[f"m{pair}"] = mass(p + q)
    cosine, azimuth = _decay_angles(a, b)
    found |= {"cos theta (Collins-Soper)": cosine, "phi (Collins-Soper)": azimuth}
    found |= {"m(all)": mass(total), "y(all)": rapidity(total), "HT": transverse_sum(o)}
    found |= {f"ln x{k + 1}": np.log(np.maximum(o.incoming[:, k] / table.beam_energy, 1e-12)) for k in range(2)}
    found |= {"ln scale": np.log(np.maximum(table.scale, 1e-6)), "scale / (HT/2)": 2 * table.scale / found["HT"]}
    return found


def transverse_sum(o: Objects) -> FloatArray:
    """HT: the transverse masses of all final particles."""
    everything = np.concatenate([o.particle[:, None], o.antiparticle[:, None], o.jets], axis=1)
    squared = everything[..., 3] ** 2 - everything[..., 2] ** 2
    return np.asarray(np.nansum(np.sqrt(np.maximum(squared, 0.0)), axis=1), np.float64)


def categories(table: Table, objects: Objects | None = None) -> dict[str, IntArray]:
    """All observables that are codes, each ``(n,)``: flavours, places of the jets in the file, colour flow, spins."""
    o = objects or find_objects(table)
    found = {f"pdg(in {k + 1})": o.incoming_ids[:, k] for k in range(2)}
    found |= {f"pdg(j{k + 1})": o.jet_ids[:, k] for k in range(o.jet_ids.shape[1])}
    found |= {"order of jets": o.order, "colour flow": table.flows}
    spins = np.rint(2 * table.spin).astype(np.int64)
    found |= {f"spin of particle {k + 1}": spins[:, k] for k in range(spins.shape[1])}
    return found
