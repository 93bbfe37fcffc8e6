"""Which of Geant4's data files are there, and the environment that keeps geant4-pybind from asking for others.

When it is imported, geant4-pybind asks on standard input whether to download gigabytes of data, and downloads them
unasked where ``CI=true``; not where ``GEANT4_DATA_DIR`` is set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

FOLDER_VARIABLE = "GEANT4_DATA_DIR"
#: What the reference physics lists read, with the beginning of the folder's name in `FOLDER_VARIABLE`.
DATA_SETS: Mapping[str, str] = {
    "G4LEDATA": "G4EMLOW",
    "G4LEVELGAMMADATA": "PhotonEvaporation",
    "G4PARTICLEXSDATA": "G4PARTICLEXS",
    "G4SAIDXSDATA": "G4SAIDDATA",
    "G4ENSDFSTATEDATA": "G4ENSDFSTATE",
}
#: Further ones, of the lists with one of these in their names.
FURTHER: Mapping[str, Mapping[str, str]] = {
    "_HP": {"G4NEUTRONHPDATA": "G4NDL"},
    "AllHP": {"G4NEUTRONHPDATA": "G4NDL", "G4PARTICLEHPDATA": "G4TENDL"},
    "LBE": {"G4NEUTRONHPDATA": "G4NDL", "G4RADIOACTIVEDATA": "RadioactiveDecay"},
    "INCLXX": {"G4INCLDATA": "G4INCL", "G4ABLADATA": "G4ABLA"},
    "Shielding": {"G4NEUTRONHPDATA": "G4NDL", "G4RADIOACTIVEDATA": "RadioactiveDecay"},
}
#: Where geant4-pybind puts what it downloads.
_DOWNLOADED = ".geant4_pybind"


def missing_data(physics: str) -> list[str]:
    """Names of the data sets that a reference physics list reads and that are nowhere, as Geant4's variables."""
    needed = dict(DATA_SETS)
    for part, sets in FURTHER.items():
        if part in physics:
            needed |= sets
    return [variable for variable, folder in needed.items() if not _is_there(variable, folder)]


def data_folder() -> Path | None:
    """Folder with all data sets, None where there is none."""
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own)
    downloaded = Path.home() / _DOWNLOADED
    return downloaded if downloaded.is_dir() else None


def environment(empty: Path | None) -> dict[str, str]:
    """The environment for a process that imports geant4-pybind.

    Args:
        empty: An empty folder that stands for the data, for physics that need none; None for those that need them.
    """
    variables = dict(os.environ)
    if empty is None:
        # Set in any case: the sets of which each has a variable of its own are found by that.
        variables[FOLDER_VARIABLE] = str(data_folder() or Path.cwd())
        return variables
    for variable in [*DATA_SETS, *(name for sets in FURTHER.values() for name in sets)]:
        variables.pop(variable, None)
    # Geant4 wants this one to make its table of nuclides, and is content with an empty one: no excited nuclei.
    (empty / "ENSDFSTATE.dat").touch()
    return variables | {FOLDER_VARIABLE: str(empty), "G4ENSDFSTATEDATA": str(empty)}


def _is_there(variable: str, prefix: str) -> bool:
    if own := os.environ.get(variable):
        return Path(own).is_dir()
    folder = data_folder()
    return folder is not None and folder.is_dir() and any(path.is_dir() for path in folder.glob(f"{prefix}*"))
