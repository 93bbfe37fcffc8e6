r"""Observables of calorimeter showers: the high-level features of the CaloChallenge and of the CaloGAN.

With voxel energies :math:`e_v` and voxel centres :math:`(x_v, y_v)`, in each layer

.. math::
    \langle x \rangle = \frac{\sum_v e_v x_v}{\sum_v e_v}, \qquad
    \sigma_x = \sqrt{\langle x^2 \rangle - \langle x \rangle^2}, \qquad
    E_\mathrm{ratio} = \frac{e_{(1)} - e_{(2)}}{e_{(1)} + e_{(2)}}

with the hottest and second-hottest voxel :math:`e_{(1)}, e_{(2)}`, and the depth :math:`\sum_k k E_k / \sum_k E_k` from
the energies :math:`E_k` of the layers, counted from 0. A layer of rings around the axis, without angular slices, has
its mean radius and width in radius in place of those in x and y. Where no energy was deposited there is no centre,
width or ratio: NaN. The CaloChallenge's sparsity is one less the share of voxels that are hit; here it is their number.

The CaloChallenge's evaluation looks at energies, centres, widths and sparsity of every layer; 45 layers would be 360
observables, most of which say the same as their neighbours. Where a calorimeter has more than `MAX_SECTIONS` layers,
groups of consecutive layers are looked at, projected along the axis, as few in a group as needed (45 layers: 9 groups
of 5); depth, its width and the layer of the maximum still tell all layers apart.

References:
    CaloChallenge: arXiv:2410.21611, and ``HighLevelFeatures.py`` of its public evaluation code;
    CaloGAN: arXiv:1705.02355, sec. 5.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError
from mlgen.showers import Geometry, PolarLayer, ShowerBatch
from mlgen.validation.observable import FloatArray, Kind, Observable, Values
from mlgen.validation.settings import ValidationSettings

#: More layers than this are looked at in groups.
MAX_SECTIONS = 10
#: A voxel with more energy than this, in MeV, counts as hit, as in the CaloChallenge's features.
HIT_THRESHOLD = 0.0
#: What the CaloChallenge's evaluation takes as the smallest energy read out in datasets 2 and 3, MeV (15.15 keV):
#: 0.5 keV in the active material over the sampling fraction of 0.033. To be given as threshold where noise below it
#: shall not count.
READOUT_THRESHOLD = 0.5e-3 / 0.033
#: A variance below this share of the mean square is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class _Section:
    """Consecutive layers that are looked at together.

    Args:
        name: ``layer 1``, ``layers 0-4``.
        voxels: Which voxels are in it.
        coordinates: Names of the coordinates that its centre and width are given in.
        moments: ``(voxels, 1 + 2 coordinates)``: what the voxel energies are multiplied by to get the energy, the first
            and the second moments.
    """

    name: str
    voxels: slice
    coordinates: tuple[str, ...]
    moments: FloatArray

    @property
    def n_voxels(self) -> int:
        return len(self.moments)

    @property
    def has_ratio(self) -> bool:
        return self.n_voxels > 1


def choose_shower_observables(
    geometry: Geometry,
    settings: ValidationSettings,
    pilots: Sequence[Sequence[ShowerBatch]] = (),
    *,
    hit_threshold: float = HIT_THRESHOLD,
) -> ShowerObservables:
    """Choose the observables of showers in a calorimeter.

    Args:
        geometry: Of all samples.
        settings: Which observables are wanted (``only``, ``leave_out``).
        pilots: The first batches of each sample. What none of them has (the centre of a layer that no shower reaches)
            is left out.
        hit_threshold: Energy in MeV above which a voxel counts as hit.

    Raises:
        UserError: A pilot has other voxels, no observable is left, or the settings hold expressions, which are for
            events.
    """
    for setting in ("observables", "select"):
        if getattr(settings, setting):
            raise UserError(
                f"[validation] {setting}: expressions are for events; showers have a fixed set of observables, of "
                "which 'only' and 'leave_out' choose"
            )
    batches = [batch for pilot in pilots for batch in pilot if len(batch)]
    for pilot in batches:
        if pilot.geometry.layers != geometry.layers:
            raise UserError(
                f"the samples are of different calorimeters: {_described(geometry)}, and {_described(pilot.geometry)}; "
                "their showers cannot be compared"
            )
    everything = ShowerObservables(geometry, hit_threshold=hit_threshold)
    known = [observable.name for observable in everything.definitions]
    empty = _in_no_pilot(everything, batches)
    chosen = [
        index
        for index, name in enumerate(known)
        if (not settings.only or _matches(name, settings.only))
        and not _matches(name, settings.leave_out)
        and index not in empty
    ]
    if not chosen:
        raise UserError(
            "[validation] only, leave_out: no observable is left; for these showers there are: "
            + ", ".join(name for index, name in enumerate(known) if index not in empty)
        )
    return ShowerObservables(geometry, hit_threshold=hit_threshold, chosen=chosen)


class ShowerObservables:
    """Observables of showers in one calorimeter; a `mlgen.validation.observable.ObservableSet` of `ShowerBatch`.

    Args:
        geometry: The calorimeter.
        hit_threshold: Energy in MeV above which a voxel counts as hit.
        chosen: Indices of the observables that are wanted, ascending; None for all.
        max_sections: Layers that are looked at one by one; more are grouped.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        hit_threshold: float = HIT_THRESHOLD,
        chosen: Sequence[int] | None = None,
        max_sections: int = MAX_SECTIONS,
    ) -> None:
        self._geometry, self._hit_threshold = geometry, hit_threshold
        self._sections = list(_sections(geometry, max_sections))
        known = [*_global_definitions(len(geometry.layers)), *_section_definitions(self._sections)]
        self._total = len(known)
        self._chosen = list(range(len(known)) if chosen is None else chosen)
        self._definitions = tuple(known[index] for index in self._chosen)

    @property
    def definitions(self) -> tuple[Observable, ...]:
        """The observables, in the order of the rows that a call gives."""
        return self._definitions

    @property
    def remarks(self) -> tuple[str, ...]:
        """Nothing but the observables themselves."""
        return ()

    def __call__(self, batch: ShowerBatch) -> Values:
        """Compute all of them.

        Raises:
            UserError: The batch has other voxels.
        """
        if batch.voxels.shape != (len(batch), self._geometry.n_voxels):
            raise UserError(f"voxels of shape {batch.voxels.shape} do not fit {_described(self._geometry)}")
        rows = np.empty((self._total, len(batch)))
        for index, row in enumerate(self._rows(batch)):
            rows[index] = row
        values = rows if len(self._chosen) == self._total else rows[self._chosen]
        return Values(values, np.arange(len(batch)))

    def _rows(self, batch: ShowerBatch) -> Iterator[FloatArray | npt.NDArray[np.int64]]:
        """The observables one by one, each ``(n,)``, in the order of `_global_definitions`, `_section_definitions`."""
        offsets = self._geometry.layer_offsets[:-1]
        layers = np.add.reduceat(batch.voxels, offsets, axis=1)
        hits = np.add.reduceat((batch.voxels > self._hit_threshold).view(np.uint8), offsets, axis=1, dtype=np.int64)
        total = layers.sum(axis=1)
        yield _ratio(total, batch.incident_energy)
        yield batch.incident_energy
        yield total
        yield hits.sum(axis=1)
        if len(offsets) > 1:
            number = np.arange(len(offsets), dtype=np.float64)
            depth = _ratio(layers @ number, total)
            yield depth
            yield _width(_ratio(layers @ number**2, total), depth)
            yield np.where(total > 0, layers.argmax(axis=1), np.nan)
        for section in self._sections:
            voxels = batch.voxels[:, section.voxels]
            moments = (voxels @ section.moments).T
            energy, n = moments[0], len(section.coordinates)
            yield energy
            yield _ratio(energy, total)
            means = [_ratio(moment, energy) for moment in moments[1 : 1 + n]]
            yield from means
            for mean, moment in zip(means, moments[1 + n :], strict=True):
                yield _width(_ratio(moment, energy), mean)
            first, last = np.searchsorted(offsets, [section.voxels.start, section.voxels.stop])
            yield hits[:, first:last].sum(axis=1)
            if section.has_ratio:
                yield _energy_ratio(voxels)


