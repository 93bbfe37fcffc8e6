import math

import numpy as np
import pytest

from mlgen.errors import ProcessError
from mlgen.hard_process.hard_process import HardProcess
from mlgen.hard_process.integrand import features
from mlgen.hard_process.maps import madspace_context
from mlgen.hard_process.matrix_element import ColorFlow, MatrixElement, MatrixElements
from mlgen.hard_process.parton_densities import PartonDensities
from mlgen.hard_process.pdf_files import find_pdf
from mlgen.hard_process.settings import ProcessSettings
from mlgen.stages import Settings

pytest.importorskip("pythia8mc")

PDF = "NNPDF23_lo_as_0130_qed"
JET = {"pt": {"j": 20}, "eta": {"j": 5}, "mass": {"mu+ mu-": 50}}


class Given(MatrixElement):
    color_flows = (ColorFlow((0,) * 6, (0,) * 6),)

    def __init__(self, function):
        self.function = function

    def evaluate(self, momenta, alpha_s):
        assert momenta.flags.c_contiguous
        assert momenta.dtype == alpha_s.dtype == np.float64
        return self.function(momenta, alpha_s)


class GivenMatrixElements(MatrixElements):
    """|M|^2 by a function of momenta and alpha_s, the same for all subprocesses or one for each."""

    def __init__(self, function=lambda momenta, alpha_s: np.ones(len(momenta)), *, each=False):
        super().__init__(Settings())
        self.function, self.each = function, each

    def prepare(self, subprocesses, parameters):
        if self.each:
            return [Given(lambda p, a, s=s: self.function(p, a) * (1 + abs(s.incoming[0]))) for s in subprocesses]
        return [Given(self.function)] * len(subprocesses)

    def fingerprint(self):
        return {"program": "test"}


class BrokenForSoftGluons(GivenMatrixElements):
    """Not finite for an outgoing gluon of less than 100 GeV."""

    def prepare(self, subprocesses, parameters):
        def broken(momenta, alpha_s):
            transverse = np.hypot(momenta[:, 4, 0], momenta[:, 4, 1])
            return np.where(transverse < 50, np.inf, np.where(transverse < 100, np.nan, 1.0))

        gluon, other = Given(broken), Given(self.function)
        return [gluon if subprocess.outgoing[2] == 21 else other for subprocess in subprocesses]


def process(reaction, source=None, threads=1, **settings):
    known = {"reaction": reaction, "energy": 13_000, "pdf": PDF, "scale": 173.0} | settings
    return HardProcess(ProcessSettings(**known), [source or GivenMatrixElements()], threads=threads)


