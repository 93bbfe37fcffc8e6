"""Where the grid of a set of parton densities is, and what is known of the set."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlgen.errors import ProcessError, nearest

#: Environment variables that LHAPDF itself looks at, in its order.
_PATH_VARIABLES = ("LHAPDF_DATA_PATH", "LHAPATH")

#: LHAPDF numbers and alpha_s(m_Z) of the grids that Pythia ships without their ``.info`` file. Their coupling runs at
#: one loop, as that of any leading-order set. The numbers are those of LHAPDF's pdfsets.index; quark masses are those
#: of the fits: Ball et al., arXiv:1207.1303 (NNPDF2.3, m_c^2 = 2 GeV^2) and arXiv:1706.00428 (NNPDF3.1).
_SHIPPED_WITHOUT_INFO: Mapping[str, Mapping[str, str]] = {
    name: {"SetIndex": index, "AlphaS_MZ": alpha_s, "AlphaS_OrderQCD": "0", "MZ": "91.1876"}
    | {"MCharm": charm, "MBottom": bottom, "MTop": top}
    for name, index, alpha_s, charm, bottom, top in (
        ("NNPDF23_lo_as_0119_qed", "246800", "0.119", "1.414214", "4.75", "175"),
        ("NNPDF23_lo_as_0130_qed", "247000", "0.130", "1.414214", "4.75", "175"),
        ("NNPDF31_lo_as_0118", "315000", "0.118", "1.51", "4.92", "172.5"),
        ("NNPDF31_lo_as_0130", "315200", "0.130", "1.51", "4.92", "172.5"),
    )
}


@dataclass(frozen=True, slots=True)
class PdfFiles:
    """The files of one member of a set.

    Args:
        name: Name of the set.
        grid: Its ``.dat`` file.
        info_file: Its ``.info`` file, None where there is none.
        info: What that file says, or what is known of a set that comes without; key -> text.
    """

    name: str
    grid: Path
    info_file: Path | None = None
    info: Mapping[str, str] = field(default_factory=dict)

    @property
    def set_index(self) -> int:
        """The number of the set in LHAPDF, 0 when it is not known."""
        text = self.info.get("SetIndex", "0")
        return int(text) if text.isdigit() else 0

    def sha256(self) -> str:
        """Return the digest of the grid's bytes."""
        return hashlib.sha256(self.grid.read_bytes()).hexdigest()


def pythia_data_folders() -> Iterator[Path]:
    """Yield the folders in which the package ``pythia8mc`` may have its grids, whether they are there or not."""
    try:
        distribution = importlib.metadata.distribution("pythia8mc")
    except importlib.metadata.PackageNotFoundError:
        files = []
    else:
        files = [file for file in distribution.files or [] if "pdfdata" in file.parts]
    seen = set()
    recorded = [Path(str(file.locate())).resolve().parent for file in files[:1]]
    roots = (sys.prefix, sysconfig.get_path("data"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    for folder in [*recorded, *(Path(root) / "share" / "Pythia8" / "pdfdata" for root in roots)]:
        if folder not in seen:
            seen.add(folder)
            yield folder


def search_folders() -> Iterator[tuple[str, Path]]:
    """Yield where grids are looked for, in order, each with a word on what it is."""
    for variable in _PATH_VARIABLES:
        for entry in filter(None, os.environ.get(variable, "").split(os.pathsep)):
            yield variable, Path(entry)
    for folder in pythia_data_folders():
        yield "pythia8mc", folder
    yield "the current folder", Path()


def find_pdf(pdf: str) -> PdfFiles:
    """Find the grid of member 0 of a set.

    Args:
        pdf: Name of a set, or path of a ``.dat`` grid.

    Raises:
        ProcessError: It is in none of the places; names each of them, and says how to get it.
    """
    if pdf.endswith(".dat") or os.sep in pdf:
        path = Path(pdf).expanduser()
        if not path.is_file():
            raise ProcessError(
                f"pdf = '{pdf}': there is no such file; give the path of an LHAPDF grid (.dat), or the name of a set"
            )
        return _with_info(path, re.sub(r"_\d{4}$", "", path.stem))
    looked, names = [], set()
    for what, folder in search_folders():
        for place in (folder / pdf, folder):
            grid = place / f"{pdf}_0000.dat"
            if grid.is_file():
                return _with_info(grid, pdf)
        there = "" if folder.is_dir() else ", which is not there"
        looked.append(f"  {folder.resolve()} ({what}{there})")
        if folder.is_dir():
            names |= {path.name.removesuffix("_0000.dat") for path in folder.glob("*_0000.dat")}
    unset = [variable for variable in _PATH_VARIABLES if not os.environ.get(variable)]
    raise ProcessError(
        f"pdf = '{pdf}': its grid {pdf}_0000.dat was not found{nearest(pdf, names)}\nlooked for in:\n"
        + "\n".join(looked)
        + ("\n" + " and ".join(unset) + (" are" if len(unset) > 1 else " is") + " not set" if unset else "")
        + "\nget the grids that come with Pythia by  pip install 'mlgen-hep[pythia8]',  any other by\n"
        f"  lhapdf install {pdf}    (or unpack https://lhapdfsets.web.cern.ch/current/{pdf}.tar.gz)\n"
        "and name its folder in LHAPDF_DATA_PATH, or give the path of the .dat file"
    )


def _with_info(grid: Path, name: str) -> PdfFiles:
    info_file = grid.with_name(f"{name}.info")
    if not info_file.is_file():
        return PdfFiles(name, grid, None, _SHIPPED_WITHOUT_INFO.get(name, {}))
    info: dict[str, str] = {}
    key = ""
    for line in info_file.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := re.match(r"(\w+)\s*:\s*(.*)$", line):
            key, info[match[1]] = match[1], match[2].strip()
        elif key:  # a list that goes on in the next line
            info[key] += " " + line.strip()
    return PdfFiles(name, grid, info_file, info)
