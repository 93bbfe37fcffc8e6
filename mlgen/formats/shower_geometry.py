"""Which geometry the showers of a file have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mlgen.errors import InputError
from mlgen.showers import Geometry, RectangularLayer

_HOW = (
    "Give the binning of its calorimeter and the incident particle, as with the CaloChallenge's "
    "--geometry binning_dataset_2.xml --particle electron."
)


def geometry_of(
    source: str,
    shapes: Sequence[tuple[int, ...]],
    *,
    carried: Geometry | None,
    path: Path | None,
    particle: str | None,
) -> Geometry:
    """Find the geometry of a file of showers.

    Args:
        source: The file, for messages.
        shapes: Shape of one shower in each data set: ``(voxels,)``, or an image ``(x, y)`` for each layer.
        carried: The geometry that the file carries itself.
        path: Binning XML, or JSON of `Geometry.to_json`, that the user gave.
        particle: The incident particle.

    Raises:
        InputError: There is none, it does not fit the showers, or the file and the user disagree.
    """
    images = len(shapes[0]) == 2
    if path is not None:
        found = geometry_from_file(source, path, particle, sum(math.prod(shape) for shape in shapes))
        if carried is not None and carried.layers != found.layers:
            raise InputError(
                source,
                f"carries a geometry of its own, which differs from that of {path}",
                advice="Leave out the latter.",
            )
    elif carried is not None:
        found = carried
    elif images:
        found = Geometry.calogan(particle or "")
    else:
        raise InputError(
            source, f"has showers of {shapes[0][0]:,} voxels, but does not say where these are", advice=_HOW
        )
    _check_fit(source, shapes, found)
    return Geometry(particle or found.particle, found.layers)


def geometry_from_json(path: Path) -> Geometry:
    """Read a geometry that `Geometry.to_json` wrote into a file.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return Geometry.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"cannot be read: {error}") from error


def geometry_from_file(source: str, path: Path, particle: str | None, n_voxels: int) -> Geometry:
    """Read a geometry that a user names.

    Args:
        source: What its showers are in, for messages.
        path: Binning XML, or JSON of `Geometry.to_json`.
        particle: The incident particle; not needed where the XML has only one.
        n_voxels: Voxels of the showers.

    Raises:
        InputError: It cannot be read, has no binning for the particle, or one of another number of voxels.
    """
    if path.suffix.lower() == ".json":
        return geometry_from_json(path)
    binnings = Geometry.all_from_xml(path)
    if particle is None and len(binnings) == 1:
        return next(iter(binnings.values()))
    if particle is None:
        known = ", ".join(f"{name} ({binning.n_voxels:,} voxels)" for name, binning in binnings.items()) or "nothing"
        raise InputError(str(path), f"has binnings for: {known}; say which particle is meant", advice=_HOW)
    if particle not in binnings:
        return Geometry.from_xml(path, particle)
    found = binnings[particle]
    if found.n_voxels != n_voxels:
        fitting = [name for name, binning in binnings.items() if binning.n_voxels == n_voxels]
        advice = f"It would fit the binning for: {', '.join(fitting)}." if fitting else "No other binning in it fits."
        raise InputError(
            source,
            f"has showers of {n_voxels:,} voxels, but the binning for '{particle}' in {path} has {found.n_voxels:,}",
            advice=advice,
        )
    return found


def _check_fit(source: str, shapes: Sequence[tuple[int, ...]], geometry: Geometry) -> None:
    if len(shapes[0]) == 1:
        if shapes[0][0] != geometry.n_voxels:
            raise InputError(
                source,
                f"'showers' has {shapes[0][0]:,} voxels, but the geometry has {geometry.n_voxels:,}",
                advice=_HOW,
            )
        return
    expected = [layer.shape if isinstance(layer, RectangularLayer) else () for layer in geometry.layers]
    if list(shapes) != expected:
        raise InputError(
            source,
            f"has layers of {_listed(shapes)} cells; its geometry, by default the CaloGAN's, has {_listed(expected)}",
            advice="Give the geometry of its calorimeter as JSON (mlgen.showers.Geometry.to_json).",
        )


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) or "polar" for shape in shapes)
