"""Small training samples, made with NumPy alone, that obey every rule of `mlgen.testing.event_rules`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch
from mlgen.run_info import Beam, Process, RunInfo
from mlgen.showers import Geometry, PolarLayer, RectangularLayer, ShowerBatch
from mlgen.stages import AmplitudeProcess, FloatArray, InnerLine, IntArray

BEAM_ENERGY = 6500.0
CROSS_SECTION = 1500.0
_Z_MASS, _Z_WIDTH = 91.1876, 2.4955


def drell_yan_events(n: int, rng: np.random.Generator, gluon_fraction: float = 0.5) -> tuple[EventBatch, RunInfo]:
    """Make events like q q~ -> Z -> mu- mu+, some with a gluon, as hard events of proton collisions at 13 TeV.

    The shapes are only roughly those of nature; momentum conservation, mass shells, mothers and colours are exact up to
    rounding. All particles but the Z are massless, as in most hard events. Weights are equal and average to
    the cross section.

    Args:
        n: Number of events.
        rng: Source of all random numbers.
        gluon_fraction: Share of events that have a gluon.

    Returns:
        The events, and what is true of their file.
    """
    # What the initial state makes is put together in its own rest frame, and then boosted along the beams.
    z_mass = np.clip(_Z_MASS + 0.5 * _Z_WIDTH * np.tan(np.pi * (rng.random(n) - 0.5) * 0.95), 60.0, 120.0)
    with_gluon = rng.random(n) < gluon_fraction
    recoil = np.where(with_gluon, 5.0 + rng.exponential(25.0, n), 0.0)
    z_momentum = recoil[:, None] * isotropic(n, rng)
    z_energy = np.sqrt(z_mass**2 + recoil**2)
    lepton = 0.5 * z_mass[:, None] * isotropic(n, rng)
    first = _boosted(np.concatenate([lepton, 0.5 * z_mass[:, None]], axis=1), z_momentum / z_mass[:, None])
    second = _boosted(np.concatenate([-lepton, 0.5 * z_mass[:, None]], axis=1), z_momentum / z_mass[:, None])
    gluon = np.concatenate([-z_momentum, recoil[:, None]], axis=1)
    # The incoming partons must have less than the beams' energy: both x stay below 1.
    limit = np.log(2 * BEAM_ENERGY / (z_energy + recoil)) - 0.1
    along = np.zeros((n, 3))
    along[:, 2] = np.sinh(np.clip(rng.normal(0.0, 1.5, n), -limit, limit))
    first, second, gluon = (_boosted(momentum, along) for momentum in (first, second, gluon))
    boson = first + second
    total = boson + gluon
    forward, backward = 0.5 * (total[:, 3] + total[:, 2]), 0.5 * (total[:, 3] - total[:, 2])
    zero = np.zeros(n)
    momenta = np.stack(
        [
            np.stack([zero, zero, forward, forward], axis=1),
            np.stack([zero, zero, -backward, backward], axis=1),
            boson,
            first,
            second,
            gluon,
        ],
        axis=1,
    )
    return _drell_yan_batch(momenta, with_gluon, rng), drell_yan_run_info()


def with_negative_weights(
    events: EventBatch, run_info: RunInfo, rng: np.random.Generator, negative: float = 0.45
) -> tuple[EventBatch, RunInfo]:
    """Give a share of the events that go backward (their outgoing particles together to -z) a negative weight.

    Args:
        events: The events.
        run_info: What is true of their file.
        rng: Source of all random numbers.
        negative: The share.

    Returns:
        The events, and their run information: weights of either sign that average to the cross section.
    """
    event = np.repeat(np.arange(len(events)), events.counts)
    outgoing = events.column("status") == 1
    total = np.bincount(event[outgoing], events.column("pz")[outgoing], minlength=len(events))
    size = np.abs(events.weight)
    weight = np.where((total < 0) & (rng.random(len(events)) < negative), -size, size)
    mean = float(np.mean(weight))
    changed = EventBatch.from_columns(
        events.counts,
        events.columns(),
        weight=weight,
        process_id=events.process_id,
        scale=events.scale,
        alpha_qed=events.alpha_qed,
        alpha_qcd=events.alpha_qcd,
    )
    known = run_info.processes or (Process(1, mean, 0.0, mean),)
    whole = sum(process.cross_section for process in known)
    processes = tuple(replace(process, cross_section=process.cross_section / whole * mean) for process in known)
    return changed, run_info.replace(weight_strategy=-4, processes=processes, variations=(), variation_groups=())


def drell_yan_run_info() -> RunInfo:
    """Return what is true of a file of `drell_yan_events`: proton beams of 6500 GeV, equal weights."""
    return RunInfo(
        beams=(Beam(2212, BEAM_ENERGY), Beam(2212, BEAM_ENERGY)),
        weight_strategy=3,
        processes=(Process(1, CROSS_SECTION, 1.0, CROSS_SECTION),),
        generator="mlgen.testing",
    )


def _drell_yan_batch(momenta: FloatArray, with_gluon: npt.NDArray[np.bool_], rng: np.random.Generator) -> EventBatch:
    n = len(momenta)
    flavour = rng.choice(np.array([1, 2]), n)
    quark_first = rng.random(n) < 0.5
    # By particle: both partons, Z, mu-, mu+, gluon. The colour line runs from the quark into the antiquark or,
    # with a gluon, from the quark into the gluon and from there into the antiquark.
    columns: dict[str, IntArray] = {
        "pdg_id": np.tile([0, 0, 23, 13, -13, 21], (n, 1)),
        "status": np.tile([-1, -1, 2, 1, 1, 1], (n, 1)),
        "mother1": np.tile([0, 0, 1, 3, 3, 1], (n, 1)),
        "mother2": np.tile([0, 0, 2, 3, 3, 2], (n, 1)),
        "color1": np.tile([0, 0, 0, 0, 0, 501], (n, 1)),
        "color2": np.tile([0, 0, 0, 0, 0, 502], (n, 1)),
    }
    antiquark_colour = np.where(with_gluon, 502, 501)
    for place, is_quark in ((0, quark_first), (1, ~quark_first)):
        columns["pdg_id"][:, place] = np.where(is_quark, flavour, -flavour)
        columns["color1"][:, place] = np.where(is_quark, 501, 0)
        columns["color2"][:, place] = np.where(is_quark, 0, antiquark_colour)
    present = np.ones((n, 6), bool)
    present[:, 5] = with_gluon
    mass = np.zeros((n, 6))
    boson = momenta[:, 2]
    mass[:, 2] = np.sqrt(
        (boson[:, 3] - boson[:, 2]) * (boson[:, 3] + boson[:, 2]) - boson[:, 0] ** 2 - boson[:, 1] ** 2
    )
    flat: dict[str, npt.NDArray[Any]] = {name: column[present] for name, column in columns.items()}
    flat |= {name: momenta[:, :, i][present] for i, name in enumerate(("px", "py", "pz", "energy"))}
    flat["generated_mass"] = mass[present]
    return EventBatch.from_columns(
        np.where(with_gluon, 6, 5),
        flat,
        weight=CROSS_SECTION,
        process_id=1,
        scale=_Z_MASS,
        alpha_qed=1 / 128,
        alpha_qcd=0.118,
    )


def scattering_amplitudes(n: int, rng: np.random.Generator) -> tuple[AmplitudeProcess, FloatArray, FloatArray]:
    r"""Make points of q q~ -> g g, massless, in the centre of mass: two like particles, and peaks to both sides.

    Args:
        n: Number of points.
        rng: Source of all random numbers.

    Returns:
        The process, momenta ``(n, 4, 4)`` as ``(px, py, pz, energy)`` in GeV, and a function proportional to |M|^2,
        :math:`\frac{32}{27} \frac{t^2 + u^2}{t u} - \frac83 \frac{t^2 + u^2}{s^2}`, of shape ``(n,)`` (Ellis,
        Stirling and Webber, QCD and Collider Physics, table 7.1).
    """
    energy = rng.uniform(50.0, 200.0, n)
    directions = isotropic(n, rng)
    directions[:, 2] *= 0.98
    directions[:, :2] *= np.sqrt((1 - directions[:, 2] ** 2) / np.sum(directions[:, :2] ** 2, axis=1))[:, None]
    momenta = np.zeros((n, 4, 4))
    momenta[:, :, 3] = energy[:, None]
    momenta[:, 0, 2], momenta[:, 1, 2] = energy, -energy
    momenta[:, 2, :3], momenta[:, 3, :3] = energy[:, None] * directions, -energy[:, None] * directions
    t, u = (1 - directions[:, 2]) / 2, (1 + directions[:, 2]) / 2
    values = 32 / 27 * (t**2 + u**2) / (t * u) - 8 / 3 * (t**2 + u**2)
    lines = (InnerLine((0, 2)), InnerLine((0, 3)), InnerLine((0, 1)))
    return AmplitudeProcess((1, -1, 21, 21), (0.0, 0.0, 0.0, 0.0), lines), momenta, values


def showers(n: int, rng: np.random.Generator, *, pions: bool = False) -> ShowerBatch:
    """Make photon showers in a small calorimeter of 2 layers and 12 voxels.

    About 80% of the incident energy (1 to 100 GeV, uniform in its logarithm) is deposited, less and less with radius;
    a fifth of the voxels is empty.

    Args:
        n: Number of showers.
        rng: Source of all random numbers.
        pions: Whether about half of the showers, in no order, are those of pions: they begin later, so that most of
            their energy is in the second layer, where photons have the least.
    """
    edges = (0.0, 10.0, 20.0, 40.0)
    geometry = Geometry("" if pions else "photon", (PolarLayer(0, edges, 2), PolarLayer(1, edges, 2)))
    return _showers(n, rng, geometry, np.tile([4.0, 2.0, 1.0], 4), pions)


def rectangular_showers(n: int, rng: np.random.Generator, *, pions: bool = False) -> ShowerBatch:
    """Make showers as `showers` does, in 2 layers of 2 x 3 rectangles, most energetic in the middle.

    Args:
        n: Number of showers.
        rng: Source of all random numbers.
        pions: As of `showers`.
    """
    x_edges, y_edges = (-10.0, 0.0, 10.0), (-15.0, -5.0, 5.0, 15.0)
    layers = (RectangularLayer(0, x_edges, y_edges), RectangularLayer(1, x_edges, y_edges))
    return _showers(n, rng, Geometry("" if pions else "photon", layers), np.tile([1.0, 4.0, 1.0], 4), pions)


def _showers(n: int, rng: np.random.Generator, geometry: Geometry, shape: FloatArray, pions: bool) -> ShowerBatch:
    energy = np.exp(rng.uniform(np.log(1e3), np.log(1e5), n))
    shares = rng.gamma(shape, size=(n, len(shape)))
    shares *= rng.random(shares.shape) > 0.2
    deposited = energy * np.clip(rng.normal(0.8, 0.02, n), 0.5, 1.0)
    pdg_id = np.full(n, 22)
    if pions:
        pdg_id[rng.random(n) < 0.5] = 211
        # The weaker layer keeps a tenth of what it had.
        weaker = np.where(pdg_id == 211, 0, 1)
        layer = np.repeat([0, 1], np.diff(geometry.layer_offsets))
        shares[layer == weaker[:, None]] *= 0.1
    total = shares.sum(axis=1)
    voxels = shares * (deposited / np.where(total > 0, total, 1.0))[:, None]
    return ShowerBatch(energy, pdg_id, np.tile([0.0, 0.0, 1.0], (n, 1)), voxels, geometry)


def isotropic(n: int, rng: np.random.Generator) -> FloatArray:
    """Return isotropic unit vectors, ``(n, 3)``."""
    cosine = rng.uniform(-1.0, 1.0, n)
    azimuth = rng.uniform(0.0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], axis=1)


def _boosted(momentum: FloatArray, velocity: FloatArray) -> FloatArray:
    r"""Boost momenta ``(n, 4)`` by the spatial part :math:`\gamma \vec\beta`, ``(n, 3)``, of a four-velocity."""
    gamma = np.sqrt(1 + np.sum(velocity**2, axis=1))
    along = np.sum(momentum[:, :3] * velocity, axis=1)
    energy = gamma * momentum[:, 3] + along
    space = momentum[:, :3] + ((momentum[:, 3] + energy) / (1 + gamma))[:, None] * velocity
    return np.concatenate([space, energy[:, None]], axis=1)
