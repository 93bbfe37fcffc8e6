"""Trained amplitudes: reused for the same matrix elements and settings, trained when they are not there yet."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mlgen.amplitudes.accuracy import AmplitudeAccuracy, accuracy
from mlgen.amplitudes.checks import FEWEST_POINTS, check_momenta, check_training
from mlgen.amplitudes.domain import Domain
from mlgen.amplitudes.figures import accuracy_figures
from mlgen.amplitudes.model import REFERENCE_ALPHA_S, AmplitudeModel, AmplitudePart
from mlgen.amplitudes.points_file import read_points
from mlgen.card import AmplitudeSection
from mlgen.chain.amplitude_points import DrawnPoints, distinct_elements, draw_points
from mlgen.chain.candidates import CandidateSource
from mlgen.chain.models import ADVICE, finished_model, loaded_model, make_parent, record_of_settings
from mlgen.chain.plan import Plan, PlannedStage
from mlgen.chain.process_source import process_differences, process_digest
from mlgen.chain.report import StageResult
from mlgen.digests import sha256_of_files
from mlgen.errors import CardError, ModelError, ProcessError, TrainingError
from mlgen.hard_process.amplitude_process import amplitude_process
from mlgen.hard_process.diagrams import coupling_orders, spell
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen.plugin_errors import plugin_errors
from mlgen.plugins import plugin_manager
from mlgen.seeds import Work, random_generator
from mlgen.stages import (
    Amplitude,
    AmplitudeProcess,
    AmplitudeSurrogate,
    FloatArray,
    ProgressCallback,
    Reporter,
    TrainingReport,
)
from mlgen.store import TrainedOn

if TYPE_CHECKING:
    from mlgen.hard_process.hard_process import HardProcess

#: What of a process's fingerprint defines |M|^2. The rest says where it is needed, and the region of the training
#: tells whether it is known there.
_DEFINES_AMPLITUDE = ("subprocesses", "parameters", "matrix_element")
#: Keys of the section that say how training points came about; of a file, its content does.
_POINT_KEYS = ("points", "draw", "momenta", "values", "alpha_s", "test_points", "outside_share")
#: Of a file, the largest part that is held out of the training.
_MOST_HELD_OUT = 0.2
#: True values and predictions of test points.
Measured = tuple[FloatArray, Amplitude]
#: Share of a Gaussian within one standard deviation, and how far that of the pulls may be off without a remark.
_ONE_SIGMA, _COVERAGE_TOLERANCE = 0.6827, 0.1
#: Median of |Delta| above which a surrogate cannot be called one.
_UNLEARNED = 0.3


@dataclass(frozen=True, slots=True)
class _Task:
    """One matrix element that is to be learned, with all its points."""

    process: AmplitudeProcess
    subprocesses: tuple[tuple[int, ...], ...]
    points: DrawnPoints
    alpha_s: float
    power: int

    @property
    def name(self) -> str:
        return spell(Subprocess.of(self.process.pdg_ids))


def trained_amplitude(
    plan: Plan, stage: PlannedStage, source: CandidateSource | None, reporter: Reporter
) -> tuple[AmplitudeModel, StageResult]:
    """Return the amplitude of a card, trained, with what is to be said of it.

    Args:
        plan: The plan.
        stage: The surrogate's part of it.
        source: Draws points of the card's process; None where there is a file of points alone.
        reporter: Where progress goes.

    Raises:
        ModelError: A model is there, but was trained for other matrix elements, on other points or with other settings.
        TrainingError: The points do not allow it.
    """
    if stage.model is not None and stage.trained and not plan.retrain:
        return _reused(plan, stage, stage.model, None if source is None else source.process)
    return _trained(plan, stage, source, reporter)


def _section(plan: Plan) -> AmplitudeSection:
    return cast(AmplitudeSection, plan.card.model.amplitude)


def _reused(
    plan: Plan, stage: PlannedStage, folder: Path, process: HardProcess | None
) -> tuple[AmplitudeModel, StageResult]:
    trained_on = record_of_settings(stage, folder).trained_on
    section = _section(plan)
    said = section.model_dump(mode="json", include=set(_POINT_KEYS) & section.model_fields_set)
    for key, value in said.items():
        if key in trained_on.points and trained_on.points[key] != value:
            raise ModelError(
                f"{folder}: the model there was trained with {key} = {trained_on.points[key]}, the card says {value}"
                f"\n{ADVICE}"
            )
    drawn = [key for key in ("points", "draw") if key in said]
    if drawn and "file" in trained_on.points:
        raise ModelError(
            f"{folder}: the model there was trained on the file {trained_on.points['file']}, the card says "
            f"{' and '.join(f'{key} = {said[key]}' for key in drawn)}\n{ADVICE}"
        )
    if section.file is not None and (digest := sha256_of_files([plan.card.path(section.file)])) != trained_on.sha256:
        raise ModelError(
            f"{folder}: the model there was trained on other points: {trained_on.source} (SHA-256 "
            f"{trained_on.sha256[:12]}), the file now is {section.file} ({digest[:12]})\n{ADVICE}"
        )
    if process is not None and trained_on.process:
        before, now = (_amplitude_fingerprint(content) for content in (trained_on.process, process.fingerprint))
        if entries := process_differences(before, now):
            raise ModelError(
                f"{folder}: the model there was trained for other matrix elements ({trained_on.source}); the card "
                f"({process.settings.reaction}) differs in"
                + "".join(f"\n  {entry}" for entry in entries)
                + f"\n{ADVICE}"
            )
    stored, result = loaded_model(stage, folder, AmplitudeModel.restored)
    model = cast(AmplitudeModel, stored.implementation)
    if process is None:
        return model, result
    for subprocess in process.subprocesses:
        try:
            part, order = model.find(subprocess.pdg_ids)
        except ProcessError as error:
            raise ModelError(f"{folder}: {error}\n{ADVICE}") from error
        masses = np.array([process.parameters.mass_of(subprocess.pdg_ids[slot]) for slot in order])
        # Of a file of points, masses are known no better than its momenta.
        if not np.allclose(part.process.masses, masses, rtol=1e-3, atol=0):
            raise ModelError(
                f"{folder}: the model there was trained for particles with masses of {_listed(part.process.masses)} "
                f"GeV, and those of {spell(subprocess)} are {_listed(masses)} GeV\n{ADVICE}"
            )
    if elsewhere := process_differences(_region(trained_on.process), _region(process.fingerprint)):
        remark = (
            f"the surrogate was trained with other cuts, beams or densities ({'; '.join(elsewhere)}); the region that "
            "it was trained in is what counts"
        )
        result = dataclasses.replace(result, remarks=(*result.remarks, remark))
    return model, result


def _trained(
    plan: Plan, stage: PlannedStage, source: CandidateSource | None, reporter: Reporter
) -> tuple[AmplitudeModel, StageResult]:
    section = _section(plan)
    if stage.model is not None:
        make_parent(stage.model)
    if section.file is not None:
        tasks, trained_on, remarks = _tasks_of_file(plan, section, None if source is None else source.process)
    else:
        tasks, trained_on, remarks = _tasks_of_process(plan, section, cast(CandidateSource, source), reporter)
    parts, measured, reports = [], [], []
    for number, task in enumerate(tasks):
        title = f"training {stage.name}" + (f", {task.name}" if len(tasks) > 1 else "")
        with reporter(title) as progress:
            part, own, predicted = _learned(plan, stage, task, number, progress)
        parts.append(part)
        reports.append(own)
        measured.append(predicted)
    truth = np.concatenate([values for values, _ in measured])
    tested = accuracy(truth, _joined([prediction for _, prediction in measured]))
    report = _joined_report(tasks, reports, measured, tested, remarks)
    model = AmplitudeModel(stage.settings, parts)
    # Pictures are for the report in the model folder.
    figures = accuracy_figures(tested) if stage.model is not None else ()
    kept, result = finished_model(
        plan, stage, model, trained_on, report, restore=AmplitudeModel.restored, figures=figures
    )
    return cast(AmplitudeModel, kept), result


def _tasks_of_process(
    plan: Plan, section: AmplitudeSection, source: CandidateSource, reporter: Reporter
) -> tuple[list[_Task], TrainedOn, tuple[str, ...]]:
    process = source.process
    wanted = section.points + section.test_points
    with reporter("drawing training points") as progress:
        drawn = draw_points(source, wanted, section.draw, plan.card.model.run.seed, progress)
    power, _ = process.reaction.coupling_orders
    tasks = [
        _Task(
            process.amplitude_process(members[0]),
            tuple(process.subprocesses[number].pdg_ids for number in members),
            points,
            REFERENCE_ALPHA_S,
            power,
        )
        for (_, members), points in zip(distinct_elements(process), drawn, strict=True)
    ]
    points = section.model_dump(mode="json", include={"points", "draw", "test_points", "outside_share"})
    trained_on = TrainedOn(
        process.settings.reaction,
        process_digest(process.fingerprint),
        section.points * len(tasks),
        process.fingerprint,
        points=points,
    )
    return tasks, trained_on, ()


def _tasks_of_file(
    plan: Plan, section: AmplitudeSection, process: HardProcess | None
) -> tuple[list[_Task], TrainedOn, tuple[str, ...]]:
    path = plan.card.path(cast(str, section.file))
    read = read_points(path, momenta_key=section.momenta, values_key=section.values)
    if process is not None:
        if len(process.subprocesses) > 1:
            raise CardError(
                f"{plan.card.place('amplitude', 'file')}: [amplitude] file: {section.file} has points of one "
                f"subprocess, and {process.settings.reaction} has {len(process.subprocesses)}; leave it "
                "out, and points are drawn"
            )
        subprocess, parameters = process.subprocesses[0], process.parameters
        if read.pdg_ids is not None and read.pdg_ids != subprocess.pdg_ids:
            raise TrainingError(
                f"{path}: the points are of {spell(Subprocess.of(read.pdg_ids))} (PDG ids {list(read.pdg_ids)}), the "
                f"card's process is {spell(subprocess)} ({list(subprocess.pdg_ids)})"
            )
    elif read.pdg_ids is None:
        raise TrainingError(
            f"{path}: the file does not say which particles it has; give it their PDG ids (an array 'pdg_ids', or the "
            "line '# pdg: 21 21 6 -6 21'), or the card a [process]"
        )
    else:
        subprocess, parameters = Subprocess.of(read.pdg_ids), ModelParameters()
    amplitude = amplitude_process(subprocess, parameters)
    orders = coupling_orders(subprocess, parameters)
    if orders is None:
        raise TrainingError(f"{path}: {spell(subprocess)} has no diagram at tree level in the Standard Model")
    amplitude = _with_masses_of(amplitude, read.momenta) if process is None else amplitude
    check_training(read.momenta, read.values, amplitude)
    order = random_generator(plan.card.model.run.seed, Work.DRAW_TRAINING_POINTS).permutation(len(read.values))
    points = DrawnPoints(check_momenta(read.momenta, amplitude)[order], read.values[order])
    task = _Task(amplitude, (subprocess.pdg_ids,), points, section.alpha_s, orders[0])
    used = section.model_dump(
        mode="json", include={"file", "momenta", "values", "alpha_s", "test_points", "outside_share"}
    )
    fingerprint = {} if process is None else process.fingerprint
    trained_on = TrainedOn(path.name, sha256_of_files([path]), len(read.values), fingerprint, points=used)
    return [task], trained_on, read.remarks


def _learned(
    plan: Plan, stage: PlannedStage, task: _Task, number: int, progress: ProgressCallback
) -> tuple[AmplitudePart, TrainingReport, Measured]:
    """Train on a part of the points and test on the rest."""
    section = _section(plan)
    momenta, values = task.points.momenta, task.points.values
    test = section.test_points
    if section.file is not None:
        test = min(test, int(_MOST_HELD_OUT * len(values)))
    if test < FEWEST_POINTS // 2 or len(values) - test < FEWEST_POINTS:
        raise TrainingError(
            f"{task.name}: {len(values)} points are too few to train with and to test on {test} of them; "
            f"{FEWEST_POINTS} to train and {FEWEST_POINTS // 2} to test at least are needed (a file gives "
            f"{_MOST_HELD_OUT:.0%} of its points for the test), better 10,000"
        )
    surrogate = cast(AmplitudeSurrogate, plugin_manager().create(stage.registered, stage.settings))
    rng = random_generator(plan.card.model.run.seed, Work.TRAIN_AMPLITUDE, number)
    with plugin_errors(stage.registered):
        report = surrogate.train(task.process, momenta[test:], values[test:], rng, progress)
    domain = Domain.fit(task.process, momenta[test:], momenta[:test], quantile=section.outside_share)
    part = AmplitudePart(task.process, task.subprocesses, surrogate, domain, task.alpha_s, task.power, stage.registered)
    predicted = part.predict(momenta[:test], np.full(test, task.alpha_s))
    return part, report, (values[:test], predicted)


def _joined(predictions: Sequence[Amplitude]) -> Amplitude:
    names = ("value", "systematic", "statistical")
    return Amplitude(*(np.concatenate([getattr(each, name) for each in predictions]) for name in names))


def _joined_report(
    tasks: Sequence[_Task],
    reports: Sequence[TrainingReport],
    measured: Sequence[Measured],
    tested: AmplitudeAccuracy,
    remarks: tuple[str, ...],
) -> TrainingReport:
    """One report for all matrix elements: what was measured of all test points, and each training by itself."""
    figures: dict[str, float | int | str] = dict(tested.figures())
    if len(tasks) == 1:
        (report,) = reports
        return TrainingReport(
            {**figures, **report.figures}, report.curves, (*remarks, *report.remarks, *_doubts(tested, ""))
        )
    curves: dict[str, list[float]] = {}
    said = list(remarks)
    for number, (task, report, (truth, prediction)) in enumerate(zip(tasks, reports, measured, strict=True)):
        own = accuracy(truth, prediction)
        figures[f"median_absolute_delta_of_{task.name}"] = own.median_absolute_delta
        curves |= {f"{name}.{number}": list(curve) for name, curve in report.curves.items()}
        said += [f"{task.name}: {remark}" for remark in report.remarks]
        said += _doubts(own, f"{task.name}: ")
    return TrainingReport(figures, curves, tuple(said))


def _doubts(tested: AmplitudeAccuracy, place: str) -> list[str]:
    """What a user should know before the surrogate is used."""
    said = []
    if tested.median_absolute_delta > _UNLEARNED:
        said.append(
            f"{place}half of the test points are predicted wrong by more than {tested.median_absolute_delta:.0%}: this "
            "surrogate has not learned |M|^2, and what is made with it is wrong; give it more steps and points"
        )
    largest = tested.largest_permille
    if abs(largest.mean_delta) > max(0.01, 3 * largest.mean_delta_error if largest.count > 1 else np.inf):
        said.append(
            f"{place}the largest 0.1 % of the amplitudes are predicted {abs(largest.mean_delta):.1%} too "
            f"{'large' if largest.mean_delta > 0 else 'small'} on the average"
        )
    pulls = tested.systematic
    if not 0.8 < pulls.width < 1.25 or abs(pulls.coverage_68 - _ONE_SIGMA) > _COVERAGE_TOLERANCE:
        said.append(
            f"{place}the learned errors are not what the test points show: the width of the pulls is {pulls.width:.2f} "
            f"and {pulls.coverage_68:.0%} of the points are within one standard deviation; more training points help"
        )
    return said


def _amplitude_fingerprint(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    return {key: fingerprint.get(key) for key in _DEFINES_AMPLITUDE}


def _region(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    return {key: fingerprint.get(key) for key in ("beams", "energy", "pdf", "cuts")} if fingerprint else {}


def _with_masses_of(process: AmplitudeProcess, momenta: FloatArray) -> AmplitudeProcess:
    """The process with the masses that the points have: a file need not have those of the default parameters."""
    squared = momenta[..., 3] ** 2 - np.sum(momenta[..., :3] ** 2, axis=-1)
    found = np.sqrt(np.maximum(np.median(squared, axis=0), 0.0))
    # Rounding of a momentum of 1 TeV makes a massless particle look like one of 0.1 GeV.
    small = found < 1e-3 * np.median(momenta[..., 3], axis=0)
    masses = tuple(0.0 if light else float(mass) for light, mass in zip(small, found, strict=True))
    default = {mass: own for mass, own in zip(process.masses, masses, strict=True) if mass}
    lines = tuple(dataclasses.replace(line, mass=default.get(line.mass, line.mass)) for line in process.inner_lines)
    return AmplitudeProcess(process.pdg_ids, masses, lines)


def _listed(masses: Iterable[float]) -> str:
    return ", ".join(f"{mass:.6g}" for mass in masses)
