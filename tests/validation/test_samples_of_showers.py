"""Samples of showers: several files, and how much of them is looked at beforehand."""

import numpy as np
import pytest

from mlgen.errors import InputError
from mlgen.formats.shower_files import write_showers
from mlgen.showers import Geometry, PolarLayer
from mlgen.testing.samples import showers
from mlgen.validation import samples
from mlgen.validation.samples import ReadingOptions, SampleFiles, ShowerSample, open_sample


@pytest.fixture
def files(tmp_path):
    paths = tuple(tmp_path / f"part{number}.h5" for number in range(3))
    for number, path in enumerate(paths):
        write_showers(path, [showers(40, np.random.default_rng(number))])
    return SampleFiles("showers", paths)


def test_several_files_are_one_sample(files):
    sample = open_sample(files, ReadingOptions())
    assert isinstance(sample, ShowerSample)
    expected = np.concatenate([showers(40, np.random.default_rng(number)).voxels for number in range(3)])
    for batches in (list(sample), sample.pilot(), list(sample)):
        np.testing.assert_array_equal(np.concatenate([batch.voxels for batch in batches]), expected)
    sample.close()


def test_files_of_two_geometries_are_not(files, tmp_path):
    batch = showers(40, np.random.default_rng(9))
    other = Geometry("photon", (PolarLayer(0, (0.0, 1.0), batch.geometry.n_voxels),))
    path = tmp_path / "other.h5"
    write_showers(path, [type(batch)(batch.incident_energy, batch.pdg_id, batch.direction, batch.voxels, other)])
    with pytest.raises(InputError, match=r"other\.h5: cannot be read as one sample with .*part0\.h5"):
        open_sample(SampleFiles("showers", (*files.files, path)), ReadingOptions())


@pytest.mark.parametrize(("limit", "value"), [("PILOT", 60), ("PILOT_BYTES", 60 * 12 * 8 + 5)])
def test_the_pilot_is_bounded_in_showers_and_in_memory(files, monkeypatch, limit, value):
    monkeypatch.setattr(samples, limit, value)
    sample = open_sample(files, ReadingOptions())
    pilot = sample.pilot()
    # Some of each file: one may have other energies than the next.
    assert [len(batch) for batch in pilot] == [20, 20, 20]
    assert sum(batch.voxels.nbytes for batch in pilot) <= samples.PILOT_BYTES
    assert all(batch.voxels.base is None for batch in pilot)
    assert sum(len(batch) for batch in sample) == 120
    found = sum(len(batch) for batch in sample.spread(120, seed=1))
    # 60 are expected, with a standard deviation of 5.5.
    assert 35 < found < 85
    sample.close()


def test_the_showers_that_are_kept_are_a_fair_choice_in_random_order(files, monkeypatch):
    """Files are often sorted by energy, or hold one particle after the other: the first showers are not all of them."""
    whole = np.concatenate([showers(40, np.random.default_rng(number)).voxels for number in range(3)])
    sample = open_sample(files, ReadingOptions())
    kept = sample.kept(1000, seed=1)
    assert kept.voxels.dtype == np.float32
    order = [int(np.flatnonzero(np.all(whole.astype(np.float32) == row, axis=1))[0]) for row in kept.voxels]
    assert sorted(order) == list(range(120))
    # Of 40 that are chosen at random, each third has 13.3 +- 2.4.
    assert all(5 < count < 22 for count in np.bincount(np.array(order[:40]) // 40, minlength=3))
    # As many showers of another sample are at the same places in the same order.
    again = sample.kept(50, seed=1)
    np.testing.assert_array_equal(again.voxels, kept.voxels[:50])
    np.testing.assert_array_equal(again.incident_energy, kept.incident_energy[:50])
    monkeypatch.setattr(samples, "KEPT_BYTES", 4 * sample.geometry.n_voxels * 30)
    assert len(sample.kept(50, seed=1)) == 30
    sample.close()
