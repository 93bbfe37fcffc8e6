"""The showers that a calorimeter surrogate learns from: files of several particles as one stream."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlgen.card import CalorimeterSection, Card
from mlgen.digests import sha256_of_files
from mlgen.errors import InputError
from mlgen.formats.shower_files import ShowerStream, geometry_difference, open_showers
from mlgen.showers import Geometry, ShowerBatch


class TrainingShowers:
    """Files of showers in one calorimeter, of one kind of particle or of several. Can be iterated again.

    Args:
        card: The card.
        section: Its [calorimeter], with showers.

    Attributes:
        geometry: Of all showers; without a particle where the files are of several kinds.
        showers: Number of showers in all files.
        source: The files' names, for people.
        sha256: SHA-256 of all that says what the showers are: the files, and the binning where the card names one.

    Raises:
        InputError: A file cannot be read, is of another calorimeter than the first, or does not say which particle
            its showers are of.
    """

    def __init__(self, card: Card, section: CalorimeterSection) -> None:
        self._paths = [card.path(name) for name in section.showers or ()]
        self._geometry = card.path(section.geometry) if section.geometry is not None else None
        self._particle = section.particle
        geometries = []
        self.showers = 0
        for path in self._paths:
            with self._opened(path) as stream:
                geometries.append(stream.geometry)
                self.showers += stream.n_showers
                self._check_particle(path, next(iter(stream.first_of_each(1))))
            _check_calorimeter(self._paths[0], geometries[0], path, stream.geometry)
        kinds = {geometry.particle for geometry in geometries}
        self.geometry = Geometry(kinds.pop() if len(kinds) == 1 else "", geometries[0].layers)
        self.source = ", ".join(path.name for path in self._paths)
        self.sha256 = self._digest()

    def __iter__(self) -> Iterator[ShowerBatch]:
        for path in self._paths:
            with self._opened(path) as stream:
                for batch in stream:
                    self._check_particle(path, batch)
                    yield dataclasses.replace(batch, geometry=self.geometry)

    @property
    def definition(self) -> dict[str, Any]:
        """What the showers are, as JSON values."""
        return {"sha256": self.sha256, "files": len(self._paths), "particle": self._particle}

    def _opened(self, path: Path) -> contextlib.AbstractContextManager[ShowerStream]:
        return open_showers(path, geometry=self._geometry, particle=self._particle)

    def _digest(self) -> str:
        files = sha256_of_files(self._paths)
        if self._geometry is None and self._particle is None:
            return files
        binning = sha256_of_files([self._geometry]) if self._geometry is not None else ""
        return hashlib.sha256(f"{files} {binning} {self._particle or ''}".encode()).hexdigest()

    @staticmethod
    def _check_particle(path: Path, batch: ShowerBatch) -> None:
        if not batch.pdg_id.all():
            raise InputError(
                str(path),
                "does not say which particle its showers are of",
                advice='Say it in the card: [calorimeter] particle = "photon" (electron, positron, pion).',
            )


def _check_calorimeter(first: Path, expected: Geometry, path: Path, found: Geometry) -> None:
    if found.layers != expected.layers:
        difference = geometry_difference(Geometry("", expected.layers), Geometry("", found.layers), str(first))
        raise InputError(
            str(path),
            f"is of another calorimeter than {first}: {difference}",
            advice="One model is of one calorimeter: give only files of one geometry as [calorimeter] showers.",
        )
