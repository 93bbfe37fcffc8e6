"""Jets of shower-level events, by FastJet."""

from __future__ import annotations

import functools
import importlib.util
import math
from typing import Any

import awkward as ak
import numpy as np

from mlgen.errors import UserError
from mlgen.events import FloatArray, IntArray
from mlgen.validation.settings import JetSettings

INSTALL_ADVICE = "jets need the package fastjet: pip install 'mlgen-hep[jets]'"


def jets_available() -> bool:
    """Whether FastJet is installed."""
    return importlib.util.find_spec("fastjet") is not None


def cluster(momenta: FloatArray, counts: IntArray, settings: JetSettings) -> tuple[FloatArray, IntArray]:
    r"""Cluster the particles of many events, each event by itself, in the E scheme.

    Args:
        momenta: Four-momenta ``(px, py, pz, energy)`` in GeV of all events one after the other, shape
            ``(4, sum(counts))``. A particle along the beam or without a finite momentum belongs to no jet.
        counts: Particles in each event, shape ``(n,)``.
        settings: Algorithm, radius, and the smallest :math:`p_T` and largest :math:`|\eta|` of a jet.

    Returns:
        Four-momenta of the jets, shape ``(4, jets)``, and the jets in each event, shape ``(n,)``.

    Raises:
        UserError: FastJet is not installed.

    References:
        Cacciari, Salam and Soyez, Eur. Phys. J. C 72, 1896 (2012), arXiv:1111.6097.
    """
    if not jets_available():
        raise UserError(INSTALL_ADVICE)
    fastjet = _fastjet()
    algorithm = {
        "anti-kt": fastjet.antikt_algorithm,
        "kt": fastjet.kt_algorithm,
        "cambridge-aachen": fastjet.cambridge_algorithm,
    }[settings.algorithm]
    usable = np.isfinite(momenta).all(axis=0) & ((momenta[0] != 0) | (momenta[1] != 0))
    event = np.repeat(np.arange(len(counts)), counts)[usable]
    if not len(event):
        return np.zeros((4, 0)), np.zeros(len(counts), np.int64)
    record = ak.contents.RecordArray(
        [ak.contents.NumpyArray(np.ascontiguousarray(row[usable])) for row in momenta], ["px", "py", "pz", "E"]
    )
    offsets = np.concatenate([[0], np.cumsum(np.bincount(event, minlength=len(counts)))]).astype(np.int64)
    particles = ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))
    # The definition has to live as long as the clustering uses it.
    definition = fastjet.JetDefinition(algorithm, settings.radius)
    jets = fastjet.ClusterSequence(particles, definition).inclusive_jets(min_pt=settings.pt_min)
    number = np.asarray(ak.to_numpy(ak.num(jets, axis=1)), np.int64)
    flat = ak.flatten(jets, axis=1)
    found = np.stack([np.asarray(ak.to_numpy(flat[name]), np.float64) for name in ("px", "py", "pz", "E")])
    central = np.abs(found[2]) < math.sinh(settings.abs_eta_max) * np.hypot(found[0], found[1])
    jet_event = np.repeat(np.arange(len(counts)), number)[central]
    return found[:, central], np.bincount(jet_event, minlength=len(counts))


@functools.cache
def _fastjet() -> Any:
    import fastjet
    import fastjet._swig

    # FastJet would write its banner to standard output, in the middle of what --json writes there.
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    return fastjet
