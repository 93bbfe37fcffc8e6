"""Parton densities and the running strong coupling, from LHAPDF grids by way of madspace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.errors import ProcessError
from mlgen.hard_process.pdf_files import PdfFiles
from mlgen.stages import FloatArray

#: PDG id of the heaviest quark; a grid's own content says how many flavours it evolves.
_TOP = 6


class PartonDensities:
    r"""The densities :math:`x f_a(x, q)` of the proton, member 0 of a set.

    Bicubic in :math:`\log x` and :math:`\log q^2` (madspace, which agrees with LHAPDF), zero outside the grid.

    Args:
        files: The set.
        pdg_ids: The partons that are wanted, 21 for the gluon.
        context: The madspace context, which says how many threads there are.

    Attributes:
        pdg_ids: The partons, in the order of the columns.

    Raises:
        ProcessError: The grid cannot be read, or does not have a parton.

    References:
        Buckley et al., Eur. Phys. J. C 75, 132 (2015), arXiv:1412.7420.
    """

    def __init__(self, files: PdfFiles, pdg_ids: Sequence[int], context: Any) -> None:
        import madspace

        try:
            grid = madspace.PdfGrid(str(files.grid))
            limits = min(grid.x), max(grid.x), min(grid.q), max(grid.q)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ProcessError(f"{files.grid} cannot be read as an LHAPDF grid (format lhagrid1): {error}") from error
        if missing := [pdg_id for pdg_id in pdg_ids if pdg_id not in grid.pids]:
            raise ProcessError(
                f"the set '{files.name}' has no density of the parton {missing[0]}; it has: "
                f"{' '.join(map(str, sorted(grid.pids)))}; leave it out of the label p, or choose another set"
            )
        self.files = files
        self.pdg_ids = tuple(pdg_ids)
        self.x_min, self.x_max, self.q_min, self.q_max = limits
        self.flavors = max(abs(pdg_id) for pdg_id in grid.pids if abs(pdg_id) <= _TOP)
        # Several grids may live in one context: each under a name of its own.
        prefix = f"pdf{files.grid}"
        if not any(name.startswith(f"{prefix}.") for name in context.global_names()):
            grid.initialize_globals(context, prefix)
        density = madspace.PartonDensity(grid, list(pdg_ids), prefix=prefix)
        self._evaluate = madspace.FunctionRuntime(density.function(), context)

    def __call__(self, x: FloatArray, q: FloatArray) -> FloatArray:
        """Return ``x f(x, q)``, ``(n, partons)``, for ``x (n,)`` and the scale ``q (n,)`` in GeV."""
        if not len(x):
            return np.zeros((0, len(self.pdg_ids)))
        values = np.ascontiguousarray(self._evaluate(np.ascontiguousarray(x), np.ascontiguousarray(q)))
        outside = self.outside(x, q)
        if outside.any():
            values = np.where(outside[:, None], 0.0, values)
        return values

    def outside(self, x: FloatArray, q: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which points lie outside the grid, ``(n,)``."""
        inside = (x >= self.x_min) & (x <= self.x_max) & (q >= self.q_min) & (q <= self.q_max)
        return np.asarray(~inside)


class FixedCoupling:
    """A strong coupling that does not run."""

    def __init__(self, alpha_s: float) -> None:
        self.alpha_s = alpha_s

    def __call__(self, q: FloatArray) -> FloatArray:
        """Return alpha_s, ``(n,)``, at the scale ``q (n,)`` in GeV."""
        return np.full(len(q), self.alpha_s)


class GridCoupling:
    """The running coupling of a set, interpolated in the table of its ``.info`` file, as LHAPDF does it."""

    def __init__(self, files: PdfFiles, context: Any) -> None:
        import madspace

        try:
            grid = madspace.AlphaSGrid(str(files.info_file))
            self._limits = min(grid.q), max(grid.q)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ProcessError(f"{files.info_file}: its table of alpha_s cannot be read: {error}") from error
        prefix = f"alpha_s{files.info_file}"
        if not any(name.startswith(f"{prefix}.") for name in context.global_names()):
            grid.initialize_globals(context, prefix)
        self._evaluate = madspace.FunctionRuntime(madspace.RunningCoupling(grid, prefix).function(), context)

    def __call__(self, q: FloatArray) -> FloatArray:
        """Return alpha_s, ``(n,)``, at ``q (n,)`` in GeV; beyond the table its value at the end."""
        if not len(q):
            return np.zeros(0)
        # Just inside the last knot, where the interpolation still has an interval.
        inside = np.clip(q, self._limits[0], self._limits[1] * (1 - 1e-12))
        return np.ascontiguousarray(self._evaluate(np.ascontiguousarray(inside)), np.float64)


class OneLoopCoupling:
    r"""The one-loop running coupling, continuous at the flavour thresholds.

    .. math:: \frac{1}{\alpha_s(q)} = \frac{1}{\alpha_s(m_Z)} + \frac{33 - 2 n_f}{12 \pi} \log\frac{q^2}{m_Z^2}

    Args:
        alpha_s: Its value at the Z mass.
        z_mass: In GeV.
        thresholds: Masses of charm, bottom and top in GeV.
        flavors: Largest number of flavours.
    """

    def __init__(self, alpha_s: float, z_mass: float, thresholds: tuple[float, float, float], flavors: int) -> None:
        self._alpha_s, self._z_mass = alpha_s, z_mass
        self._thresholds, self._flavors = thresholds, flavors

    def _slope(self, n_flavors: int) -> float:
        return (33 - 2 * min(n_flavors, self._flavors)) / (12 * math.pi)

    def __call__(self, q: FloatArray) -> FloatArray:
        """Return alpha_s, ``(n,)``, at ``q (n,)`` in GeV; below 1 GeV that of 1 GeV."""
        q = np.maximum(q, 1.0)
        charm, bottom, top = self._thresholds
        edges = ((0.0, charm, 3), (charm, bottom, 4), (bottom, top, 5), (top, math.inf, 6))
        inverse = np.full(len(q), 1 / self._alpha_s)
        for low, high, n_flavors in edges:
            end = np.log(np.clip(q, max(low, 1e-3), high))
            start = math.log(min(max(self._z_mass, max(low, 1e-3)), high))
            inverse += 2 * self._slope(n_flavors) * (end - start)
        return np.asarray(1 / inverse, np.float64)


Coupling = FixedCoupling | GridCoupling | OneLoopCoupling


def coupling_of_set(files: PdfFiles, flavors: int, context: Any) -> Coupling:
    """Return the running coupling that a set was made with.

    Raises:
        ProcessError: Nothing says how it runs; says what to do.
    """
    if files.info_file is not None and "AlphaS_Qs" in files.info:
        return GridCoupling(files, context)
    info = files.info
    if info.get("AlphaS_OrderQCD") == "0" and "AlphaS_MZ" in info:
        charm, bottom, top = (
            float(info.get(key, default)) for key, default in (("MCharm", 1.4), ("MBottom", 4.75), ("MTop", 173.0))
        )
        z_mass = float(info.get("MZ", 91.1876))
        return OneLoopCoupling(float(info["AlphaS_MZ"]), z_mass, (charm, bottom, top), flavors)
    raise ProcessError(
        f"alpha_s = 'pdf': nothing says how the coupling of the set '{files.name}' runs, because {files.grid.parent} "
        f"has no {files.name}.info with a table of it; put that file beside the grid, or give a number: "
        "alpha_s = 0.118"
    )
