"""Events of a hard process as a Les Houches record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch
from mlgen.hard_process.matrix_element import MatrixElement
from mlgen.hard_process.source_errors import MatrixElementFailure, source_errors
from mlgen.hard_process.subprocess import Subprocess
from mlgen.stages import FloatArray, IntArray

#: Status codes, and the spin of a particle whose helicity is not known (Boos et al., hep-ph/0109068, table 2).
_INCOMING, _OUTGOING, _UNKNOWN_SPIN = -1, 1, 9.0
#: Number of the one process that a file has (LPRUP).
PROCESS_ID = 1


def on_shell(momenta: FloatArray, masses: Sequence[float]) -> FloatArray:
    """Return momenta with exact masses and balance, as near as doubles allow.

    Rounding in the phase-space maps is taken out: what is left of the transverse momentum is taken from all outgoing
    particles alike, their energies are computed from momenta and masses, and the incoming ones, massless and along the
    beam, get what that takes.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, incoming ones first.
        masses: Of the outgoing particles, in GeV.
    """
    result = np.array(momenta, np.float64)
    outgoing = result[:, 2:]
    outgoing[..., :2] -= outgoing[..., :2].mean(axis=1, keepdims=True)
    outgoing[..., 3] = np.sqrt((outgoing[..., :3] ** 2).sum(axis=-1) + np.asarray(masses) ** 2)
    along, energy = outgoing[..., 2].sum(axis=1), outgoing[..., 3].sum(axis=1)
    result[:, :2] = 0.0
    result[:, 0, 3] = result[:, 0, 2] = 0.5 * (energy + along)
    result[:, 1, 3] = 0.5 * (energy - along)
    result[:, 1, 2] = -result[:, 1, 3]
    return result


def turned(momenta: FloatArray, angle: FloatArray) -> FloatArray:
    """Return events turned about the beams: the maps leave the azimuth of the whole event fixed.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)``.
        angle: ``(n,)``, in radians.
    """
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    result = np.array(momenta, np.float64)
    result[..., 0] = cosine * momenta[..., 0] - sine * momenta[..., 1]
    result[..., 1] = sine * momenta[..., 0] + cosine * momenta[..., 1]
    return result


def events(
    momenta: FloatArray,
    subprocess: IntArray,
    weight: FloatArray,
    scale: FloatArray,
    alpha_s: FloatArray,
    rng: np.random.Generator,
    *,
    subprocesses: Sequence[Subprocess],
    matrix_elements: Sequence[MatrixElement],
    source: str,
    masses: Sequence[float],
    alpha_qed: float,
) -> EventBatch:
    """Return events, each turned by a random angle, with a colour flow from the leading-colour flows.

    Outgoing particles have both incoming ones as mothers; intermediate resonances are not written, because no
    assignment of one would be right at tree level with interference.

    Args:
        momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, incoming ones first.
        subprocess: Number of each event's subprocess, ``(n,)``.
        weight: In pb, ``(n,)``.
        scale: Factorisation scale in GeV, ``(n,)``.
        alpha_s: Strong coupling, ``(n,)``.
        rng: Source of ``2 n`` uniform numbers.
        subprocesses: Those of the process.
        matrix_elements: Of each subprocess.
        source: What their source is called in an error.
        masses: Of the outgoing particles, in GeV.
        alpha_qed: Electromagnetic coupling.

    Raises:
        MatrixElementFailure: A matrix element failed, or drew a flow that it does not have.
    """
    n, particles = momenta.shape[:2]
    uniform, turns = rng.random((2, n))
    balanced = turned(on_shell(momenta, masses), 2 * np.pi * turns)
    pdg_id = np.array([one.pdg_ids for one in subprocesses], np.int64)[subprocess]
    lines = np.zeros((2, n, particles), np.int64)
    # Subprocesses that share a matrix element share its colour flows.
    for element in {id(one): one for one in matrix_elements}.values():
        own = np.array([one is element for one in matrix_elements])
        chosen = np.flatnonzero(own[subprocess])
        if len(chosen):
            flows = np.array([(flow.color, flow.anticolor) for flow in element.color_flows], np.int64)
            drawn = _drawn_flows(element, balanced[chosen], uniform[chosen], source)
            lines[:, chosen] = flows[drawn].transpose(1, 0, 2)

    def same_for_all(values: Sequence[float], kind: type[np.generic]) -> npt.NDArray[np.generic]:
        return np.tile(np.array(values, kind), n)

    outgoing = particles - 2
    return EventBatch.from_columns(
        np.full(n, particles),
        {
            "pdg_id": pdg_id.ravel(),
            "status": same_for_all([_INCOMING] * 2 + [_OUTGOING] * outgoing, np.int64),
            "mother1": same_for_all([0, 0] + [1] * outgoing, np.int64),
            "mother2": same_for_all([0, 0] + [2] * outgoing, np.int64),
            "color1": lines[0].ravel(),
            "color2": lines[1].ravel(),
            **{name: balanced[..., i].ravel() for i, name in enumerate(("px", "py", "pz", "energy"))},
            "generated_mass": same_for_all([0.0, 0.0, *masses], np.float64),
            "lifetime": np.zeros(n * particles),
            "spin": np.full(n * particles, _UNKNOWN_SPIN),
        },
        weight=np.asarray(weight, np.float64),
        process_id=np.full(n, PROCESS_ID),
        scale=np.asarray(scale, np.float64),
        alpha_qed=np.full(n, alpha_qed),
        alpha_qcd=np.asarray(alpha_s, np.float64),
    )


def _drawn_flows(element: MatrixElement, momenta: FloatArray, uniform: FloatArray, source: str) -> IntArray:
    with source_errors(source):
        drawn = np.asarray(element.draw_color_flows(momenta, uniform))
    flows = len(element.color_flows)
    if drawn.shape != uniform.shape or drawn.dtype.kind not in "iu" or not ((drawn >= 0) & (drawn < flows)).all():
        raise MatrixElementFailure(
            f"matrix elements {source}: draw_color_flows gave {_seen(drawn)} for {len(uniform)} points; numbers from 0 "
            f"to {flows - 1}, one for each point, are expected"
        )
    return drawn


def _seen(drawn: npt.NDArray[np.generic]) -> str:
    if drawn.dtype.kind in "iu" and drawn.size:
        return f"numbers from {drawn.min()} to {drawn.max()}, of the shape {drawn.shape},"
    return f"an array of {drawn.dtype} of the shape {drawn.shape}"
