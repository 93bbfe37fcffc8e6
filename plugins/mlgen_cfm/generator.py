"""`CfmGenerator`: hard events from conditional flow matching."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mlgen.errors import ModelError, TrainingError
from mlgen.events import EventBatch, FloatArray
from mlgen.representation import CouplingTable, Representation, collected, represent
from mlgen.run_info import RunInfo
from mlgen.stages import EventGenerator, Progress, ProgressCallback, Settings, State, TrainingReport, no_progress
from mlgen.threads import one_thread
from mlgen_cfm.columns import GeneratedColumns
from mlgen_cfm.normalisation import event_weight, generated_run_info
from mlgen_cfm.settings import CfmSettings
from mlgen_cfm.topology_model import TopologyModel

#: Topologies with fewer events get no network.
EVENTS_FOR_NETWORK = 50
#: Fewest optimisation steps of a network, where the settings allow them.
FEWEST_STEPS = 200
#: An event that is impossible this many times in a row is given up.
MOST_REDRAWS = 200
#: Events generated after the training, to see how many must be redrawn.
TRIAL_EVENTS = 1000
STATE_VERSION = 1


class CfmGenerator(EventGenerator):
    """Learns hard events from a file and generates others like them.

    What is discrete (flavours, colour flow, process, number of particles) is drawn from the *classes* of events in
    the training file with their weighted frequencies. Momenta, scale and couplings are coordinates without
    constraints (`mlgen.representation`), whose marginals are those of the file; their correlations are learned by
    conditional flow matching, one network for each topology. So every event conserves four-momentum and stands on
    its mass shells whatever the network learned, no class appears that the file does not have, and no coordinate
    leaves the range that it has there: the generator does not extrapolate.

    Only nominal weights are learned, and generated events have one weight each: the file's negative weights are
    taken into account in the densities.

    References:
        Butter et al., arXiv:2305.10475; Lipman et al., arXiv:2210.02747; Plehn et al., arXiv:2211.01421, sec. 4.4.2.
    """

    def __init__(self, settings: CfmSettings | None = None) -> None:
        self.settings = settings or CfmSettings()
        self._models: list[TopologyModel] = []
        self._couplings: dict[str, CouplingTable] = {}
        self._run_info = RunInfo()
        self._weight = float("nan")
        #: Events that were drawn again because they were impossible, since the generator was made.
        self.redrawn = 0

    @property
    def run_info(self) -> RunInfo:
        """What is true of the generated events."""
        self._require_training()
        return self._run_info

    def _require_training(self) -> None:
        if not self._models:
            raise ModelError("the generator is not trained")

    def train(
        self,
        events: Iterable[EventBatch],
        run_info: RunInfo,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from a stream of batches.

        Raises:
            TrainingError: There are too few events, or they cannot be represented; says which and why.
        """
        batch = collected(events, self.settings.training_events, rng)
        if len(batch) < self.settings.minimum_events:
            raise TrainingError(
                f"there are {len(batch)} events to learn from; at least {self.settings.minimum_events} are needed,"
                " because a network that sees fewer repeats them instead of learning their distribution"
                " (setting minimum_events)"
            )
        representation = represent(batch, [beam.energy for beam in run_info.beams], rng)
        remarks = list(representation.remarks)
        if run_info.variations:
            remarks.append(f"the {len(run_info.variations)} named weights are not learned, only the nominal weight is")
        with one_thread():
            models, figures, curves = self._train_topologies(representation, rng, progress, remarks)
        self._models, self._couplings = models, representation.couplings
        self._weight = event_weight(batch.weight, run_info)
        self._run_info = generated_run_info(run_info, self._weight)
        before = self.redrawn
        self.generate(TRIAL_EVENTS, rng)
        figures["redrawn_fraction"] = (self.redrawn - before) / (TRIAL_EVENTS + self.redrawn - before)
        return TrainingReport({"events": len(batch), **figures}, curves, tuple(remarks))

    def _train_topologies(
        self,
        representation: Representation,
        rng: np.random.Generator,
        progress: ProgressCallback,
        remarks: list[str],
    ) -> tuple[list[TopologyModel], dict[str, float | int | str], dict[str, list[float]]]:
        sizes = np.array([len(events.index) for events in representation.events])
        steps = _shared_steps(sizes, self.settings.steps)
        models: list[TopologyModel] = []
        curves: dict[str, list[float]] = {}
        parameters, validation_loss = 0, 0.0
        for k, (topology, events) in enumerate(zip(representation.topologies, representation.events, strict=True)):
            scale = float(representation.scale[k])
            if not steps[k]:
                models.append(TopologyModel.without_network(topology, scale))
                remarks.append(
                    f"{topology.classes[0].describe()} and the like: {sizes[k]} events are too few for a network"
                    f" ({EVENTS_FOR_NETWORK} are needed); the coordinates are generated without their correlations"
                )
                continue
            done = int(steps[:k].sum())

            def report(step: int, loss: float, done: int = done) -> None:
                progress(Progress(done + step, int(steps.sum()), "loss", loss))

            model, training = TopologyModel.train(topology, scale, events, int(steps[k]), self.settings, rng, report)
            models.append(model)
            curves[f"loss.{k}"], curves[f"validation_loss.{k}"] = training.loss, training.validation_loss
            validation_loss += training.best * sizes[k] / sizes[steps > 0].sum()
            if model.network is not None:
                parameters += sum(parameter.numel() for parameter in model.network.parameters())
        figures: dict[str, float | int | str] = {
            "topologies": len(models),
            "classes": sum(len(model.topology.classes) for model in models),
            "parameters": parameters,
            "steps": int(steps.sum()),
            "validation_loss": float(validation_loss),
        }
        return models, figures, curves

    def generate(self, n: int, rng: np.random.Generator) -> EventBatch:
        """Generate exactly `n` events.

        Raises:
            ModelError: The generator is not trained, or it makes next to nothing but impossible events.
        """
        self._require_training()
        sizes = [len(model.topology.classes) for model in self._models]
        probability = np.concatenate([model.topology.probability for model in self._models])
        drawn = rng.choice(len(probability), n, p=probability / probability.sum())
        owner = np.repeat(np.arange(len(sizes)), sizes)[drawn]
        index = np.concatenate([np.arange(size) for size in sizes])[drawn].astype(np.int64)
        largest = max(model.topology.particles for model in self._models)
        columns = GeneratedColumns(n, largest)
        with one_thread():
            for k, model in enumerate(self._models):
                self._fill(columns, model, np.flatnonzero(owner == k), index, rng)
        return columns.batch(self._couplings, self._weight)

    def _fill(
        self,
        columns: GeneratedColumns,
        model: TopologyModel,
        places: npt.NDArray[np.int64],
        index: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> None:
        """Generate the events of one topology, and again those that are impossible; their class stays."""
        wanted = len(places)
        for _ in range(MOST_REDRAWS):
            if not len(places):
                return
            events = model.generate(index[places], self.settings.solver_steps, rng)
            possible = events.possible & self._below_beam_energy(model, events.momenta)
            columns.set(places[possible], model, index[places[possible]], events, possible)
            places = places[~possible]
            self.redrawn += len(places)
        if len(places):
            raise ModelError(
                f"{model.topology.classes[0].describe()} and the like: {len(places)} of {wanted} events were still"
                f" impossible after {MOST_REDRAWS} attempts (a particle lighter than its products, or more energy than"
                " the beams have); the model is not usable, train it with more events or more steps"
            )

    def _below_beam_energy(self, model: TopologyModel, momenta: FloatArray) -> npt.NDArray[np.bool_]:
        beams = self._run_info.beams
        if len(beams) != 2:
            return np.ones(len(momenta), bool)
        kinematics = model.topology.kinematics
        rows = kinematics.tree.incoming[::-1] if kinematics.reversed_beams else kinematics.tree.incoming
        energy = momenta[:, list(rows), 3]
        return np.asarray((energy < [beams[0].energy, beams[1].energy]).all(axis=1))

    def state(self) -> State:
        """Return everything that was learned, as named arrays."""
        self._require_training()
        about = {
            "version": STATE_VERSION,
            "run_info": self._run_info.to_json(),
            "weight": self._weight,
            "topologies": len(self._models),
            "couplings": {name: table.argument for name, table in self._couplings.items()},
        }
        state: dict[str, npt.NDArray[Any]] = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8).copy()}
        for name, table in self._couplings.items():
            state[f"{name}.values"], state[f"{name}.coupling"] = table.values, table.coupling
        for k, model in enumerate(self._models):
            state.update({f"topology{k}.{name}": array for name, array in model.state().items()})
        return state

    @classmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the generator that `state` came from.

        Raises:
            ModelError: The arrays do not fit.
        """
        if not isinstance(settings, CfmSettings):
            raise ModelError(f"the settings are {type(settings).__name__}; CfmSettings are expected")
        generator = cls(settings)
        about = _about(state)
        generator._run_info = RunInfo.from_json(about["run_info"])
        generator._weight = float(about["weight"])
        for name, argument in about["couplings"].items():
            generator._couplings[name] = _coupling_table(name, argument, state)
        for k in range(about["topologies"]):
            prefix = f"topology{k}."
            part = {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
            generator._models.append(TopologyModel.from_state(part, settings))
        return generator


def _coupling_table(name: str, argument: str, state: State) -> CouplingTable:
    for array in (f"{name}.values", f"{name}.coupling"):
        if array not in state:
            raise ModelError(f"the array '{array}' of the model is missing")
    values, coupling = state[f"{name}.values"], state[f"{name}.coupling"]
    if values.ndim != 1 or values.shape != coupling.shape or not len(values):
        raise ModelError(
            f"the arrays '{name}.values' and '{name}.coupling' of the model have shapes {values.shape} and"
            f" {coupling.shape}; two lists of one length are expected"
        )
    return CouplingTable(argument, values, coupling)


def _about(state: State) -> dict[str, Any]:
    if "about" not in state:
        raise ModelError("the array 'about' of the model is missing; these are not the arrays of a cfm generator")
    try:
        about = json.loads(np.asarray(state["about"], np.uint8).tobytes())
        version, missing = about["version"], {"run_info", "weight", "topologies", "couplings"} - set(about)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"the array 'about' of the model cannot be read: {error}") from error
    if version != STATE_VERSION or missing:
        raise ModelError(f"the model has version {version}; this cfm generator reads version {STATE_VERSION}")
    return dict(about)


def _shared_steps(sizes: npt.NDArray[np.int64], total: int) -> npt.NDArray[np.int64]:
    """Share the optimisation steps between topologies by their events; 0 for those that are too small."""
    trained = sizes >= EVENTS_FOR_NETWORK
    shared = np.floor(total * sizes / max(1, sizes[trained].sum())).astype(np.int64)
    return np.where(trained, np.maximum(shared, min(total, FEWEST_STEPS)), 0)
