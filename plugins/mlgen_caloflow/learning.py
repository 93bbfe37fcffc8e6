"""From training showers to trained flows: layer energies, the teacher, the student."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mlgen.stages import FloatArray, IntArray, Progress, ProgressCallback, TrainingReport
from mlgen.torch_settings import seeded
from mlgen_caloflow.collected import Collected
from mlgen_caloflow.conditions import Particles
from mlgen_caloflow.fitting import Course, fit, planned_steps
from mlgen_caloflow.flows import ShowerFlows, voxel_order
from mlgen_caloflow.settings import CaloFlowSettings
from mlgen_caloflow.stick_breaking import Pieces
from mlgen_caloflow.symmetry import agreeing, symmetries

#: Share of the showers that decides when to stop, and how many at most.
_HELD_OUT, _MOST_HELD_OUT = 0.08, 1500
_VALIDATED_AT_A_TIME = 128
#: Showers by which the coordinates of pieces are standardised, and that symmetries are looked for in: voxels of all.
_VOXELS_LOOKED_AT = 10_000_000


@dataclass(frozen=True, slots=True)
class _Sample:
    """Showers with what the flows need of them, and the orders of the voxels that are images of each other."""

    number: IntArray
    energy: FloatArray
    voxels: npt.NDArray[np.float32]
    layers: FloatArray
    images: npt.NDArray[np.int64]

    def imaged(self, chosen: IntArray, image: IntArray) -> FloatArray:
        """Voxels of the chosen showers, each as one of its images, ``(n, n_voxels)``."""
        return np.take_along_axis(self.voxels[chosen], self.images[image], axis=1).astype(np.float64)


def learn(
    collected: Collected,
    settings: CaloFlowSettings,
    device: torch.device,
    rng: np.random.Generator,
    progress: ProgressCallback,
) -> tuple[ShowerFlows, TrainingReport]:
    """Train all flows.

    Raises:
        mlgen.errors.TrainingError: A loss became infinite or NaN.
    """
    geometry = collected.geometry
    offsets = np.asarray(geometry.layer_offsets[:-1])
    layers = np.add.reduceat(collected.voxels, offsets, axis=1, dtype=np.float64)
    particles = Particles.of(collected.pdg_id, collected.energy, layers.sum(axis=1))
    remarks = list(collected.remarks)
    images: list[IntArray] = symmetries(geometry) if settings.mirrors else [np.arange(geometry.n_voxels)]
    if len(images) > 1:
        groups = np.repeat(np.arange(len(offsets)), np.diff(geometry.layer_offsets))
        images, refused = agreeing(images, collected.voxels[: _VOXELS_LOOKED_AT // geometry.n_voxels], groups)
        remarks += refused
    mean = collected.voxels.mean(axis=0, dtype=np.float64)
    order = voxel_order(geometry, np.mean([mean[image] for image in images], axis=0))
    numbers = particles.numbers(collected.pdg_id)
    sample = _Sample(numbers, collected.energy, collected.voxels, layers, np.stack(images))
    shuffled = rng.permutation(len(numbers))
    held = min(_MOST_HELD_OUT, max(2, int(_HELD_OUT * len(numbers))))
    held_out, training = shuffled[:held], shuffled[held:]
    with seeded(rng, device):
        flows = ShowerFlows(geometry, particles, order, settings).to(device)
        trainer = _Trainer(flows, sample, training, held_out, settings, device, rng, progress)
        courses = {"layers": trainer.layers(), "teacher": trainer.teacher()}
        if flows.student is not None:
            courses["student"] = trainer.student()
    flows.eval()
    figures: dict[str, float | int | str] = {
        "training_showers": len(training),
        "held_out_showers": held,
        "voxels": geometry.n_voxels,
        "images": len(images),
    }
    curves: dict[str, list[float]] = {}
    for name, course in courses.items():
        figures |= {f"{name}_steps": course.steps, f"{name}_held_out_loss": course.best}
        curves |= {f"loss ({name})": course.loss, f"held-out loss ({name})": course.validation_loss}
    if collected.seen > len(collected.energy):
        remarks.append(f"{len(collected.energy):,} of {collected.seen:,} showers were learned from")
    return flows, TrainingReport(figures, curves, tuple(remarks))


class _Trainer:
    def __init__(
        self,
        flows: ShowerFlows,
        sample: _Sample,
        training: IntArray,
        held_out: IntArray,
        settings: CaloFlowSettings,
        device: torch.device,
        rng: np.random.Generator,
        progress: ProgressCallback,
    ) -> None:
        self._flows, self._sample = flows, sample
        self._training, self._held_out = training, held_out
        self._settings, self._device, self._rng, self._progress = settings, device, rng, progress
        self._mixed = _mixed_precision(settings, device)
        passes = [settings.layer_passes, settings.passes]
        if flows.student is not None:
            passes.append(settings.student_passes)
        self._steps_before = 0
        self._all_steps = sum(planned_steps(len(training), each, settings) for each in passes)
        self._looked_at = training[: _VOXELS_LOOKED_AT // sample.voxels.shape[1]]

    def layers(self) -> Course:
        flows, sample = self._flows, self._sample

        def pieces(chosen: IntArray) -> tuple[Pieces, Tensor]:
            return flows.layer_pieces(sample.number[chosen], sample.energy[chosen], sample.layers[chosen])

        flows.layers.standardise(pieces(self._looked_at)[0])

        def loss(chosen: IntArray) -> Tensor:
            broken, given = pieces(chosen)
            return flows.layers.loss(flows.layers.tensors(broken), given)

        return self._fit(flows.layers, loss, loss, self._settings.layer_passes, "loss of layer energies")

    def teacher(self) -> Course:
        flows = self._flows
        flows.teacher.standardise(self._voxel_pieces(self._looked_at, images=False)[0])

        def loss(chosen: IntArray, *, images: bool) -> Tensor:
            broken, given = self._voxel_pieces(chosen, images=images)
            return flows.teacher.loss(flows.teacher.tensors(broken), given)

        return self._fit(
            flows.teacher,
            lambda chosen: loss(chosen, images=True),
            lambda chosen: loss(chosen, images=False),
            self._settings.passes,
            "loss of the teacher",
        )

    def student(self) -> Course:
        teacher, student = self._flows.teacher, self._flows.student
        assert student is not None
        student.standardise_like(teacher)
        teacher.eval()

        def loss(chosen: IntArray, noise: np.random.Generator, *, images: bool) -> Tensor:
            broken, given = self._voxel_pieces(chosen, images=images)
            uniform = teacher.uniforms(broken, given, noise.random(broken.energy.shape))
            numbers = torch.from_numpy(uniform.T.astype(np.float32)).to(self._device)
            return student.loss(teacher.tensors(broken), given, numbers)

        return self._fit(
            student,
            lambda chosen: loss(chosen, self._rng, images=True),
            lambda chosen: loss(chosen, np.random.default_rng(0), images=False),
            self._settings.student_passes,
            "loss of the student",
        )

    def _voxel_pieces(self, chosen: IntArray, *, images: bool) -> tuple[Pieces, Tensor]:
        sample = self._sample
        image = self._rng.integers(0, len(sample.images), len(chosen)) if images else np.zeros(len(chosen), np.int64)
        voxels = sample.imaged(chosen, image)
        return self._flows.voxel_pieces(sample.number[chosen], sample.energy[chosen], voxels)

    def _fit(
        self,
        network: nn.Module,
        loss: Callable[[IntArray], Tensor],
        held_out_loss: Callable[[IntArray], Tensor],
        passes: float,
        figure: str,
    ) -> Course:
        def training_loss(places: IntArray) -> Tensor:
            with self._precision():
                return loss(self._training[places])

        def validate() -> float:
            parts = np.array_split(self._held_out, -(-len(self._held_out) // _VALIDATED_AT_A_TIME))
            with self._precision():
                return float(np.average([held_out_loss(part).item() for part in parts], weights=list(map(len, parts))))

        def report(done: int, value: float) -> None:
            self._progress(Progress(self._steps_before + done, self._all_steps, figure, value))

        showers = len(self._training)
        course = fit(network, training_loss, validate, showers, passes, self._settings, self._rng, report)
        planned = planned_steps(showers, passes, self._settings)
        if course.steps < planned:
            # It stopped early: the steps that are left will not be taken.
            report(planned, course.loss[-1] if course.loss else float("nan"))
        self._steps_before += planned
        return course

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._mixed):
            yield


def _mixed_precision(settings: CaloFlowSettings, device: torch.device) -> bool:
    if settings.precision != "auto":
        return settings.precision == "mixed"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
