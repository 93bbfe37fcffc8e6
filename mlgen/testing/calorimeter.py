"""Tests for plugins of the stage ``calorimeter``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, TypeVar

import numpy as np

from mlgen.errors import TrainingError, UserError
from mlgen.showers import ShowerBatch
from mlgen.stages import Capability, FloatArray, ProgressCallback, ShowerSurrogate, Stage, TrainingReport, no_progress
from mlgen.testing.base import TrainedContractTests
from mlgen.testing.rules import Arrays, require, require_array, require_refusal, unchanged
from mlgen.testing.samples import rectangular_showers, showers
from mlgen.testing.statement import checked_early, states_rules
from mlgen.testing.traps import Trap

SurrogateT = TypeVar("SurrogateT", bound=ShowerSurrogate)

#: A particle that no calorimeter surrogate is trained on.
NO_PARTICLE = 9_900_099


@states_rules
class ShowerSurrogateTests(TrainedContractTests[SurrogateT]):
    """Tests for an `mlgen.stages.ShowerSurrogate`.

    Attributes:
        training_showers: Showers of the training.
        largest_response: Deposited over incident energy that no shower may exceed. A shower deposits what its particle
            brings; rest energies that are set free, noise, and a calibration of the cells can make it more.
        clear_difference: Sum of the differences in the layers' shares of the energy from which on two kinds of
            particles have to be told apart.
        least_likeness: How large the difference has to be in generated showers, relative to that of the training.
        largest_ratio: Factor by which the mean of deposited over incident energy may differ from that of the training,
            up and down, for each kind of particle.
    """

    stage = Stage.CALORIMETER
    training_showers: ClassVar[int] = 1000
    largest_response: ClassVar[float] = 2.0
    largest_ratio: ClassVar[float] = 3.0
    clear_difference: ClassVar[float] = 0.5
    least_likeness: ClassVar[float] = 0.2

    def sample(self) -> ShowerBatch:
        """Return the training showers, of two kinds of particles that come in no order, and differ clearly.

        They are in polar layers, or in rectangular ones where the plugin claims only these.
        """
        polar = self.claims(Capability.POLAR_LAYERS) or not self.claims(Capability.RECTANGULAR_LAYERS)
        return (showers if polar else rectangular_showers)(self.training_showers, self.rng(10), pions=True)

    def learn(
        self, implementation: SurrogateT, rng: np.random.Generator, progress: ProgressCallback = no_progress
    ) -> TrainingReport:
        """Train on `sample`."""
        return implementation.train(iter([self.sample()]), rng, progress)

    def use(self, implementation: SurrogateT, rng: np.random.Generator) -> Arrays:
        """Generate showers for the first particles of the sample."""
        return _arrays(self._generate(implementation, 50, rng))

    def trapped(self, trap: Trap) -> Iterator[tuple[str, Callable[[], object]]]:
        """Trainings whose stream of showers, and whose progress callback, raises."""
        stream = trap.stream([self.sample()])
        yield "training on a stream of showers that raises", lambda: self.make().train(stream, self.rng())
        yield "a progress callback that raises", lambda: self.learn(self.make(), self.rng(), trap.progress)

    def _generate(self, implementation: SurrogateT, n: int, rng: np.random.Generator) -> ShowerBatch:
        sample = self.sample()
        return implementation.generate(sample.pdg_id[:n], sample.incident_energy[:n], sample.direction[:n], rng)

    @checked_early
    def test_showers_have_the_right_shape(self) -> None:
        """`generate` makes one shower for each particle, in the order of the particles, with a voxel energy that is not
        negative for each voxel of the geometry; also for no particle.
        """
        sample = self.sample()
        for n in (0, 1, 100):
            made = self._generate(self.ready(), n, self.rng(1))
            require_array(made.voxels, (n, sample.geometry.n_voxels), "f", "voxels")
            require_array(made.pdg_id, (n,), "iu", "pdg_id")
            require_array(made.incident_energy, (n,), "f", "incident_energy")
            require_array(made.direction, (n, 3), "f", "direction")
            require(np.all(made.voxels >= 0), "a deposited energy must not be negative")
            for name in ("pdg_id", "incident_energy", "direction"):
                same = np.array_equal(getattr(made, name), getattr(sample, name)[:n])
                require(same, f"{name} of the showers must be that of the incident particles")

    def test_geometry_is_that_of_the_training(self) -> None:
        """``geometry`` is that of the training showers, also in the generated ones, and after saving and loading."""
        ready, expected = self.ready(), self.sample().geometry
        require(ready.geometry == expected, "geometry has to be that of the training showers")
        require(self._generate(ready, 3, self.rng(1)).geometry == expected, "showers have to carry that geometry")
        loaded = type(ready).from_state(self.settings(), ready.state())
        require(loaded.geometry == expected, "geometry has to survive saving and loading")

    def test_energy_ranges_are_those_of_the_training(self) -> None:
        """``energy_ranges`` has the particles of the training, each with its smallest and largest energy, also after
        loading.
        """
        ready, sample = self.ready(), self.sample()
        expected = {
            int(particle): (float(energies.min()), float(energies.max()))
            for particle in np.unique(sample.pdg_id)
            for energies in (sample.incident_energy[sample.pdg_id == particle],)
        }
        loaded = type(ready).from_state(self.settings(), ready.state())
        for surrogate, when in ((ready, "after the training"), (loaded, "after saving and loading")):
            found = dict(surrogate.energy_ranges)
            same = set(found) == set(expected) and all(
                np.allclose(found[particle], expected[particle], rtol=1e-6) for particle in expected
            )
            require(same, f"energy_ranges {when} has to be {expected}; it is {found}")

    def test_polar_layers_where_it_says_so(self) -> None:
        """A plugin with the capability POLAR_LAYERS learns layers of rings and slices; one without it refuses them with
        a TrainingError.
        """
        self._check_layers(Capability.POLAR_LAYERS, showers(self.training_showers, self.rng(10), pions=True))

    def test_rectangular_layers_where_it_says_so(self) -> None:
        """A plugin with the capability RECTANGULAR_LAYERS learns layers of rectangles; one without it refuses them with
        a TrainingError.
        """
        sample = rectangular_showers(self.training_showers, self.rng(10), pions=True)
        self._check_layers(Capability.RECTANGULAR_LAYERS, sample)

    def test_some_layers_can_be_learned(self) -> None:
        """A plugin has one of the capabilities POLAR_LAYERS and RECTANGULAR_LAYERS, or both."""
        require(
            self.claims(Capability.POLAR_LAYERS) or self.claims(Capability.RECTANGULAR_LAYERS),
            "the plugin does not say which layers it can learn; register it with "
            "capabilities=frozenset({Capability.POLAR_LAYERS}), with Capability.RECTANGULAR_LAYERS, or with both",
        )

    def _check_layers(self, capability: Capability, sample: ShowerBatch) -> None:
        if not self.claims(capability):
            require_refusal(
                partial(self.make().train, [sample], self.rng()),
                f"training on {capability.value}, which the plugin does not claim to learn "
                f"(Capability.{capability.name})",
                [TrainingError],
            )
            return
        # What `ready` was trained on need not be learned again.
        known = sample.geometry == self.sample().geometry
        implementation = self.ready() if known else self.make()
        if not known:
            try:
                implementation.train(iter([sample]), self.rng())
            except TrainingError as error:
                raise AssertionError(
                    f"the plugin claims to learn {capability.value} (Capability.{capability.name}), but refused them: "
                    f"{error} {self.if_switched_off(capability)}"
                ) from error
        made = implementation.generate(
            sample.pdg_id[:50], sample.incident_energy[:50], sample.direction[:50], self.rng(1)
        )
        require(
            made.geometry == sample.geometry,
            f"trained on {capability.value}, the showers have to carry the geometry of the training",
        )
        require_array(made.voxels, (50, sample.geometry.n_voxels), "f", f"voxels in {capability.value}")
        require(np.all(made.voxels >= 0), f"a deposited energy must not be negative, here in {capability.value}")
        require(np.any(made.voxels > 0), f"no voxel of 50 showers in {capability.value} has any energy")

    def test_unknown_particles_are_refused(self) -> None:
        """A particle that was not in the training is a UserError, not a shower of another one."""
        sample = _part(self.sample(), slice(3))
        pdg_id = sample.pdg_id.copy()
        pdg_id[1] = NO_PARTICLE
        generate = partial(self.ready().generate, pdg_id, sample.incident_energy, sample.direction, self.rng())
        require_refusal(generate, f"a particle that was not trained on ({NO_PARTICLE})", [UserError])

    def test_energies_are_possible(self) -> None:
        """No shower deposits more than twice its particle's energy; energies are in MeV. A shower deposits what its
        particle brings; the rest energy that an antiproton sets free, noise, and the calibration of the cells can make
        it more, but not as much as that.
        """
        made = self._generate(self.ready(), len(self.sample()), self.rng(4))
        response = made.voxels.sum(axis=1) / made.incident_energy
        worst = int(np.argmax(response))
        require(
            response[worst] <= self.largest_response,
            f"a shower of {made.incident_energy[worst]:.6g} MeV deposits {response[worst]:.3g} times that; at most "
            f"{self.largest_response:g} times are possible",
        )

    def test_mean_response_is_that_of_the_training(self) -> None:
        """Particles of each kind deposit on average as large a share of their energy as those of the training, within a
        factor of 3: energies are in MeV, and voxels hold energies, not shares.
        """
        sample = self.sample()
        made = self._generate(self.ready(), len(sample), self.rng(4))
        for kind in np.unique(sample.pdg_id):
            own = sample.pdg_id == kind
            found, expected = (
                float(np.mean(batch.voxels[own].sum(axis=1) / sample.incident_energy[own])) for batch in (made, sample)
            )
            require(
                expected / self.largest_ratio <= found <= expected * self.largest_ratio,
                f"particles {kind} deposit {found:.3g} of their energy on average, those of the training "
                f"{expected:.3g}; a factor of {self.largest_ratio:g} is allowed. Are the voxels energies, in MeV?",
            )

    def test_each_particle_has_a_shower_of_its_kind(self) -> None:
        """Particles of several kinds, in any order, get showers of their own kind in their own places: where two kinds
        differ in the shares of the energy in the layers, generated ones differ in the same way, a fifth as much or
        more.
        """
        sample = self.sample()
        made = self._generate(self.ready(), len(sample), self.rng(4))
        kinds = np.unique(sample.pdg_id).tolist()
        known, found = ({kind: _layer_shares(batch, kind) for kind in kinds} for batch in (sample, made))
        for first, second in itertools.combinations(kinds, 2):
            expected = known[first] - known[second]
            if np.abs(expected).sum() < self.clear_difference:
                continue
            along = float(expected @ (found[first] - found[second]) / (expected @ expected))
            require(
                along > self.least_likeness,
                f"the shares of the energy in the layers of particles {first} and {second} are, in this order, "
                f"{_text(known[first])} and {_text(known[second])} in the training, and {_text(found[first])} and "
                f"{_text(found[second])} in the generated showers. Is each shower in the place of its particle, and "
                "made by the model of its kind?",
            )

    def test_inputs_are_not_changed(self) -> None:
        """Training and generating leave the arrays that are handed over as they are."""
        sample = self.sample()
        with unchanged(_arrays(sample), "the arrays that are handed over must not be changed"):
            implementation = self.make()
            implementation.train([sample], self.rng())
            implementation.generate(sample.pdg_id, sample.incident_energy, sample.direction, self.rng(1))

    def test_training_on_several_batches(self) -> None:
        """Training takes batches of any size, also an empty one among them."""
        sample = self.sample()
        half = len(sample) // 2
        parts = [_part(sample, slice(None, half)), _part(sample, slice(half, half)), _part(sample, slice(half, None))]
        implementation = self.make()
        implementation.train(iter(parts), self.rng())
        require(len(self._generate(implementation, 3, self.rng(1))) == 3, "training on several batches has to work")

    def test_bad_training_data_are_refused(self) -> None:
        """Training on nothing, on NaN and on voxels that do not belong to the geometry is an error in words."""
        sample = self.sample()
        with_nan = sample.voxels.copy()
        with_nan[2, 3] = np.nan
        for batches, what in (
            ([], "training on nothing"),
            ([_part(sample, slice(0, 0))], "training on an empty batch"),
            ([dataclasses.replace(sample, voxels=with_nan)], "training on voxels with NaN"),
            ([dataclasses.replace(sample, voxels=sample.voxels[:, :-1])], "training with a voxel missing"),
        ):
            require_refusal(partial(self.make().train, batches, self.rng()), what)

    def test_bad_particles_are_refused(self) -> None:
        """Generating for energies that are NaN or negative, and for arrays that do not belong together, is an error in
        words.
        """
        sample = _part(self.sample(), slice(5))
        pdg_id, energy, direction = sample.pdg_id, sample.incident_energy, sample.direction
        for particles, energies, directions, what in (
            (pdg_id, energy * np.nan, direction, "an incident energy of NaN"),
            (pdg_id, -energy, direction, "a negative incident energy"),
            (pdg_id, energy[:-1], direction, "an incident energy missing"),
            (pdg_id, energy, direction[:, :2], "directions of shape (n, 2)"),
        ):
            require_refusal(partial(self.ready().generate, particles, energies, directions, self.rng()), what)


def _arrays(batch: ShowerBatch) -> Arrays:
    return {name: getattr(batch, name) for name in ("incident_energy", "pdg_id", "direction", "voxels")}


def _layer_shares(batch: ShowerBatch, kind: int) -> FloatArray:
    """Mean share of the deposited energy in each layer, ``(layers,)``, of the showers of one kind of particle."""
    voxels = batch.voxels[batch.pdg_id == kind]
    layers = np.add.reduceat(voxels, batch.geometry.layer_offsets[:-1], axis=1)
    total = layers.sum(axis=1, keepdims=True)
    lit = total[:, 0] > 0
    return np.asarray(np.sum(layers[lit] / total[lit], axis=0) / max(int(lit.sum()), 1))


def _text(shares: FloatArray) -> str:
    return ", ".join(f"{share:.2f}" for share in shares)


def _part(batch: ShowerBatch, selection: slice) -> ShowerBatch:
    return ShowerBatch(**{name: array[selection] for name, array in _arrays(batch).items()}, geometry=batch.geometry)
