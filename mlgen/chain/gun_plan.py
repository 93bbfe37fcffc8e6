"""From a card to a plan of showers: everything that can be wrong is found here, before any work starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlgen.card import Card
from mlgen.chain.detector_simulations import find_simulation, geometry_of, make_simulation, settings_of
from mlgen.chain.gun_energies import gun_of
from mlgen.chain.shower_workers import Part
from mlgen.detector_simulation import DetectorSimulation
from mlgen.errors import CardError, OutputError
from mlgen.formats.shower_output import SHOWER_SUFFIXES, check_shower_output
from mlgen.hookspecs import Tool
from mlgen.particle_gun import ParticleGun
from mlgen.plugins import Registered
from mlgen.showers import Geometry
from mlgen.stages import Settings
from mlgen.threads import available_cores

#: Showers of a part: few, so that little is lost when a run is killed; more where there would be thousands of files.
PART_SHOWERS = (2, 50)
PARTS = 400


@dataclass(frozen=True, slots=True)
class ShowerPlan:
    """What is going to be simulated.

    Args:
        card: The card.
        registered: The program.
        settings: Its settings, checked.
        geometry: The voxels; the program's own when None.
        gun: The particles.
        showers: How many.
        output: The file.
        jobs: How many simulations work at the same time.
        resume: Whether what an interrupted run left is used.
        force: Whether an existing output, or what an interrupted run left, is replaced.
    """

    card: Card
    registered: Registered[Tool]
    settings: Settings
    geometry: Geometry | None
    gun: ParticleGun
    showers: int
    output: Path
    jobs: int
    resume: bool = False
    force: bool = False

    @property
    def seed(self) -> int:
        """The seed of everything random."""
        return self.card.model.run.seed

    @property
    def parts(self) -> list[Part]:
        """The work, in parts; the showers do not depend on how it is divided."""
        smallest, largest = PART_SHOWERS
        size = min(largest, max(smallest, self.showers // PARTS))
        starts = range(0, self.showers, size)
        return [Part(k, start, min(start + size, self.showers)) for k, start in enumerate(starts)]

    def make(self) -> DetectorSimulation:
        """Make a simulation."""
        return make_simulation(self.registered, self.settings, self.geometry)


def plan_showers(
    card: Card, *, output: Path | None = None, jobs: int | None = None, resume: bool = False, force: bool = False
) -> ShowerPlan:
    """Check that showers can be simulated as a card says.

    Args:
        card: The card, with [particle_gun] and perhaps [detector].
        output: The file; the one of the card's [output] when None.
        jobs: How many simulations work at the same time; as many as there are cores when None.
        resume: Whether what an interrupted run left is used.
        force: Whether an existing output, or what an interrupted run left, is replaced.

    Raises:
        CardError: The card asks for something that cannot be done.
        PluginError: There is no program.
        InputError: A file of energies or voxels cannot be used.
        OutputError: The output cannot be written.
    """
    if card.model.particle_gun is None:
        raise CardError(
            f"{card.source}: which particles? give --particle e+ and, in GeV, --energy 1..100, or a [particle_gun]"
        )
    output = output or _output_of(card)
    if output.suffix.lower() not in SHOWER_SUFFIXES:
        raise OutputError(
            f"{output}: showers are written as HDF5, into a file whose name ends in {' or '.join(SHOWER_SUFFIXES)}"
        )
    check_shower_output(output, force=force)
    gun = gun_of(card)
    showers = card.model.run.events or len(gun.energies or ())
    if not showers:
        raise CardError(f"{card.source}: how many showers? give -n, or events in [run]")
    registered = find_simulation(card)
    settings = settings_of(registered, card)
    geometry = geometry_of(card, gun.settings.pdg_id)
    return ShowerPlan(
        card, registered, settings, geometry, gun, showers, output, jobs or available_cores(), resume, force
    )


def _output_of(card: Card) -> Path:
    files = card.model.output.files if card.model.output is not None else []
    if len(files) != 1:
        raise OutputError(
            f"{card.source}: which file to write? one is expected, with -o or in [output], not {len(files)}"
        )
    return card.path(files[0])
