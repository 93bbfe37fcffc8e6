import math
import sys
from pathlib import Path

import numpy as np
import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process import pdf_files
from mlgen.hard_process.maps import madspace_context
from mlgen.hard_process.parton_densities import (
    GridCoupling,
    OneLoopCoupling,
    PartonDensities,
    coupling_of_set,
)
from mlgen.hard_process.pdf_files import find_pdf

NAME = "NNPDF23_lo_as_0130_qed"
PARTONS = (21, 1, 2, 3, 4, 5, -1, -2, -3, -4, -5)


@pytest.fixture(scope="module")
def files():
    pytest.importorskip("pythia8mc")
    return find_pdf(NAME)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Neither Pythia nor LHAPDF nor a grid in the current folder."""
    for variable in ("LHAPDF_DATA_PATH", "LHAPATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(pdf_files, "pythia_data_folders", lambda: iter([tmp_path / "share/Pythia8/pdfdata"]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.physics
def test_densities_are_those_of_pythia(files):
    # Pythia 8 reads the same grid with an interpolation of its own.
    pythia8 = pytest.importorskip("pythia8mc")
    pythia = pythia8.Pythia("", False)
    for line in ("Print:quiet = on", "PDF:pSet = 13"):
        pythia.readString(line)
    reference = pythia.getPDFPtr(2212)
    rng = np.random.default_rng(1)
    x, q = 10 ** rng.uniform(-4, -0.3, 500), 10 ** rng.uniform(1, 3.5, 500)
    expected = np.array([[reference.xf(pdg_id, a, b * b) for pdg_id in PARTONS] for a, b in zip(x, q, strict=True)])
    ours = PartonDensities(files, PARTONS, madspace_context(1))(x, q)
    np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.physics
@pytest.mark.parametrize("q", [10.0, 100.0])
def test_momentum_sum(files, q):
    # All partons together, the photon included, carry the proton's momentum.
    nodes, weights = np.polynomial.legendre.leggauss(400)
    log_x = 0.5 * (nodes + 1) * math.log(1e-8)
    x = np.exp(log_x)
    densities = PartonDensities(files, (*PARTONS, 22, 6, -6), madspace_context(1))(x, np.full(400, q))
    total = (weights * 0.5 * -math.log(1e-8) * x * densities.sum(axis=1)).sum()
    assert total == pytest.approx(1, abs=0.01)


def test_nothing_beyond_the_grid(files):
    density = PartonDensities(files, (21, 2), madspace_context(1))
    x, q = np.array([1e-10, 0.1, 0.1, 0.1, 1.2]), np.array([100.0, 0.5, 1e5, 100.0, 100.0])
    np.testing.assert_array_equal(density.outside(x, q), [True, True, True, False, True])
    values = density(x, q)
    assert (values[[0, 1, 2, 4]] == 0).all()
    assert (values[3] > 0).all()


def test_a_parton_that_a_set_does_not_have(files):
    with pytest.raises(ProcessError, match="has no density of the parton 25; it has: -6"):
        PartonDensities(files, (21, 25), madspace_context(1))


@pytest.mark.physics
def test_one_loop_coupling_is_that_of_pythia(files):
    pythia8 = pytest.importorskip("pythia8mc")
    reference = pythia8.AlphaStrong()
    reference.init(0.130, 1, 6, False)
    coupling = coupling_of_set(files, 6, madspace_context(1))
    # Pythia normalises at 91.188 GeV and has the top quark's threshold at 171, not 175 GeV.
    q = np.array([5.0, 20.0, 91.188, 150.0, 170.0, 500.0, 2000.0])
    expected = [reference.alphaS(one**2) for one in q]
    np.testing.assert_allclose(coupling(q)[:5], expected[:5], rtol=5e-5)
    np.testing.assert_allclose(coupling(q)[5:], expected[5:], rtol=1e-3)


@pytest.mark.physics
def test_coupling_at_the_z_mass_and_its_slope():
    coupling = OneLoopCoupling(0.118, 91.1876, (1.4, 4.75, 175.0), 5)
    assert coupling(np.array([91.1876])) == pytest.approx([0.118], rel=1e-12)
    # d (1 / alpha) / d log q = (33 - 2 n_f) / (6 pi), with five flavours above the top quark too.
    for low, high, flavors in ((1.5, 4.0, 4), (5.0, 170.0, 5), (200.0, 900.0, 5)):
        first, last = 1 / coupling(np.array([low, high]))
        assert (last - first) / math.log(high / low) == pytest.approx((33 - 2 * flavors) / (6 * math.pi))


@pytest.mark.physics
def test_coupling_from_the_table_of_an_info_file(nowhere, files):
    knots = np.geomspace(1, 1000, 60)
    values = OneLoopCoupling(0.118, 91.1876, (0.1, 0.2, 1e6), 5)(knots)
    grid = nowhere / "my_set_0000.dat"
    grid.write_bytes(files.grid.read_bytes())
    (nowhere / "my_set.info").write_text(
        "SetIndex: 12345\nAlphaS_OrderQCD: 1\nAlphaS_Type: ipol\n"
        f"AlphaS_Qs: [{', '.join(map(repr, knots.tolist()))}]\nAlphaS_Vals: [{', '.join(map(repr, values.tolist()))}]\n"
    )
    found = find_pdf("my_set")
    assert (found.name, found.set_index) == ("my_set", 12345)
    coupling = coupling_of_set(found, 5, madspace_context(1))
    assert isinstance(coupling, GridCoupling)
    q = np.array([3.0, 20.0, 91.1876, 800.0])
    np.testing.assert_allclose(coupling(q), OneLoopCoupling(0.118, 91.1876, (0.1, 0.2, 1e6), 5)(q), rtol=1e-4)
    assert np.isfinite(coupling(np.array([0.5, 1000.0, 5000.0]))).all()


def test_a_set_without_coupling(nowhere, files):
    (nowhere / "my_set_0000.dat").write_bytes(files.grid.read_bytes())
    with pytest.raises(ProcessError, match=r"has no my_set\.info.*alpha_s = 0\.118"):
        coupling_of_set(find_pdf("my_set"), 5, madspace_context(1))


def test_set_that_comes_with_pythia(files):
    assert files.grid.name == f"{NAME}_0000.dat"
    assert files.set_index == 247000
    assert Path(sys.prefix).resolve() in files.grid.resolve().parents


def test_places_where_a_set_is_looked_for(nowhere, monkeypatch, files):
    first, second = nowhere / "first", nowhere / "second"
    (second / NAME).mkdir(parents=True)
    (second / NAME / f"{NAME}_0000.dat").write_text("")
    monkeypatch.setenv("LHAPDF_DATA_PATH", f"{first}:{second}")
    assert find_pdf(NAME).grid == second / NAME / f"{NAME}_0000.dat"
    monkeypatch.delenv("LHAPDF_DATA_PATH")
    with pytest.raises(ProcessError) as raised:
        find_pdf(NAME)
    message = str(raised.value)
    assert f"{nowhere}/share/Pythia8/pdfdata (pythia8mc, which is not there)" in message
    assert f"{nowhere} (the current folder)" in message
    assert "LHAPDF_DATA_PATH and LHAPATH are not set" in message
    assert "mlgen-hep[pythia8]" in message


def test_name_of_a_set_with_a_slip(files):
    with pytest.raises(ProcessError, match=f"did you mean '{NAME}'"):
        find_pdf("NNPDF23_lo_as_013_qed")


def test_file_of_a_grid(nowhere, files):
    assert find_pdf(str(files.grid)).name == NAME
    assert find_pdf(str(files.grid)).set_index == 247000
    with pytest.raises(ProcessError, match="there is no such file"):
        find_pdf("grids/none.dat")
    (nowhere / "wrong.dat").write_text("not a grid\n")
    with pytest.raises(ProcessError, match="cannot be read as an LHAPDF grid"):
        PartonDensities(find_pdf("wrong.dat"), (21,), madspace_context(1))
