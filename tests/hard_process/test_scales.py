import numpy as np
import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.scales import scale_function

PARAMETERS = ModelParameters()


def two_top_quarks(boost):
    """A pair at rest but for 30 GeV of pT, seen from a frame that moves along the beam; (energy, px, py, pz)."""
    mass = PARAMETERS.mass["t"]
    energy = np.hypot(mass, 30.0)
    beam = (
        [energy * np.exp(boost), 0, 0, energy * np.exp(boost)],
        [energy * np.exp(-boost), 0, 0, -energy * np.exp(-boost)],
    )
    out = [[energy * np.cosh(boost), sign * 30.0, 0, energy * np.sinh(boost)] for sign in (1, -1)]
    return np.array([[*beam, *out]])


@pytest.mark.parametrize("boost", [0.0, 1.3, -2.0])
@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (173.0, 173.0),
        ("ht", 2 * np.hypot(173.0, 30.0)),
        ("ht/2", np.hypot(173.0, 30.0)),
        ("sqrt(s-hat)", 2 * np.hypot(173.0, 30.0)),
        ("m(z)", 91.188),
        ("m(t)", 173.0),
    ],
)
def test_scales(scale, expected, boost):
    assert scale_function(scale, PARAMETERS)(two_top_quarks(boost)) == pytest.approx([expected], rel=1e-9)


def test_the_mass_of_a_massless_particle_is_no_scale():
    with pytest.raises(ProcessError, match=r"scale = 'm\(g\)' is 0 GeV; a scale is greater than 0"):
        scale_function("m(g)", PARAMETERS)
