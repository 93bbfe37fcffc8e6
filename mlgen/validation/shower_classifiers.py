"""Low-level classifiers: can a network that sees every voxel tell showers of a sample from those of the reference?

An area under the ROC curve (AUC) of 0.5 means that it cannot, 1 that it always can. For use with two batches of
showers::

    from mlgen.validation.shower_classifiers import low_level_auc, low_level_aucs

    measure = low_level_auc(geant4, surrogate, seeds=3, normalised=False)     # energies as they are
    measure = low_level_auc(geant4, surrogate, seeds=3, normalised=True)      # each layer over its energy
    print(measure.value, measure.error, measure.floor, measure.floor_error, measure.p_value, measure.note)

    measures = low_level_aucs(geant4, surrogate)     # all forms, the strongest first: what a surrogate is judged by

``geant4`` and ``surrogate`` are `mlgen.showers.ShowerBatch` of the same geometry, with neither of which the surrogate
was trained. Equally many of both are used, in the order in which they are: shower i of both always is in the same part,
so a surrogate that was asked for the incident energies of the reference, in its order, is judged by its showers alone.
60 % of the showers train the network, 20 % say which epoch is kept, 20 % are judged (`VoxelNetworkSettings` has these
shares; with them, 16,667 of each train on 10,000 of each kind). The floor is the same network on two halves of the
reference, each as large as the samples are if there are twice as many showers in the reference, else as large as can
be. Its expectation is 0.5 whatever the number of showers, since no shower is judged that was trained on.

References:
    CaloFlow: Krause and Shih, arXiv:2106.05285, sec. IV C (network of 3 layers of 512; voxels with and without
    normalised layers); CaloChallenge: arXiv:2410.21611, and ``evaluate.py`` of its public evaluation code (split,
    selection of the epoch, inputs).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError
from mlgen.showers import ShowerBatch
from mlgen.stages import Progress, ProgressCallback, no_progress
from mlgen.threads import one_thread
from mlgen.validation.auc import Auc, weighted_auc
from mlgen.validation.record import Measure
from mlgen.validation.settings import VoxelNetworkSettings
from mlgen.validation.shower_features import check_comparable
from mlgen.validation.voxel_encoding import ShowerTable, VoxelEncoding, VoxelForm
from mlgen.validation.voxel_network import train_voxel_network

if TYPE_CHECKING:
    import torch

#: Showers of each sample below which nothing is trained: 40 would be judged, the error of the AUC were 0.06.
FEWEST_SHOWERS = 200
_NETWORK = VoxelNetworkSettings()
FORMS = tuple(VoxelForm)


@dataclass(frozen=True, slots=True)
class LowLevelAuc:
    """The AUC of one form of the voxels.

    Args:
        measure: The AUC beside its floor.
        form: What the network sees.
        seed_values: AUC of each training.
    """

    measure: Measure
    form: VoxelForm
    seed_values: tuple[float, ...]


def low_level_auc(
    reference: ShowerBatch,
    sample: ShowerBatch,
    seeds: int | Iterable[int] = 3,
    *,
    normalised: bool = False,
    form: VoxelForm | None = None,
    threshold: float = 0.0,
    network: VoxelNetworkSettings = _NETWORK,
    floor_seeds: int | None = None,
    device: str = "auto",
    progress: ProgressCallback = no_progress,
) -> Measure:
    """Train a network on all voxels to tell a sample from the reference, several times.

    Args:
        reference: The reference; the numbers of showers may differ, the smaller one is used of both.
        sample: The sample, of the same voxels.
        seeds: The seeds, or how many. The showers that are judged are chosen by the first and are those of all; the
            others say which showers train, with which initial parameters and in which order.
        normalised: Whether each layer's voxels are divided by the layer's energy, which is given beside them.
        form: What the network sees; None, as `normalised` says.
        threshold: Voxel energies up to this, in MeV, count as zero, in both.
        network: The network and its training.
        floor_seeds: Trainings for the floor; None, as many as for the measure; 0, no floor.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...; ``auto``, a GPU where there is one.
        progress: Called after each training with its AUC; after one for the null floor with the largest one so far.

    Returns:
        Mean AUC of the seeds. Its error has two parts, which `Measure.note` tells: that of the showers that are judged
        (DeLong), and the spread of the seeds over the root of their number. The p-value is that of a mean AUC above
        0.5 by the first part, since without a difference all trainings are as good as any.

    Raises:
        UserError: A sample has fewer than 200 showers, or they have different voxels.
        TrainingError: The device is not there.
    """
    chosen = form if form is not None else VoxelForm.NORMALISED if normalised else VoxelForm.ENERGIES
    (found,) = low_level_aucs(
        reference,
        sample,
        seeds,
        forms=[chosen],
        threshold=threshold,
        network=network,
        floor_seeds=floor_seeds,
        device=device,
        progress=progress,
    )
    return found.measure


def low_level_aucs(
    reference: ShowerBatch,
    sample: ShowerBatch,
    seeds: int | Iterable[int] = 3,
    *,
    forms: Sequence[VoxelForm] = FORMS,
    threshold: float = 0.0,
    network: VoxelNetworkSettings = _NETWORK,
    floor_seeds: int | None = None,
    device: str = "auto",
    progress: ProgressCallback = no_progress,
) -> tuple[LowLevelAuc, ...]:
    """`low_level_auc` for several forms, the one with the largest AUC first; arguments and errors as there."""
    import torch  # noqa: F401  # before the limit of the threads, which holds for what is loaded

    from mlgen.torch_settings import device_for

    check_comparable(reference, sample)
    several = list(range(1, seeds + 1)) if isinstance(seeds, int) else list(seeds)
    if not several:
        raise UserError("low-level classifier: no seed was given; at least one training is needed")
    n = min(len(reference), len(sample))
    if n < FEWEST_SHOWERS:
        raise UserError(
            f"low-level classifier: {FEWEST_SHOWERS} showers of each sample are needed; the reference has "
            f"{len(reference)}, the sample {len(sample)}"
        )
    for_floor = several[: len(several) if floor_seeds is None else floor_seeds]
    half = min(len(reference) // 2, n)
    torch_device = device_for(device)
    total = len(forms) * (len(several) + (len(for_floor) if half >= FEWEST_SHOWERS else 0))
    done = 0
    results = []
    with one_thread():
        tables = [ShowerTable(batch, threshold, torch_device) for batch in (reference, sample)]
        pairs = [_Pair(tables[0], tables[1], np.arange(n), np.arange(n))]
        if half >= FEWEST_SHOWERS and for_floor:
            shuffled = np.random.default_rng(several[0]).permutation(len(reference))
            pairs.append(_Pair(tables[0], tables[0], shuffled[:half], shuffled[half : 2 * half]))
        # Of both: a sample with weak voxels that the reference has not must not hide them.
        small = threshold if threshold > 0.0 else min(table.small_energy() for table in tables)
        largest = 0.0
        for form in forms:
            areas: list[list[Auc]] = []
            for pair, trainings in zip(pairs, (several, for_floor), strict=False):
                areas.append([])
                for seed in trainings:
                    areas[-1].append(_train(pair, form, small, several[0], seed, network, torch_device))
                    done += 1
                    # While the null floor is trained, the AUC of the sample stays in sight.
                    told = areas[-1][-1].value if len(areas) == 1 else largest
                    progress(Progress(done, total, "AUC", told))
                if len(areas) == 1:
                    largest = max(largest, float(np.mean([area.value for area in areas[0]])))
            results.append(_result(form, areas, n, half, network.training_share))
    return tuple(sorted(results, key=lambda result: -result.measure.value))


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two samples, and which of their showers are used: equally many."""

    first: ShowerTable
    second: ShowerTable
    of_first: npt.NDArray[np.intp]
    of_second: npt.NDArray[np.intp]


