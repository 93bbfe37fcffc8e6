"""The five contracts: what a plugin of each stage gives.

Small abstract classes over NumPy arrays; what is inside (torch or not) is the plugin's own affair. `mlgen.testing`
has one test class for each, which a plugin's own tests inherit.

Every contract has ``state()`` and ``from_state``: what a trained plugin is made of, as named arrays, so that the
host can keep it on disk without pickle. Randomness comes from the generator that is handed over and from nothing
else, so that one seed makes a run repeatable.

The module that holds a package's hooks imports this one, in every command: what only annotations need (events,
showers) is not imported here.
"""

from __future__ import annotations

import abc
import contextlib
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from mlgen.errors import PluginError

if TYPE_CHECKING:
    from mlgen.events import EventBatch
    from mlgen.run_info import RunInfo
    from mlgen.showers import Geometry, ShowerBatch

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
State = Mapping[str, npt.NDArray[Any]]

#: Newest version of the contracts. A plugin says with a number of its own which it was written for
#: (`mlgen.hookspecs.Plugin`), so that it is noticed when the two differ.
CONTRACT_VERSION = 1
#: Every version of the contracts that this host speaks. One that it will not speak for long is among the
#: `mlgen.deprecation.DEPRECATIONS`, as ``"contracts 1"``, one minor version before it goes.
CONTRACT_VERSIONS: tuple[int, ...] = (CONTRACT_VERSION,)

#: A setting whose pydantic field has ``json_schema_extra={USE_TIME: True}`` only matters when the model is used
#: (device, number of integration steps): it may differ from the training's, and the card's value is taken.
USE_TIME = "use_time"


class Stage(enum.Enum):
    """A stage of the chain that a plugin can replace, named as in the card."""

    PHASE_SPACE = "phase_space"
    AMPLITUDE = "amplitude"
    UNWEIGHTING = "unweighting"
    GENERATOR = "generator"
    CALORIMETER = "calorimeter"


class Exactness(enum.Enum):
    """Whether the sample is right whatever the network learned."""

    EXACT = "exact"
    APPROXIMATE = "approximate"


class Capability(enum.Enum):
    """What a plugin may be able to do beyond its contract, and says where it registers (`mlgen.hookspecs.Plugin`).

    The conformance kit tests what a plugin says that it can do; of the rest it tests that it is refused in words, or
    not there.
    """

    #: ``phase_space``: `PhaseSpaceSampler.channel_weights` are learned; without it they are the prior ones.
    CHANNEL_WEIGHTS = "channel weights"
    #: ``amplitude``: `AmplitudeSurrogate.predict_members` gives sampled networks, which go out as named weights.
    MEMBERS = "members"
    #: ``unweighting``: asks for the true weights of what a surrogate's weights let pass, so that a chain with a
    #: surrogate in the place of its matrix elements is exact.
    CORRECTS_SURROGATES = "corrects surrogates"
    #: ``generator``: `EventGenerator.log_density` is there.
    DENSITY = "density"
    #: ``generator``: learns from events with negative weights, and gives back what they mean.
    NEGATIVE_WEIGHTS = "negative weights"
    #: ``calorimeter``: learns layers that are binned in radius and azimuth.
    POLAR_LAYERS = "polar layers"
    #: ``calorimeter``: learns layers that are binned in x and y.
    RECTANGULAR_LAYERS = "rectangular layers"

    @property
    def stage(self) -> Stage:
        """The stage whose plugins may have it."""
        return next(stage for stage, capabilities in CAPABILITIES.items() if self in capabilities)


#: What plugins of each stage may be able to do beyond their contract.
CAPABILITIES: Mapping[Stage, tuple[Capability, ...]] = {
    Stage.PHASE_SPACE: (Capability.CHANNEL_WEIGHTS,),
    Stage.AMPLITUDE: (Capability.MEMBERS,),
    Stage.UNWEIGHTING: (Capability.CORRECTS_SURROGATES,),
    Stage.GENERATOR: (Capability.DENSITY, Capability.NEGATIVE_WEIGHTS),
    Stage.CALORIMETER: (Capability.POLAR_LAYERS, Capability.RECTANGULAR_LAYERS),
}


