"""`check_arrays`: what does not fit is named, in one order."""

import numpy as np
import pytest

from mlgen import sampling
from mlgen.errors import ModelError
from mlgen.state_arrays import check_arrays

EXPECTED = {"weight": 2, "bias": 1, "scale": 0}
STATE = {"weight": np.zeros((2, 3)), "bias": np.zeros(3), "scale": np.zeros(())}


def test_what_fits_is_accepted():
    check_arrays("mine", STATE, EXPECTED)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bias": None}, "missing: bias"),
        ({"weight": None, "bias": None}, "missing: bias, weight"),
        ({"offset": np.zeros(1), "age": np.zeros(1)}, "too many: age, offset"),
        ({"bias": np.zeros((3, 1))}, "of another number of dimensions: bias (2, not 1)"),
        (
            {"scale": None, "offset": np.zeros(1), "weight": np.zeros(2)},
            "missing: scale; too many: offset; of another number of dimensions: weight (1, not 2)",
        ),
        ({"bias": np.array([1.0, np.nan])}, "its array 'bias' holds others"),
    ],
)
def test_what_does_not_fit_is_named(changes, words):
    state = {name: array for name, array in (STATE | changes).items() if array is not None}
    with pytest.raises(ModelError) as error:
        check_arrays("mine", state, EXPECTED)
    assert "mine" in str(error.value)
    assert str(error.value).endswith(words)


def test_samplers_find_it_where_it_was():
    assert sampling.check_arrays is check_arrays