def _train(
    pair: _Pair,
    form: VoxelForm,
    small: float,
    first_seed: int,
    seed: int,
    network: VoxelNetworkSettings,
    device: torch.device,
) -> Auc:
    import torch

    n = len(pair.of_first)
    order = np.random.default_rng([first_seed, 0]).permutation(n)
    judged_from = round((network.training_share + network.validation_share) * n)
    judged, others = order[judged_from:], np.random.default_rng([seed, 1]).permutation(order[:judged_from])
    training, validation = np.split(others, [round(network.training_share * n)])
    index = [torch.from_numpy(of).to(device) for of in (pair.of_first, pair.of_second)]
    encoding = VoxelEncoding(
        form, small, (pair.first, pair.second), (pair.of_first[training], pair.of_second[training])
    )

    def inputs(of_reference: bool, chosen: torch.Tensor) -> torch.Tensor:
        return encoding(pair.first, index[0][chosen]) if of_reference else encoding(pair.second, index[1][chosen])

    logits = train_voxel_network(inputs, encoding.size, training, validation, network, seed=seed, device=device)
    of_reference, of_sample = logits(judged)
    return weighted_auc(
        np.concatenate([of_reference, of_sample]),
        np.arange(2 * len(judged)) < len(judged),
        np.ones(2 * len(judged)),
    )


def _result(form: VoxelForm, areas: list[list[Auc]], n: int, half: int, share: float) -> LowLevelAuc:
    from scipy.stats import norm

    values = [area.value for area in areas[0]]
    value, statistical, spread = _mean(areas[0])
    floor, floor_statistical, floor_spread = _mean(areas[1]) if len(areas) > 1 else (np.nan, np.nan, np.nan)
    note = f"mean of {len(values)} seed{'s' if len(values) > 1 else ''}"
    if len(values) > 1:
        note += f", from {min(values):.4f} to {max(values):.4f}"
    note += f"; error {statistical:.2g} of the showers judged"
    if len(values) > 1:
        note += f", {spread:.1g} of the seeds"
    note += f"; trained on {round(share * n):,} showers of each"
    if len(areas) > 1 and half < n:
        note += f", {round(share * half):,} for the floor"
    measure = Measure(
        name=f"AUC, {label(form)}",
        value=value,
        error=float(np.hypot(statistical, spread)),
        floor=floor,
        floor_error=float(np.hypot(floor_statistical, floor_spread)),
        p_value=float(norm.sf((value - 0.5) / statistical)) if statistical > 0.0 else float(value <= 0.5),
        events=n,
        note=note,
    )
    return LowLevelAuc(measure, form, tuple(values))


def label(form: VoxelForm) -> str:
    """What the classifier of a form is called: ``low-level voxels``."""
    return f"low-level {form.value}"


def _mean(areas: Sequence[Auc]) -> tuple[float, float, float]:
    """Mean AUC of the seeds, its error from the showers that are judged, and its error from the seeds."""
    values = np.array([area.value for area in areas])
    spread = float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    return float(values.mean()), float(np.mean([area.error for area in areas])), spread