def _sections(geometry: Geometry, max_sections: int) -> Iterator[_Section]:
    offsets = geometry.layer_offsets
    n_layers = len(geometry.layers)
    size = math.ceil(n_layers / max_sections)
    for first in range(0, n_layers, size):
        layers = geometry.layers[first : first + size]
        if all(isinstance(layer, PolarLayer) and layer.n_angular == 1 for layer in layers):
            names: tuple[str, ...] = ("r",)
            coordinates = np.concatenate([layer.radii for layer in layers])[:, None]
        else:
            names = ("x", "y")
            coordinates = np.concatenate([layer.centres for layer in layers])
        moments = np.concatenate([np.ones((len(coordinates), 1)), coordinates, coordinates**2], axis=1)
        ids = [layer.layer_id for layer in layers]
        name = f"layer {ids[0]}" if len(ids) == 1 else f"layers {ids[0]}-{ids[-1]}"
        yield _Section(name, slice(offsets[first], offsets[first + len(layers)]), names, moments)


def _global_definitions(n_layers: int) -> Iterator[Observable]:
    yield Observable("E_total / E_inc", r"$E_\mathrm{total} / E_\mathrm{inc}$", group="energy")
    # What was asked for, not what came out: where it differs, the samples are not comparable.
    yield Observable("E_inc", r"$E_\mathrm{inc}$", "MeV", group="energy")
    # The sum of the layers, and the sum of their hits: the classifier sees those.
    yield Observable("E_total", r"$E_\mathrm{total}$", "MeV", group="energy", log=True, feature=False)
    yield Observable("hits", "voxels hit", kind=Kind.INTEGER, group="energy", feature=False)
    if n_layers > 1:
        yield Observable("depth", "depth (layer, counted from 0)", group="depth")
        yield Observable("depth width", r"$\sigma_\mathrm{depth}$ (layers)", group="depth")
        label = "layer of most energy (counted from 0)"
        yield Observable("layer of most energy", label, kind=Kind.INTEGER, group="depth")


