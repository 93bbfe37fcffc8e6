"""Showers as the low-level classifiers see them: all voxels, in one of three forms, in single precision."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mlgen.showers import ShowerBatch

if TYPE_CHECKING:
    import torch

#: Without a threshold, logarithms bend at this quantile of the energies of voxels that were hit.
_SMALL_QUANTILE = 0.01
#: Showers from which it is found, at most, and showers in a piece.
_SOME, _PIECE = 2_000, 1_000
#: Energies in MeV that are added before a logarithm, as in the CaloChallenge's evaluation.
_TINY = 1e-8

Indices = npt.NDArray[np.integer[Any]]


class VoxelForm(enum.StrEnum):
    r"""What the network sees of a shower.

    The first two are those of the CaloChallenge. In the third a voxel counts by its order of magnitude, so that weak
    voxels at the rim of a shower are seen as well as hot ones. Voxels are scaled all alike: scaled one by one, those
    that are hardly ever hit are noise in which a network finds nothing.
    """

    #: :math:`e_v / E_\mathrm{inc}`, and :math:`\log_{10} E_\mathrm{inc}`.
    ENERGIES = "voxels"
    #: :math:`e_v / E_k` in each layer k, and the energies of the layers.
    NORMALISED = "normalised voxels"
    #: :math:`\log_{10}(1 + e_v / e_0)`, and the energies of the layers.
    LOGARITHMIC = "logarithmic voxels"


class ShowerTable:
    """Showers of one kind in the memory of a device, of which the network asks for some at a time.

    Args:
        batch: The showers; their voxels are kept in single precision, and not copied if they are.
        threshold: Voxel energies up to this, in MeV, count as zero.
        device: Where the network is.
    """

    def __init__(self, batch: ShowerBatch, threshold: float, device: torch.device) -> None:
        import torch

        voxels = np.ascontiguousarray(batch.voxels, np.float32)
        if threshold > 0.0 and bool(np.any((voxels > 0.0) & (voxels <= threshold))):
            voxels = np.where(voxels > threshold, voxels, np.float32(0.0))
        # Nothing is ever written to them.
        voxels = voxels if voxels.flags.writeable else voxels.copy()
        self.voxels: torch.Tensor = torch.from_numpy(voxels).to(device)
        energy = np.log10(np.maximum(batch.incident_energy, _TINY)).astype(np.float32)
        self.log_energy: torch.Tensor = torch.from_numpy(energy).to(device)
        self.offsets = batch.geometry.layer_offsets

    def __len__(self) -> int:
        return len(self.log_energy)

    def small_energy(self) -> float:
        """A low quantile of the energies of hit voxels, MeV; 1 keV if none is hit."""
        some = self.voxels[:_SOME].cpu().numpy()
        hit = some[some > 0.0]
        return float(np.quantile(hit, _SMALL_QUANTILE)) if len(hit) else 1e-3


class VoxelEncoding:
    r"""Showers to the network's inputs: the form, shifted to zero mean and scaled.

    The voxels have one scale. With them stand :math:`\log_{10} E_\mathrm{inc}` and, for the last two forms,
    :math:`\log_{10} E_k`, :math:`E_k / E_\mathrm{inc}` and :math:`\sum_k E_k / E_\mathrm{inc}` with the layer energies
    :math:`E_k`, each of unit variance: the network need not find sums that are known to a part in a thousand from
    logarithms. The voxels as they are have unit variance on average; in the last two forms, where weak voxels vary as
    much as hot ones, all of them together vary as much as all others together, which they would drown otherwise.

    Args:
        form: Which form.
        small: The energy in MeV at which logarithms bend, :math:`e_0`.
        tables: Showers of both samples from which the scales are found.
        indices: Which of each of them: those of the training, equally many of both.
    """

    def __init__(
        self, form: VoxelForm, small: float, tables: Sequence[ShowerTable], indices: Sequence[Indices]
    ) -> None:
        import torch

        self.form, self.small = form, small
        total: Any = 0.0
        squares: Any = 0.0
        count = 0
        for table, index in zip(tables, indices, strict=True):
            for part in np.array_split(index, max(1, -(-len(index) // _PIECE))):
                raw = self._raw(table, torch.from_numpy(part).to(table.voxels.device)).double()
                total, squares, count = total + raw.sum(dim=0), squares + raw.square().sum(dim=0), count + len(raw)
        mean = total / count
        variance = squares / count - mean.square()
        # What never varies says nothing, and must not be divided by rounding.
        variance[variance <= 1e-10 * (squares / count)] = 0.0
        n_voxels = tables[0].offsets[-1]
        voxels = variance[:n_voxels].mean()
        if form is not VoxelForm.ENERGIES:
            voxels = voxels * n_voxels / (len(variance) - n_voxels)
        variance[:n_voxels] = voxels
        self._mean = mean.float()
        self._scale = torch.where(variance > 0.0, variance.rsqrt(), torch.zeros_like(variance)).float()

    @property
    def size(self) -> int:
        """Number of inputs."""
        return len(self._mean)

    def __call__(self, table: ShowerTable, index: torch.Tensor) -> torch.Tensor:
        """Inputs of some showers, ``(len(index), size)``, single precision."""
        inputs: torch.Tensor = (self._raw(table, index) - self._mean) * self._scale
        return inputs

    def _raw(self, table: ShowerTable, index: torch.Tensor) -> torch.Tensor:
        import torch

        voxels, log_energy = table.voxels[index], table.log_energy[index, None]
        energy = 10.0**log_energy
        if self.form is VoxelForm.ENERGIES:
            return torch.cat([voxels / energy, log_energy], dim=1)
        sizes = [last - first for first, last in zip(table.offsets, table.offsets[1:], strict=False)]
        layers = torch.stack([layer.sum(dim=1) for layer in torch.split(voxels, sizes, dim=1)], dim=1)
        if self.form is VoxelForm.NORMALISED:
            norm = torch.where(layers > 0.0, layers, torch.ones_like(layers))
            seen = voxels / norm.repeat_interleave(torch.tensor(sizes, device=voxels.device), dim=1)
        else:
            seen = torch.log10(1.0 + voxels / self.small)
        response = layers / energy
        known = [torch.log10(layers + _TINY), response, response.sum(dim=1, keepdim=True), log_energy]
        return torch.cat([seen, *known], dim=1)
