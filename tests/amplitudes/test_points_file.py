"""Files of points: what may stand in them, and what an error says of what may not."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mlgen.amplitudes.points_file import AmplitudePoints, read_points
from mlgen.errors import InputError
from mlgen.stages import FloatArray
from mlgen.testing.samples import scattering_amplitudes

IDS = (1, -1, 21, 21)
_, MOMENTA, VALUES = scattering_amplitudes(50, np.random.default_rng(80))
#: As many programs store them.
ENERGY_FIRST = np.roll(MOMENTA, 1, axis=2)
ARRAY_SUFFIXES = (".npz", ".h5", ".hdf5")


def stored(folder: Path, suffix: str = ".npz", **arrays: Any) -> Path:
    path = folder / f"points{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


def table(
    folder: Path, momenta: FloatArray = MOMENTA, *, value: str = "value", above: str = "", name: str = "points.csv"
) -> Path:
    """Write a table with the columns in an order of its own: the value first, the particles backwards."""
    particles = momenta.shape[1]
    places = [(slot, component) for slot in reversed(range(particles)) for component in (3, 2, 0, 1)]
    names = ",".join([value, *(f"{('PX', 'py', 'pz', 'E')[c]}{slot + 1}" for slot, c in places)])
    rows = [
        ",".join(map(repr, [float(VALUES[i]), *(float(momenta[i, slot, c]) for slot, c in places)]))
        for i in range(len(momenta))
    ]
    content = "\n".join([above + names, *rows]) + "\n"
    path = folder / name
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


def assert_read(points: AmplitudePoints, ids: tuple[int, ...] | None = None) -> None:
    assert np.array_equal(points.momenta, MOMENTA)
    assert np.array_equal(points.values, VALUES)
    assert points.momenta.dtype == points.values.dtype == np.float64
    assert points.momenta.flags.c_contiguous
    assert points.pdg_ids == ids


def refused(path: Path, **keys: str) -> str:
    with pytest.raises(InputError) as caught:
        read_points(path, **keys)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


# Arrays


@pytest.mark.parametrize("suffix", ARRAY_SUFFIXES)
@pytest.mark.parametrize("momenta_name", ["momenta", "p"])
@pytest.mark.parametrize("values_name", ["values", "value", "me", "me_madgraph"])
def test_usual_names(tmp_path, suffix, momenta_name, values_name):
    path = stored(tmp_path, suffix, **{momenta_name: MOMENTA, values_name: VALUES})
    assert_read(read_points(path))


@pytest.mark.parametrize("suffix", ARRAY_SUFFIXES)
def test_other_names(tmp_path, suffix):
    path = stored(tmp_path, suffix, k=MOMENTA, amplitude=VALUES, values=VALUES + 1)
    assert_read(read_points(path, momenta_key="k", values_key="amplitude"))


@pytest.mark.parametrize("suffix", ARRAY_SUFFIXES)
@pytest.mark.parametrize(
    ("array", "order"), [(MOMENTA, "(px, py, pz, energy)"), (ENERGY_FIRST, "(energy, px, py, pz)")]
)
def test_the_energy_is_found(tmp_path, suffix, array, order):
    points = read_points(stored(tmp_path, suffix, momenta=array, values=VALUES))
    assert_read(points)
    assert order in points.remarks[0]


def test_the_energy_is_found_among_boosted_points_in_single_precision(tmp_path):
    boosted = MOMENTA.copy()
    boosted[:, :, 2] = np.cosh(2) * MOMENTA[:, :, 2] + np.sinh(2) * MOMENTA[:, :, 3]
    boosted[:, :, 3] = np.cosh(2) * MOMENTA[:, :, 3] + np.sinh(2) * MOMENTA[:, :, 2]
    points = read_points(stored(tmp_path, p=np.roll(boosted, 1, axis=2).astype(np.float32), me=VALUES))
    assert points.momenta == pytest.approx(boosted, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("name", ["pdg_ids", "pdg"])
@pytest.mark.parametrize("ids", [IDS, np.tile(IDS, (50, 1))])
def test_pdg_ids(tmp_path, name, ids):
    assert_read(read_points(stored(tmp_path, momenta=MOMENTA, values=VALUES, **{name: ids})), IDS)


def test_a_single_kind_of_values_beside_other_arrays(tmp_path):
    """Neither scalars, nor tables, nor texts are mistaken for values."""
    others = {
        "me_unit": np.array("GeV^-2"),
        "me_scale": 0.5,
        "me_members": np.ones((50, 3)),
        "me_number": np.arange(50),
    }
    assert_read(read_points(stored(tmp_path, momenta=MOMENTA, me_full=VALUES, **others)))


def test_reference_file(shared_data):
    path = shared_data / "matrix_elements" / "gg_ttg_me_reference.npz"
    message = refused(path)
    assert "me_cudacpp, me_fortran" in message
    assert "values_key" in message
    points = read_points(path, values_key="me_fortran")
    assert points.momenta.shape == (1024, 5, 4)
    assert points.pdg_ids == (21, 21, 6, -6, 21)
    # Top quarks of 173 GeV, and momenta that balance, show that each component is where it should be.
    mass_squared = points.momenta[:, 2:4, 3] ** 2 - np.sum(points.momenta[:, 2:4, :3] ** 2, axis=2)
    assert mass_squared == pytest.approx(173.0**2, rel=1e-6)
    balance = points.momenta[:, :2].sum(axis=1) - points.momenta[:, 2:].sum(axis=1)
    assert np.abs(balance).max() < 1e-8


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"momenta": MOMENTA}, "holds no values"),
        ({"values": VALUES}, "holds no momenta"),
        ({"momenta": MOMENTA, "p": MOMENTA, "values": VALUES}, "2 sets of momenta: momenta, p\nChoose one with"),
        (
            {"momenta": MOMENTA, "me": VALUES, "value": VALUES},
            "2 sets of values: value, me\nChoose one with values_key",
        ),
        ({"momenta": MOMENTA[:, :, :3], "values": VALUES}, "(50, 4, 3); (points, particles, 4) is expected"),
        ({"momenta": MOMENTA.reshape(50, 16), "values": VALUES}, "(50, 16)"),
        ({"momenta": MOMENTA, "values": VALUES[1:]}, "(49,); (50,) is expected"),
        ({"momenta": MOMENTA, "values": VALUES[:, None]}, "(50, 1); (50,) is expected"),
        ({"momenta": MOMENTA[:0], "values": VALUES[:0]}, "no points"),
        ({"momenta": MOMENTA, "values": VALUES + 1j}, "'values' is no array of real numbers"),
        ({"momenta": MOMENTA, "values": VALUES, "pdg": IDS[:3]}, "(3,); whole numbers, (4,), are expected"),
        ({"momenta": MOMENTA, "values": VALUES, "pdg": np.arange(200).reshape(50, 4)}, "from point to point"),
        (
            {"momenta": np.where(np.arange(50)[:, None, None] == 6, np.nan, MOMENTA), "values": VALUES},
            "point 7 (1 of 50",
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_wrong_arrays(tmp_path, suffix, arrays, words):
    assert words in refused(stored(tmp_path, suffix, **arrays))


def test_a_name_that_is_not_there(tmp_path):
    path = stored(tmp_path, momenta=MOMENTA, me_full=VALUES)
    message = refused(path, values_key="me_ful")
    assert "there are momenta, me_full; did you mean 'me_full'?" in message
    assert "no such name" in refused(path, momenta_key="q")


def test_a_group_is_no_array(tmp_path):
    with h5py.File(tmp_path / "points.h5", "w") as file:
        file["momenta"], file["values/inner"] = MOMENTA, VALUES
    assert "'values' is no array" in refused(tmp_path / "points.h5")


def test_no_component_is_the_energy(tmp_path):
    """All momenta outgoing: the incoming ones have negative energies."""
    outgoing = MOMENTA.copy()
    outgoing[:, :2] *= -1
    message = refused(stored(tmp_path, momenta=outgoing, values=VALUES))
    assert "neither the first nor the last" in message
    assert "50 of 50 points, first in point 1" in message


def test_one_point_whose_energy_is_too_small(tmp_path):
    wrong = ENERGY_FIRST.copy()
    wrong[7, 2, 0] *= 0.999
    message = refused(stored(tmp_path, momenta=wrong, values=VALUES))
    assert "the first one is less than the length of the other three, or not positive, in 1 of 50 points" in message
    assert "first in point 8" in message


def test_two_components_may_be_the_energy(tmp_path):
    along = np.zeros((5, 4, 4))
    along[:, :, 0] = along[:, :, 3] = 10.0
    assert "both the first and the last" in refused(stored(tmp_path, momenta=along, values=np.ones(5)))


def test_python_objects_are_not_loaded(tmp_path):
    path = stored(tmp_path, momenta=MOMENTA, values=np.array([{}] * 50, dtype=object))
    assert "'values' cannot be read" in refused(path)


# Tables


@pytest.mark.parametrize("name", ["points.csv", "points.csv.gz", "POINTS.CSV"])
@pytest.mark.parametrize("value", ["value", "Values", "ME", "me_full"])
def test_table(tmp_path, name, value):
    points = read_points(table(tmp_path, value=value, name=name))
    assert_read(points)
    assert points.remarks == ()


@pytest.mark.parametrize("line", ["# pdg: 1 -1 21 21", "#PDG ids: 1, -1, 21, 21"])
def test_pdg_ids_of_a_table(tmp_path, line):
    assert_read(read_points(table(tmp_path, above=f"# made by hand\n\n{line}\n")), IDS)


def test_columns_by_their_names(tmp_path):
    """One particle, with everything where nobody expects it."""
    path = tmp_path / "points.csv"
    path.write_text("\ufeffnote,E1,pz1,weight,py1,px1,Amplitude\nfirst,9,3,x,2,1,0.5\n\nsecond,8,30,y,20,10,2e-3\n")
    points = read_points(path, values_key="amplitude")
    assert points.momenta.tolist() == [[[1.0, 2.0, 3.0, 9.0]], [[10.0, 20.0, 30.0, 8.0]]]
    assert points.values.tolist() == [0.5, 0.002]
    assert points.remarks == ("Columns that were not used: note, weight.",)


ONE = "px1,py1,pz1,E1,value\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no line of column names"),
        ("# pdg: 21\n", "no line of column names"),
        ("x,y,value\n1,2,3\n", "names no momenta"),
        ("px1,py1,E1,px3,value\n", "line 1: the columns pz1, px2, py2, pz2, e2, py3, pz3, e3 are missing"),
        ("px0,py0,pz0,E0,value\n1,2,3,9,1\n", "names no momenta"),
        ("px1,py1,pz1,E1\n1,2,3,9\n", "holds no values"),
        ("px1,py1,pz1,E1,me_a,me_b\n1,2,3,9,1,1\n", "2 sets of values: me_a, me_b"),
        ("px1,py1,pz1,E1,E1,value\n", "line 1: columns of the same name: e1"),
        (ONE, "no points"),
        (ONE + "1,2,3,9,1\n# fine\n1,2,x,9,1\n", "line 4: 'x' in column 'pz1' is not a number"),
        (ONE + "1,2,3,9,1\n1,2,3,9\n", "line 3: has 4 columns; the line of names has 5"),
        (ONE + "1,2,3,9,\n", "line 2: '' in column 'value' is not a number"),
        ("# pdg: 21 g\n" + ONE + "1,2,3,9,1\n", "line 1: '# pdg: 21 g' is no list of PDG ids"),
        ("# pdg: 21 21\n" + ONE + "1,2,3,9,1\n", "has 2 numbers, but there are columns for 1"),
    ],
)
def test_wrong_tables(tmp_path, content, words):
    path = tmp_path / "points.csv"
    path.write_text(content)
    assert words in refused(path)


def test_columns_name_the_momenta_of_a_table(tmp_path):
    assert "momenta_key = 'p'" in refused(table(tmp_path), momenta_key="p")


# Files


def test_files_that_are_not_there(tmp_path):
    assert "no such file" in refused(tmp_path / "points.npz")
    (tmp_path / "folder.h5").mkdir()
    assert "directory" in refused(tmp_path / "folder.h5")
    assert ".npz, .h5, .hdf5, .csv, .csv.gz" in refused(tmp_path / "points.txt")


@pytest.mark.parametrize("suffix", [*ARRAY_SUFFIXES, ".csv", ".csv.gz"])
@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe something else", b"PK\x03\x04", b"\x1f\x8b\x08\x00"])
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f"points{suffix}"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".csv.gz"])
def test_files_that_are_cut(tmp_path, suffix):
    path = table(tmp_path, name="points.csv.gz") if "csv" in suffix else stored(tmp_path, suffix, p=MOMENTA, me=VALUES)
    path.write_bytes(path.read_bytes()[:2000])
    refused(path)
