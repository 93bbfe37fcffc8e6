"""``mlgen simulate-showers``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlgen.cli import options

if TYPE_CHECKING:
    from mlgen.chain.shower_simulation import SimulatedShowers


class _EnergyRange(click.ParamType):  # type: ignore[type-arg]
    """``1..100``: a range in GeV."""

    name = "LOW..HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        low, dots, high = str(value).partition("..")
        try:
            return [float(low), float(high)] if dots else float(low)
        except ValueError:
            self.fail(f"'{value}' is no range of energies; for instance 1..100, in GeV, is", param, ctx)


@click.command("simulate-showers")
@click.argument("card", metavar="[CARD]", required=False)
@click.option("-n", "--showers", "events", type=click.IntRange(min=1), help="Number of showers.")
@click.option("--particle", metavar="NAME", help="e-, e+, photon, pi+, pi- or a PDG id.")
@click.option("--energy", type=_EnergyRange(), help="Kinetic energy in GeV, drawn evenly from a range; 1..100 usually.")
@click.option("--log", "logarithmic", is_flag=True, help="Draw it evenly in its logarithm.")
@click.option("--energies", metavar="LIST|FILE", help="Energies in GeV, as 10,50, or a file: one a line, or showers.")
@click.option("--direction", nargs=3, type=float, metavar="X Y Z", help="Of the particles; normal incidence usually.")
@click.option("--geometry", metavar="FILE", help="Voxels: a CaloChallenge binning XML, or JSON of a geometry.")
@click.option("--program", metavar="NAME", help="What simulates them; the only one there is when left out.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="File to write (HDF5).")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of everything random.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes; one for each core when left out.")
@click.option("--set", "settings", metavar="SECTION.KEY=VALUE", multiple=True, help="Set a key of the card.")
@click.option("--resume", is_flag=True, help="Go on from where an interrupted run of the same settings was.")
@options.force
@options.as_json
@options.plugin_files
@options.debug
def command(
    card: str | None,
    events: int | None,
    output: Path | None,
    seed: int | None,
    jobs: int | None,
    settings: tuple[str, ...],
    resume: bool,
    force: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Simulate showers of single particles in a calorimeter: the truth, and what a surrogate learns from.

    The file is HDF5 in the layout of the CaloChallenge, with the geometry and all that the showers depend on. The same
    seed gives the same bytes, for any number of processes.

    \b
    mlgen simulate-showers -n 1000 --particle e+ --energy 1..100 -o eplus.h5
    mlgen simulate-showers -n 1000 --particle photon --geometry binning_dataset_1_photons.xml -o photons.h5
    mlgen simulate-showers -n 100 --particle e- --energies 10,50 --set detector.deposits=active -o active.h5
    mlgen simulate-showers card.toml          with [particle_gun], [detector], [run] and [output]
    """  # noqa: D301 - click wants a real \b
    from mlgen.chain.gun_plan import plan_showers
    from mlgen.chain.shower_simulation import simulate_showers
    from mlgen.cli.cards import card_with
    from mlgen.cli.terminal import print_json, reporter, table
    from mlgen.errors import UserError

    if card is not None and not card.endswith(".toml"):
        raise UserError(f"{card}: a card (a .toml file) is expected, or options alone")
    overrides = {
        "events": events,
        "seed": seed,
        "settings": settings,
        "particle_gun": _gun(chosen, card is not None),
        "detector": _detector(chosen, card is not None),
    }
    checked = card_with(Path(card) if card is not None else None, {}, overrides)
    result = simulate_showers(plan_showers(checked, output=output, jobs=jobs, resume=resume, force=force), reporter)
    if as_json:
        print_json(result.to_dict())
    else:
        table(list(_rows(result)))


def _gun(chosen: dict[str, Any], with_card: bool) -> dict[str, Any]:
    """What the options say of [particle_gun]."""
    gun: dict[str, Any] = {}
    if chosen["particle"] is not None:
        gun["particle"] = chosen["particle"]
    if chosen["energy"] is not None:
        single = not isinstance(chosen["energy"], list)
        gun |= {"energies": [chosen["energy"]]} if single else {"energy": chosen["energy"]}
    if chosen["logarithmic"]:
        gun["spacing"] = "log"
    if chosen["energies"] is not None:
        if chosen["energy"] is not None:
            raise click.UsageError("energies come from one of --energy and --energies, not from both")
        try:
            gun["energies"] = [float(energy) for energy in chosen["energies"].split(",")]
        except ValueError:
            gun["file"] = _path(chosen["energies"], with_card)
    if chosen["direction"] is not None:
        gun["direction"] = list(chosen["direction"])
    return gun


def _detector(chosen: dict[str, Any], with_card: bool) -> dict[str, Any]:
    """What the options say of [detector]."""
    detector = {"program": chosen["program"]} if chosen["program"] is not None else {}
    if chosen["geometry"] is not None:
        detector["geometry"] = _path(chosen["geometry"], with_card)
    return detector


def _path(name: str, with_card: bool) -> str:
    """Files named on the command line are where the user says, not next to the card."""
    return str(Path(name).absolute()) if with_card else name


def _rows(result: SimulatedShowers) -> Iterator[tuple[str, str]]:
    from mlgen.cli.shower_info import geometry_text, wrapped
    from mlgen.cli.terminal import number, shown

    yield "showers", number(result.showers)
    if result.resumed:
        yield "  of an interrupted run", number(result.resumed)
    yield "particle", result.particle
    yield "voxels", geometry_text(result.geometry)
    yield "deposited in them", f"{result.deposited:.2%} of the incident energy"
    yield "program", result.program
    yield from ((f"  {name.replace('_', ' ')}", wrapped(value)) for name, value in result.description.items())
    if result.showers > result.resumed:
        yield "time", f"{result.seconds:.1f} s ({number(result.rate)} showers/s, {result.jobs} at a time)"
    yield "written", shown(result.output)