def points(integrand, n, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((n, integrand.dimensions)), rng.integers(len(integrand.channels), size=n)


def integral(integrand, n, seed):
    x, channel = points(integrand, n, seed)
    evaluated = integrand(x, channel)
    weight = evaluated.value * evaluated.prior[np.arange(n), channel] * len(integrand.channels)
    return weight.mean(), weight.std() / math.sqrt(n)


def soft_gluon(momenta, alpha_s):
    """Something that grows for soft particles behind the first two, as |M|^2 does."""
    transverse = (momenta[:, 4:, :2] ** 2).sum(axis=(1, 2))
    return 1e4 / (transverse + 10)


def test_what_is_returned():
    integrand = process("p p > mu+ mu- j", cuts=JET).integrand
    assert (integrand.dimensions, integrand.features) == (6, 15)
    x, channel = points(integrand, 2000)
    evaluated = integrand(x, channel)
    assert evaluated.value.shape == (2000,)
    assert evaluated.prior.shape == (2000, len(integrand.channels))
    assert evaluated.features.shape == (2000, integrand.features)
    for part in (evaluated.value, evaluated.prior, evaluated.features):
        assert part.dtype == np.float64
        assert np.isfinite(part).all()
    np.testing.assert_allclose(evaluated.prior.sum(axis=1), 1, atol=1e-12)
    assert np.abs(evaluated.features).max() < 12
    assert integrand.counts.evaluated == 2000


def test_points_tell_the_same_as_a_call():
    integrand = process("p p > mu+ mu- j", GivenMatrixElements(each=True), cuts=JET, scale="ht/2").integrand
    x, channel = points(integrand, 1000)
    evaluated, hard = integrand(x, channel), integrand.points(x, channel)
    np.testing.assert_allclose(hard.value, evaluated.value, rtol=1e-12)
    np.testing.assert_array_equal(hard.prior, evaluated.prior)
    np.testing.assert_array_equal(hard.features, evaluated.features)
    np.testing.assert_allclose(hard.subprocess_values.sum(axis=1), hard.value, rtol=1e-12)
    assert (np.count_nonzero(hard.subprocess_values, axis=0) > 0).all()
    inside = hard.value != 0
    transverse = np.hypot(hard.momenta[inside, 2:, 0], hard.momenta[inside, 2:, 1])
    # All particles are massless, so that half of HT is half the sum of transverse momenta.
    np.testing.assert_allclose(hard.factorisation_scale[inside], 0.5 * transverse.sum(axis=1), rtol=1e-6)
    assert transverse[:, 2].min() >= 20


def test_points_do_not_depend_on_their_batch_or_on_threads():
    settings = {"cuts": {"pt": {"g": 20}}}
    one = process("g g > t t~ g", GivenMatrixElements(soft_gluon), **settings).integrand
    two = process("g g > t t~ g", GivenMatrixElements(soft_gluon), threads=2, **settings).integrand
    x, channel = points(one, 9973)
    whole = one(x, channel)
    np.testing.assert_array_equal(two(x, channel).value, whole.value)
    np.testing.assert_array_equal(two(x, channel).prior, whole.prior)
    cut = [one(x[part], channel[part]).value for part in (slice(0, 1), slice(1, 30), slice(30, None))]
    np.testing.assert_array_equal(np.concatenate(cut), whole.value)
    strided = np.asfortranarray(x.astype(np.float32))
    assert np.isfinite(one(strided, channel).value).all()


@pytest.mark.physics
def test_cross_section_of_a_constant_matrix_element():
    # By quadrature: sigma = (hbar c)^2 / 2 s_hat * beta / 8 pi, folded with the gluon densities.
    scale, energy, mass = 173.0, 13_000.0, 173.0
    density = PartonDensities(find_pdf(PDF), (21,), madspace_context(1))
    nodes, weights = np.polynomial.legendre.leggauss(300)
    lowest = 2 * math.log(2 * mass / energy)
    log_tau, width_tau = 0.5 * lowest * (nodes + 1), -0.5 * lowest * weights
    total = 0.0
    for one, width in zip(log_tau, width_tau, strict=True):
        log_x1 = 0.5 * one * (nodes + 1)
        x1, x2 = np.exp(log_x1), np.exp(one - log_x1)
        luminosity = (density(x1, np.full(300, scale)) * density(x2, np.full(300, scale)))[:, 0]
        s_hat = math.exp(one) * energy**2
        velocity = math.sqrt(1 - 4 * mass**2 / s_hat)
        folded = (luminosity * -0.5 * one * weights).sum()
        total += width * folded * 0.3893793721e9 / (2 * s_hat) * velocity / (8 * math.pi)
    integrand = process("g g > t t~").integrand
    estimate, error = integral(integrand, 200_000, seed=2)
    assert error < 0.02 * total
    assert abs(estimate - total) < 4 * error


@pytest.mark.physics
@pytest.mark.parametrize("channels", [{"only": ["t[t]"]}, {"drop": ["t[t]"]}, {"add": ["z(t t~) g[g]"]}])
def test_the_integral_does_not_depend_on_the_channels(channels):
    settings = {"cuts": {"pt": {"g": 20}, "eta": {"g": 5}}}
    every = process("g g > t t~ g", GivenMatrixElements(soft_gluon), **settings).integrand
    some = process("g g > t t~ g", GivenMatrixElements(soft_gluon), channels=channels, **settings).integrand
    assert len(some.channels) != len(every.channels)
    first, second = integral(every, 150_000, seed=3), integral(some, 150_000, seed=4)
    error = math.hypot(first[1], second[1])
    assert error < 0.04 * first[0]
    assert abs(first[0] - second[0]) < 4 * error


@pytest.mark.physics
def test_the_other_beam_gives_the_same():
    # A quark from either beam, in a reaction that is symmetric otherwise.
    first = integral(process("u g > u g", GivenMatrixElements(soft_gluon), cuts={"pt": {"j": 50}}).integrand, 50_000, 5)
    second = integral(
        process("g u > g u", GivenMatrixElements(soft_gluon), cuts={"pt": {"j": 50}}).integrand, 50_000, 6
    )
    assert abs(first[0] - second[0]) < 4 * math.hypot(first[1], second[1])
    # An antiproton has as many antiquarks as a proton has quarks.
    third = integral(
        process("u~ g > u~ g", GivenMatrixElements(soft_gluon), beams=["p~", "p"], cuts={"pt": {"j": 50}}).integrand,
        50_000,
        5,
    )
    assert third[0] == pytest.approx(first[0], rel=1e-9)


def test_values_that_are_not_finite_are_set_to_zero_and_counted():
    def broken(momenta, alpha_s):
        values = np.ones(len(momenta))
        values[momenta[:, 2, 0] > 0] = np.nan
        values[momenta[:, 2, 0] > 100] = np.inf
        return values

    integrand = process("g g > t t~", GivenMatrixElements(broken)).integrand
    x, channel = points(integrand, 4000)
    evaluated = integrand(x, channel)
    assert np.isfinite(evaluated.value).all()
    assert integrand.counts.not_finite == np.count_nonzero(evaluated.value == 0) > 1000
    assert integrand.counts.outside_cuts == 0
    integrand.points(x, channel)
    assert integrand.counts.not_finite == 2 * np.count_nonzero(evaluated.value == 0)


def test_negative_values_are_kept_and_counted():
    integrand = process("g g > t t~", GivenMatrixElements(lambda p, a: -np.ones(len(p)))).integrand
    x, channel = points(integrand, 1000)
    value = integrand(x, channel).value
    assert integrand.counts.negative == np.count_nonzero(value < 0) > 900


def test_points_outside_the_cuts_are_zero_and_counted():
    integrand = process("g g > t t~ g", cuts={"pt": {"g": 20, "t": 100}, "delta_r": {"t g": 0.4}}).integrand
    x, channel = points(integrand, 4000)
    hard = integrand.points(x, channel)
    outside = hard.value == 0
    assert integrand.counts.outside_cuts == np.count_nonzero(outside) > 100
    assert (np.hypot(hard.momenta[~outside, 2, 0], hard.momenta[~outside, 2, 1]) >= 100).all()
    assert (hard.momenta[outside] == 0).all()
    np.testing.assert_allclose(hard.prior[outside], 1 / len(integrand.channels))


def test_cuts_of_some_subprocesses():
    everywhere = process("p p > t t~ j", cuts={"pt": {"j": 30}}).integrand
    gluons = process("p p > t t~ j", cuts={"pt": {"j": 30, "g": 100}}).integrand
    x, channel = points(everywhere, 3000)
    hard = gluons.points(x, channel)
    subprocesses = process("p p > t t~ j", cuts={"pt": {"j": 30}}).subprocesses
    gluon = np.array([one.outgoing[2] == 21 for one in subprocesses])
    assert 0 < gluon.sum() < len(gluon)
    soft = (np.hypot(hard.momenta[:, 4, 0], hard.momenta[:, 4, 1]) < 100) & (hard.value != 0)
    assert soft.sum() > 100
    assert (hard.subprocess_values[soft][:, gluon] == 0).all()
    assert (np.abs(hard.subprocess_values[soft][:, ~gluon]).sum(axis=1) > 0).all()


def test_what_is_not_finite_where_a_subprocess_is_cut_away_does_not_count():
    cuts = {"pt": {"j": 30, "g": 100}}
    source = BrokenForSoftGluons()
    integrand = process("p p > t t~ j", source, cuts=cuts).integrand
    x, channel = points(integrand, 3000)
    hard = integrand.points(x, channel)
    soft = (np.hypot(hard.momenta[:, 4, 0], hard.momenta[:, 4, 1]) < 100) & (hard.value != 0)
    assert soft.sum() > 100
    np.testing.assert_allclose(integrand(x, channel).value, hard.value, rtol=1e-12)
    assert integrand.counts.not_finite == 0


def test_scale_beyond_the_grid():
    integrand = process("g g > t t~", factorisation_scale=1e6).integrand
    x, channel = points(integrand, 500)
    assert (integrand(x, channel).value == 0).all()
    assert integrand.counts.outside_densities == 500


def test_alpha_s_at_the_renormalisation_scale():
    running = process("g g > t t~", scale="m(z)").integrand
    fixed = process("g g > t t~", alpha_s=0.118).integrand
    x, channel = points(running, 50)
    np.testing.assert_allclose(running.points(x, channel).alpha_s, 0.130, rtol=1e-4)
    np.testing.assert_allclose(fixed.points(x, channel).alpha_s, 0.118)


def test_cuts_without_phase_space():
    with pytest.raises(ProcessError, match="take an energy of 14000 GeV, and the beams have 13000"):
        process("g g > t t~", cuts={"mass": {"t t~": 14_000}})
    with pytest.raises(ProcessError, match="of 200000 points that were tried, not one is inside"):
        process("g g > t t~", cuts={"pt": {"t": 2000}, "rapidity": {"t": [3, 4]}})
    with pytest.raises(ProcessError, match=r"'t\(t g\) .* 1127 GeV or more together, but may have 1000 GeV at most"):
        process("g g > t t~ g", cuts={"mass": {"t g": 1000 + 127, "t t~ g": [0, 1000]}})


def test_features_do_not_change_by_a_turn_about_the_beam():
    integrand = process("g g > t t~ g", cuts={"pt": {"g": 20}}).integrand
    momenta = integrand.points(*points(integrand, 200)).momenta
    momenta = momenta[momenta[:, 0, 3] > 0][..., [3, 0, 1, 2]]
    turned = momenta.copy()
    turned[..., 1] = math.cos(1.1) * momenta[..., 1] - math.sin(1.1) * momenta[..., 2]
    turned[..., 2] = math.sin(1.1) * momenta[..., 1] + math.cos(1.1) * momenta[..., 2]
    before, after = features(momenta, 13_000.0), features(turned, 13_000.0)
    np.testing.assert_allclose(after, before, atol=1e-9)
    # All of them say something, and none is much larger than the others.
    assert (before.std(axis=0) > 0.05).all()
    assert np.abs(before).max() < 10


def test_leptons_collide_at_the_full_energy():
    integrand = process("e- e+ > mu- mu+", beams=["e-", "e+"], energy=500, pdf=None, scale="sqrt(s-hat)").integrand
    assert integrand.dimensions == 2
    hard = integrand.points(*points(integrand, 100))
    np.testing.assert_allclose(hard.momenta[:, :2, 3], 250)
    np.testing.assert_allclose(hard.factorisation_scale, 500)
    # |M|^2 = 1: the cross section is (hbar c)^2 / 2 s times the volume, 1 / 8 pi.
    estimate, _ = integral(integrand, 20_000, 1)
    assert estimate == pytest.approx(0.3893793721e9 / (2 * 500**2) / (8 * math.pi), rel=0.01)
