"""What is learned of showers: the one file to edit. All else is in the module beside it.

Anything will do that has the methods of `Model`, a network for instance. One that was trained elsewhere is read in
`learn`, from a file that a setting names.
"""

from __future__ import annotations

import numpy as np
from mlgen.showers import Geometry, ShowerBatch
from mlgen.stages import FloatArray, IntArray, Progress, ProgressCallback, State, TrainingReport

from own_pca import PluginSettings


class Model:
    """Frozen showers: one of those of the same particle that are nearest in energy, scaled to the energy asked for.

    A shower that is scaled deposits the same share of the incident energy, so that none deposits more than one of the
    library does, in units of what the particle brings.

    Args:
        geometry: What the voxels are.
        settings: The settings of the card.

    References:
        Barberio et al. (ATLAS), J. Phys. Conf. Ser. 160, 012082 (2009).
    """

    # YOUR MODEL: what it is made with, such as its layers. `learn` or `load` follows.
    def __init__(self, geometry: Geometry, settings: PluginSettings) -> None:
        self._settings = settings
        self._arrays: dict[str, FloatArray] = {}

    # YOUR MODEL: the training. All randomness comes from `rng`.
    def learn(self, showers: ShowerBatch, rng: np.random.Generator, progress: ProgressCallback) -> TrainingReport:
        """Learn from all training showers; of each particle, those that are kept are drawn at random."""
        kinds = np.unique(showers.pdg_id)
        for number, kind in enumerate(kinds):
            own = showers.pdg_id == kind
            energy = showers.incident_energy[own]
            share = showers.voxels[own] / energy[:, None]
            values = np.log(1e-6 + share)
            mean = np.linalg.lstsq(_design(energy), values, rcond=None)[0]
            widths, directions = np.linalg.svd(values - _design(energy) @ mean, full_matrices=False)[1:]
            components = (widths[:, None] / np.sqrt(len(energy)) * directions)[: self._settings.components]
            found = {"mean": mean, "components": components, "largest": np.asarray(share.sum(axis=1).max())}
            self._arrays |= {f"{kind}.{name}": array for name, array in found.items()}
            progress(Progress(number + 1, len(kinds), "showers", len(energy)))
        return TrainingReport()

    # YOUR MODEL: the showers. Energies are not negative, and scale with what the particle brings.
    def voxels(self, pdg_id: IntArray, energy: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the deposits of one shower for each particle of energy ``(n,)``, in MeV: ``(n, n_voxels)``, MeV."""
        share = np.empty((len(pdg_id), next(iter(self._arrays.values())).shape[1]))
        for kind in np.unique(pdg_id):
            asked = pdg_id == kind
            mean, components, largest = (self._arrays[f"{kind}.{name}"] for name in ("mean", "components", "largest"))
            normal = rng.standard_normal((np.count_nonzero(asked), len(components)))
            values = np.exp(_design(energy[asked]) @ mean + normal @ components) - 1e-6
            values[values < self._settings.threshold] = 0.0
            total = np.maximum(values.sum(axis=1, keepdims=True), 1e-9)
            share[asked] = values * np.minimum(1.0, largest / total)
        return share * energy[:, None]

    # YOUR MODEL: all that was learned, as named arrays, whatever their number.
    def state(self) -> State:
        """Return what was learned."""
        return self._arrays

    # YOUR MODEL: the way back.
    def load(self, state: State) -> None:
        """Take over what `state` gave."""
        self._arrays = dict(state)


def _design(energy: FloatArray) -> FloatArray:
    return np.stack([np.ones(len(energy)), np.log(energy / 1000.0)], axis=1)