class Settings(BaseModel):
    """Base of a plugin's settings: what may stand in its section of the card. Unknown keys are errors.

    The names ``plugin``, ``model`` and (for a tool) ``program`` are taken: the card itself uses them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far some work is: steps done and to do, and the figure that matters, with its name."""

    done: int
    total: int
    figure: str = ""
    value: float = float("nan")


ProgressCallback = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Progress callback that does nothing."""


#: Gives a progress callback for a piece of work with the given title.
Reporter = Callable[[str], AbstractContextManager[ProgressCallback]]


@contextlib.contextmanager
def silent(title: str) -> Iterator[ProgressCallback]:
    """Reporter that reports nothing."""
    yield no_progress


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training says of itself: scalar figures, and curves over the steps (loss and the like)."""

    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    curves: Mapping[str, list[float]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Contract(abc.ABC):
    """What the five contracts share.

    Attributes:
        stage: The stage that the contract belongs to.
        settings: What the plugin was made with. Each plugin has a settings model of its own, which this class cannot
            know: declare it (``settings: MySettings``), and a type checker knows it too.
    """

    stage: ClassVar[Stage]
    settings: Any

    def __init__(self, settings: Settings) -> None:
        """Make the plugin, untrained. Every plugin is made with its settings alone, and keeps them."""
        self.settings = settings

    @abc.abstractmethod
    def state(self) -> State:
        """Return everything that was learned, as named arrays."""

    @classmethod
    @abc.abstractmethod
    def from_state(cls, settings: Settings, state: State) -> Self:
        """Make the plugin that `state` came from; ``from_state(s, p.state())`` behaves as ``p`` does.

        Raises:
            mlgen.errors.ModelError: The arrays do not fit.
        """


@dataclass(frozen=True, slots=True)
class Points:
    """Points in the unit hypercube.

    Args:
        x: Positions, ``(n, d)``.
        channel: The channel that each was drawn for, ``(n,)``.
        density: Joint density of position and channel, ``(n,)``: summed over channels and integrated over the
            hypercube it is one.
    """

    x: FloatArray
    channel: IntArray
    density: FloatArray


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an integrand says of points.

    The integral is that of ``sum_c alpha_c f_c`` over the hypercube, with channel weights ``alpha`` that sum to one.
    A point that was drawn with density ``p`` for channel ``c`` has the weight ``alpha_c f_c / p``, and the mean of
    these weights is the integral.

    Args:
        value: ``f_c(x)`` for the channel of each point, ``(n,)``: without channel weight, zero outside the cuts.
        prior: Prior channel weights, ``(n, channels)``; each row sums to one.
        features: What a network that learns channel weights should see of the point, ``(n, features)``, of order one.
            They tell the point itself, whatever channel it was drawn for.
    """

    value: FloatArray
    prior: FloatArray
    features: FloatArray


class Integrand(abc.ABC):
    """A function on the unit hypercube, in one or several channels (maps of the same space).

    Attributes:
        dimensions: Dimensions d of the hypercube, the same for all channels.
        channels: Name of each channel.
        groups: For each channel the number, from 0, of its group. Channels of one group are mirror images of each other
            (exchanged beams or like particles): the best density is the same for all of them.
        features: Number of features of a point.
    """

    dimensions: int
    channels: tuple[str, ...]
    groups: tuple[int, ...]
    features: int

    @abc.abstractmethod
    def __call__(self, x: FloatArray, channel: IntArray) -> Evaluated:
        """Evaluate at ``x (n, d)`` for the channels ``(n,)``. Values are finite; they may be negative."""


class PhaseSpaceSampler(Contract):
    """Points in the unit hypercube with their density, by channel; exact whatever it learned."""

    stage = Stage.PHASE_SPACE

    @abc.abstractmethod
    def train(
        self,
        integrand: Integrand,
        budget: int | None,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Adapt to `integrand` with at most `budget` of its points; None: as many as the settings ask for.

        Raises:
            mlgen.errors.TrainingError: The integrand does not allow it: zero everywhere, not finite, or the budget
                is too small to learn anything.
        """

    @abc.abstractmethod
    def sample(self, n: int, rng: np.random.Generator) -> Points:
        """Draw exactly `n` points. Never calls the integrand."""

    @abc.abstractmethod
    def channel_weights(self, features: FloatArray, prior: FloatArray) -> FloatArray:
        """Return the weight of each channel, ``(n, channels)``, each row summing to one.

        A channel that `sample` never draws has weight zero everywhere.

        Args:
            features: Of the points, ``(n, features)``, as `Evaluated` has them.
            prior: Prior channel weights, ``(n, channels)``.
        """


@dataclass(frozen=True, slots=True)
class InnerLine:
    """A line inside the diagrams of a process: |M|^2 is large where its momentum is near the mass shell.

    Args:
        slots: External particles on one side of it, from 0, the incoming ones first. The line's momentum is the sum of
            the incoming among them minus that of the outgoing.
        mass: In GeV.
        width: In GeV; zero for a line that is no resonance.
    """

    slots: tuple[int, ...]
    mass: float = 0.0
    width: float = 0.0


@dataclass(frozen=True, slots=True)
class AmplitudeProcess:
    """The process that an amplitude belongs to.

    Args:
        pdg_ids: Of all particles, the two incoming ones first.
        masses: Of the same particles, in GeV.
        inner_lines: Lines of the diagrams at lowest order; none where they are not known.
    """

    pdg_ids: tuple[int, ...]
    masses: tuple[float, ...]
    inner_lines: tuple[InnerLine, ...] = ()

    @property
    def like_particles(self) -> tuple[tuple[int, ...], ...]:
        """Slots of particles that can be exchanged without changing |M|^2: of one kind, all incoming or all outgoing.

        Each group has two slots or more.
        """
        groups: dict[tuple[bool, int], list[int]] = {}
        for slot, pdg_id in enumerate(self.pdg_ids):
            groups.setdefault((slot < 2, pdg_id), []).append(slot)
        return tuple(tuple(slots) for slots in groups.values() if len(slots) > 1)


@dataclass(frozen=True, slots=True)
class Amplitude:
    """|M|^2 with its systematic and statistical standard deviation, each ``(n,)``, all in the unit of |M|^2.

    The systematic one is what the likelihood of the training says of a single value, the statistical one the spread of
    the networks that the training data allow.

    References:
        Eq. (1.87) to (1.91) of Plehn et al., arXiv:2211.01421; arXiv:2206.14831.
    """

    value: FloatArray
    systematic: FloatArray
    statistical: FloatArray


class AmplitudeSurrogate(Contract):
    """|M|^2 with an uncertainty, from momenta.

    The host keeps test points out of the training, knows the region that was trained in, and scales with the strong
    coupling: a plugin sees |M|^2 at one fixed coupling, on points that were checked.
    """

    stage = Stage.AMPLITUDE

    @abc.abstractmethod
    def train(
        self,
        process: AmplitudeProcess,
        momenta: FloatArray,
        values: FloatArray,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from points.

        Args:
            process: What the values belong to.
            momenta: ``(n, particles, 4)`` as ``(px, py, pz, energy)`` in GeV, incoming particles first.
            values: |M|^2, ``(n,)``, positive.
            rng: Source of all randomness.
            progress: Told how far the training is.

        Raises:
            mlgen.errors.TrainingError: The points do not allow it: not finite, of the wrong shape, too few.
        """

    @abc.abstractmethod
    def predict(self, momenta: FloatArray) -> Amplitude:
        """Predict for ``momenta (n, particles, 4)``, as in the training; like particles in any order."""

    @property
    def members(self) -> int:
        """Number of networks that `predict_members` has: samples of what the training data allow, or an ensemble."""
        return 0

    def predict_members(self, momenta: FloatArray) -> FloatArray:
        """Return |M|^2 of each sampled network, ``(n, members)``; a column is the same network in every call."""
        return np.zeros((len(momenta), 0))


@dataclass(frozen=True, slots=True)
class Candidates:
    """A batch of weighted events that are to be unweighted.

    Where true weights are dear, a first look can do with what a surrogate says, and ask for the true weights of the
    survivors only. A surrogate's weight is a guess: where it is zero or negative, the true one may be neither.

    Args:
        weight: What is known of each candidate's weight, ``(n,)``, in the unit of the event file.
        exact_weight: Returns the true weights of the candidates with the given indices, ``(k,)`` for ``(k,)``; None
            where `weight` is the true one already. Asked again, it gives the same, and the host knows it by then.
        relative_error: Returns what a surrogate says of its own error: the standard deviation of true weights about
            `weight`, relative to it, of the candidates with the given indices, ``(k,)`` for ``(k,)``; zero where
            `weight` is the true one. None where nothing is said.
        features: Numbers of order one that the true weight may be learned from, relative to `weight`, ``(n, f)``; None
            where there is nothing to learn.
        vanishes: Which candidates are known to have a true weight of zero, because they are outside the cuts for
            instance, ``(n,)``; None where that is known of none. They count among the candidates, nothing else.
        groups: What the candidates can be told apart by, ``(n,)`` numbers from 0 each: their ``"process"``, the
            ``"channel"`` of phase space that they were drawn from. Names that make no sense are not there.
        cost_ratio: What a true weight costs, in units of what a candidate costs without it; None where not known.

    References:
        Danziger et al., SciPost Phys. 12, 164 (2022), arXiv:2109.11964.
    """

    weight: FloatArray
    exact_weight: Callable[[IntArray], FloatArray] | None = None
    relative_error: Callable[[IntArray], FloatArray] | None = None
    features: FloatArray | None = None
    vanishes: npt.NDArray[np.bool_] | None = None
    groups: Mapping[str, IntArray] = field(default_factory=dict)
    cost_ratio: float | None = None

    def all_exact(self) -> FloatArray:
        """Return the true weight of every candidate, ``(n,)``, however dear."""
        return self.weight if self.exact_weight is None else self.exact_weight(np.arange(len(self.weight)))


@dataclass(frozen=True, slots=True)
class Unweighted:
    """What an unweighting keeps of one batch.

    Args:
        index: Accepted candidates, ``(accepted,)``, ascending.
        weight: Their new weights, in the normalisation of the candidates' true weights.
    """

    index: IntArray
    weight: FloatArray


@dataclass(frozen=True, slots=True)
class UnweightingReport:
    """Figures of an unweighting so far.

    Args:
        candidates: Events looked at.
        accepted: Events kept.
        efficiency: ``accepted / candidates``.
        maximum_weight: Largest true weight that is still unweighted, in the candidates' unit; the largest of these
            where there are several.
        overweight_events: Kept events whose weight exceeded that.
        overweight_share: Share of the cross section that is in their excess.
        largest_overweight: Largest ratio of a weight to the maximum.
        negative_fraction: Share of kept events with a negative weight.
        effective_sample_size: (sum w)^2 / sum w^2 of the kept events (Kish).
        remarks: What a user should know of these weights, in sentences.
        true_evaluations: True weights that were asked for, by `prepare` too; one that was asked for twice counts twice.
            None where all were known.
        first_stage_efficiency: Share of the candidates that a surrogate's weight lets pass; None without one.
        second_stage_efficiency: Share of these that the true weight accepts; likewise.
        hit_or_miss_efficiency: What a hit-or-miss on the true weights would accept with as large a share of
            overweights, estimated from the true weights that are known; likewise.
        mean_weight: Mean of the true weights of all candidates, the cross section; None where the caller knows it, of
            all true weights.
        mean_weight_error: Its standard error; likewise.
    """

    candidates: int
    accepted: int
    efficiency: float
    maximum_weight: float
    overweight_events: int
    overweight_share: float
    largest_overweight: float
    negative_fraction: float
    effective_sample_size: float
    remarks: tuple[str, ...] = ()
    true_evaluations: int | None = None
    first_stage_efficiency: float | None = None
    second_stage_efficiency: float | None = None
    hit_or_miss_efficiency: float | None = None
    mean_weight: float | None = None
    mean_weight_error: float | None = None


class Unweighter(Contract):
    """Unit-weight events from weighted ones."""

    stage = Stage.UNWEIGHTING

    @property
    def learns(self) -> bool:
        """Whether `train` has to be called before `prepare`; it may depend on the settings."""
        return False

    def train(
        self, candidates: Iterable[Candidates], rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Learn the true weights of candidates from their features. Only where `learns` says so.

        Args:
            candidates: Batches without an end, with `features`; as many are taken as are needed.
            rng: Source of all randomness.
            progress: Told how far the training is.

        Raises:
            mlgen.errors.TrainingError: The candidates do not allow it.
        """
        raise NotImplementedError(f"{type(self).__name__} learns nothing")

    @abc.abstractmethod
    def prepare(self, candidates: Iterable[Candidates]) -> None:
        """Look once at all candidates, batch by batch, to choose the maximum.

        Raises:
            mlgen.errors.WeightError: They allow no unweighting: weights all zero, not finite, no candidate at all.
        """

    @abc.abstractmethod
    def unweight(self, candidates: Candidates, rng: np.random.Generator) -> Unweighted:
        """Unweight one batch. An overweight keeps its excess, the sign of the true weight is kept."""

    @abc.abstractmethod
    def report(self) -> UnweightingReport:
        """Figures of all batches so far."""

    def normalisation(self) -> float:
        """Return a factor for all weights given out since `prepare`, known once every batch was unweighted.

        With it, they average to the best estimate of the candidates' mean weight. One where the true weight of every
        candidate is known to `prepare`; otherwise one within the statistical error of what `prepare` asked for.
        """
        return 1.0


class EventGenerator(Contract):
    """Whole hard events, learned from events."""

    stage = Stage.GENERATOR

    @abc.abstractmethod
    def train(
        self,
        events: Iterable[EventBatch],
        run_info: RunInfo,
        rng: np.random.Generator,
        progress: ProgressCallback = no_progress,
    ) -> TrainingReport:
        """Learn from a stream of batches.

        Raises:
            mlgen.errors.TrainingError: The events do not allow it; says which and why.
        """

    @abc.abstractmethod
    def generate(self, n: int, rng: np.random.Generator) -> EventBatch:
        """Generate exactly `n` valid events, with the weights that `run_info` tells of."""

    @property
    @abc.abstractmethod
    def run_info(self) -> RunInfo:
        """What is true of the generated events: beams, cross sections and weights of the training file."""

    def log_density(self, events: EventBatch) -> FloatArray:
        """Return the log density of each event, ``(n,)``, for generators that have one.

        Raises:
            PluginError: The generator has none.
        """
        raise PluginError(f"the generator {type(self).__name__} has no density; choose one that has")


class ShowerSurrogate(Contract):
    """The cells that one particle lights up."""

    stage = Stage.CALORIMETER

    @property
    @abc.abstractmethod
    def geometry(self) -> Geometry:
        """The calorimeter it was trained for."""

    @property
    @abc.abstractmethod
    def energy_ranges(self) -> Mapping[int, tuple[float, float]]:
        """The particles it was trained on: PDG id -> smallest and largest incident energy of the training, MeV."""

    @abc.abstractmethod
    def train(
        self, showers: Iterable[ShowerBatch], rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Learn from a stream of batches, all of one geometry; one batch may have particles of several kinds.

        The stream can be gone through several times where it is no iterator.

        Raises:
            mlgen.errors.TrainingError: The showers do not allow it: none, not finite, of another geometry.
        """

    @abc.abstractmethod
    def generate(
        self, pdg_id: IntArray, incident_energy: FloatArray, direction: FloatArray, rng: np.random.Generator
    ) -> ShowerBatch:
        """Generate one shower for each incident particle.

        Args:
            pdg_id: ``(n,)``; the host asks for particles of `energy_ranges` only.
            incident_energy: ``(n,)``, MeV; also outside `energy_ranges`, where the host flags the showers.
            direction: Unit vectors in the frame of the geometry, whose z axis goes into the calorimeter, ``(n, 3)``.
            rng: Source of all randomness.

        Raises:
            mlgen.errors.UserError: A particle is not among `energy_ranges`; names it and those that are.
        """


CONTRACTS: Mapping[Stage, type[Contract]] = {
    contract.stage: contract
    for contract in (PhaseSpaceSampler, AmplitudeSurrogate, Unweighter, EventGenerator, ShowerSurrogate)
}