def _section_definitions(sections: Sequence[_Section]) -> Iterator[Observable]:
    for section in sections:
        where, group = f"({section.name})", section.name
        yield Observable(f"E{where}", f"$E$ {where}", "MeV", group=group, log=True)
        # Known from the layer energies; all fractions together sum to one.
        yield Observable(f"fraction{where}", rf"$E / E_\mathrm{{total}}$ {where}", group=group, feature=False)
        for axis in section.coordinates:
            label = rf"$\langle {axis} \rangle$ {where}"
            yield Observable(f"centre {axis}{where}", label, "mm", group=group)
        for axis in section.coordinates:
            yield Observable(f"width {axis}{where}", rf"$\sigma_{axis}$ {where}", "mm", group=group)
        yield Observable(f"hits{where}", f"voxels hit {where}", kind=Kind.INTEGER, group=group)
        if section.has_ratio:
            yield Observable(f"E_ratio{where}", rf"$E_\mathrm{{ratio}}$ {where}", group=group)


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """``above / below``, NaN where `below` is not positive."""
    ratio = np.full(len(below), np.nan)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def _width(mean_square: FloatArray, mean: FloatArray) -> FloatArray:
    variance = mean_square - mean**2
    return np.asarray(np.sqrt(np.where(variance < _ROUNDING * mean_square, 0.0, variance)))


def _energy_ratio(voxels: FloatArray) -> FloatArray:
    # Several times as fast as a partition.
    rest, row = voxels.copy(), np.arange(len(voxels))
    place = voxels.argmax(axis=1)
    hottest = voxels[row, place]
    rest[row, place] = 0.0
    second = rest.max(axis=1)
    return _ratio(hottest - second, hottest + second)


def _in_no_pilot(observables: ShowerObservables, pilots: Sequence[ShowerBatch]) -> set[int]:
    if not pilots:
        return set()
    known = np.any([~np.isnan(observables(pilot).values).all(axis=1) for pilot in pilots], axis=0)
    return set(np.flatnonzero(~known).tolist())


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _described(geometry: Geometry) -> str:
    return f"{len(geometry.layers)} layers with {geometry.n_voxels:,} voxels"
