"""Matrix elements of pyAmpliCol, against MadGraph and closed forms, and how they are generated and kept."""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import re
import subprocess as processes
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import mlgen
from mlgen.errors import ProcessError
from mlgen.hard_process.closed_forms import closed_form
from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.particles import find_particle
from mlgen.hard_process.permuted import Permuted
from mlgen.hard_process.subprocess import Subprocess
from mlgen.plugins import plugin_manager
from mlgen_amplicol import AmplicolSettings, generation, library
from mlgen_amplicol.generation import Request, default_cache, generated
from mlgen_amplicol.model import MODEL
from mlgen_amplicol.source import AmplicolMatrixElements
from mlgen_amplicol.symmetry import representative

STANDARD_MODEL = ModelParameters()
MASSLESS = ModelParameters(mass={"b": 0, "ta": 0})

needs_pyamplicol = pytest.mark.skipif(
    importlib.util.find_spec("pyamplicol") is None, reason="pyamplicol is not installed"
)


def subprocess_of(reaction: str) -> Subprocess:
    incoming, outgoing = ([find_particle(name).pdg_id for name in side.split()] for side in reaction.split(">"))
    return Subprocess((incoming[0], incoming[1]), tuple(outgoing))


def momenta_of(subprocess: Subprocess, parameters=STANDARD_MODEL, n: int = 50, energy: float = 900.0) -> np.ndarray:
    import madspace

    masses = [parameters.mass_of(pdg_id) for pdg_id in subprocess.pdg_ids]
    mapping = madspace.PhaseSpaceMapping([0.0, 0.0, *masses[2:]], energy, mode="rambo", leptonic=True)
    uniform = np.random.default_rng(4).uniform(0.02, 0.98, (n, mapping.random_dim()))
    return np.ascontiguousarray(np.asarray(mapping.map_forward([uniform])[0])[..., [1, 2, 3, 0]])


@pytest.fixture(scope="module")
def source(amplicol_cache):
    return AmplicolMatrixElements(AmplicolSettings(cache=str(amplicol_cache)))


@pytest.fixture
def gluons(source):
    (element,) = source.prepare([subprocess_of("g g > t t~ g")], STANDARD_MODEL)
    return element


@pytest.fixture
def reference(shared_data):
    """|M|^2 of g g > t t~ g from MadGraph 3.7.1, with alpha_s = 0.118."""
    points = np.load(shared_data / "matrix_elements" / "gg_ttg_me_reference.npz")
    return np.ascontiguousarray(points["p"][..., [1, 2, 3, 0]]), points["me_fortran"]


@needs_pyamplicol
@pytest.mark.physics
def test_agrees_with_madgraph(gluons, reference):
    momenta, expected = reference
    np.testing.assert_allclose(gluons.evaluate(momenta, np.full(len(momenta), 0.118)), expected, rtol=1e-10)


@needs_pyamplicol
@pytest.mark.physics
def test_scales_with_the_strong_coupling(gluons, reference):
    momenta, expected = reference
    alpha_s = np.linspace(0.07, 0.2, len(momenta))
    np.testing.assert_allclose(gluons.evaluate(momenta, alpha_s), expected * (alpha_s / 0.118) ** 3, rtol=1e-10)


@needs_pyamplicol
@pytest.mark.physics
def test_colour_flows_are_those_that_madgraph_wrote(gluons, shared_data):
    """Each of MadGraph's six flows of g g > t t~ g occurs as often as its weight says, and where it says.

    MadGraph draws a diagram first, and then a flow among those of the diagram: the shares agree to some per cent, and
    the flow that it wrote has a far larger weight than with two particles exchanged.
    """
    momenta, written = [], []
    with mlgen.open_events(shared_data / "lhe" / "madgraph-3.7.1-gg_ttg.lhe.gz") as batches:
        for batch in batches:
            fields = batch.particles
            columns = [getattr(fields, name).to_numpy() for name in ("px", "py", "pz", "energy")]
            momenta.append(np.stack(columns, axis=-1))
            written.append(np.stack([fields.color1.to_numpy(), fields.color2.to_numpy()], axis=-1))
    momenta, written = np.concatenate(momenta), np.concatenate(written)

    def pattern(lines):
        names = {0: 0}
        return tuple(names.setdefault(int(line), len(names)) for line in np.ravel(lines))

    known = [pattern(np.stack([flow.color, flow.anticolor], axis=-1)) for flow in gluons.color_flows]
    assert len(known) == 6
    drawn = np.array([known.index(pattern(lines)) for lines in written])
    each = np.arange(len(drawn))
    weights = gluons.color_flow_weights(momenta)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(np.bincount(drawn), weights.sum(axis=0), rtol=0.1)
    right = weights[each, drawn].mean()
    for exchanged in ([1, 0, 2, 3, 4], [0, 1, 3, 2, 4], [1, 0, 3, 2, 4]):
        assert gluons.color_flow_weights(momenta[:, exchanged])[each, drawn].mean() < right - 0.05
    assert right > 0.3


@needs_pyamplicol
@pytest.mark.physics
def test_massive_quarks_and_their_masses(source):
    """b quarks and top quarks of several masses against the closed form."""
    for reaction, name, mass in (("g g > b b~", "b", 4.7), ("g g > t t~", "t", 173.0), ("g g > t t~", "t", 80.0)):
        parameters = ModelParameters(mass={name: mass}, width={"t": 0})
        subprocess = subprocess_of(reaction)
        momenta = momenta_of(subprocess, parameters)
        (element,) = source.prepare([subprocess], parameters)
        expected = closed_form(subprocess, parameters)
        alpha_s = np.full(len(momenta), 0.118)
        np.testing.assert_allclose(element.evaluate(momenta, alpha_s), expected.evaluate(momenta, alpha_s), rtol=1e-8)


@needs_pyamplicol
@pytest.mark.physics
def test_jets_are_of_the_strong_interaction_alone(source):
    subprocess = subprocess_of("u d~ > u d~")
    momenta = momenta_of(subprocess)
    alpha_s = np.full(len(momenta), 0.118)
    (element,) = source.prepare([subprocess], MASSLESS)
    expected = closed_form(subprocess, MASSLESS).evaluate(momenta, alpha_s)
    np.testing.assert_allclose(element.evaluate(momenta, alpha_s), expected, rtol=1e-8)
    assert element.evaluate(momenta, 2 * alpha_s)[0] == pytest.approx(4 * expected[0])


@needs_pyamplicol
def test_a_lepton_pair_with_a_gluon_has_one_power_of_the_strong_coupling(source):
    subprocess = subprocess_of("d d~ > mu- mu+ g")
    (element,) = source.prepare([subprocess], STANDARD_MODEL)
    momenta = momenta_of(subprocess)
    value = element.evaluate(momenta, np.full(len(momenta), 0.1))
    assert (value > 0).all()
    np.testing.assert_allclose(element.evaluate(momenta, np.full(len(momenta), 0.2)), 2 * value)
    halved = ModelParameters(alpha_em_inverse=STANDARD_MODEL.alpha_em_inverse, width={"z": 10.0})
    (wider,) = source.prepare([subprocess], halved)
    assert not np.allclose(wider.evaluate(momenta, np.full(len(momenta), 0.1)), value, rtol=1e-6, atol=0)


@needs_pyamplicol
@pytest.mark.physics
def test_any_order_of_the_particles(source):
    """Swapped beams and another order of the outgoing particles are the same artifact, with momenta in that order."""
    straight, turned = subprocess_of("u g > g u"), subprocess_of("g u > u g")
    first, second = source.prepare([straight, turned], STANDARD_MODEL)
    momenta = momenta_of(straight)
    order = [1, 0, 3, 2]
    alpha_s = np.full(len(momenta), 0.118)
    np.testing.assert_allclose(second.evaluate(momenta[:, order], alpha_s), first.evaluate(momenta, alpha_s))
    np.testing.assert_allclose(second.color_flow_weights(momenta[:, order]), first.color_flow_weights(momenta))
    assert any(isinstance(element, Permuted) for element in (first, second))
    assert len(first.color_flows) == 2
    for one, other in zip(first.color_flows, second.color_flows, strict=True):
        assert [one.color[slot] for slot in order] == list(other.color)
        assert [one.anticolor[slot] for slot in order] == list(other.anticolor)


@needs_pyamplicol
@pytest.mark.physics
def test_equal_matrix_elements_are_one_object(source):
    """Equivalent flavours share an object, and pyAmpliCol itself finds their matrix elements equal."""
    reactions = ["u u~ > e- e+", "c c~ > mu- mu+", "d d~ > e- e+", "s s~ > e- e+", "b b~ > e- e+"]
    up, charm, *downs = source.prepare([subprocess_of(reaction) for reaction in reactions], MASSLESS)
    assert up is charm
    assert up is not downs[0]
    assert downs[0] is downs[1] is downs[2]
    request = Request("b b~ > mu- mu+", (0, 2), "full", MODEL, "no_masses", "compiled")
    cache = Path(source.settings.cache)
    other = library.load(generated(request, cache, 60), {})
    momenta = momenta_of(subprocess_of("b b~ > mu- mu+"), MASSLESS)
    value = np.real(other.evaluate(np.ascontiguousarray(momenta[..., [3, 0, 1, 2]])))
    np.testing.assert_allclose(downs[0].evaluate(momenta, np.ones(len(momenta))), value, rtol=1e-10)


@pytest.mark.parametrize(
    ("reaction", "same", "qed_order"),
    [
        ("c c~ > s s~", "d d~ > u u~", 0),
        ("s g > g s", "g d > g d", 0),
        ("c c~ > mu- mu+ g", "u u~ > g e- e+", 2),
        ("s s~ > c c~ e- e+", "d d~ > u u~ e- e+", 2),
        ("c s~ > mu+ vm", "d~ u > e+ ve", 2),
        ("c d~ > w+ g", None, 1),
        ("s s~ > w+ w-", "d d~ > w+ w-", 2),
        ("b b~ > w+ w-", "b b~ > w+ w-", 2),
        ("u s > u s h", "u s > u s h", 3),
        ("u d > u d h", "u d > u d h", 3),
    ],
)
def test_equivalent_flavours(reaction, same, qed_order):
    subprocess = subprocess_of(reaction)
    found = representative(subprocess, MASSLESS, qed_order)
    assert sorted(found.permutation) == list(range(len(subprocess.pdg_ids)))
    if same is not None:
        assert found.subprocess == representative(subprocess_of(same), MASSLESS, qed_order).subprocess
    # Each slot's particle is the same kind as that of the slot it stands for.
    for own, slot in zip(found.subprocess.pdg_ids, found.permutation, strict=True):
        assert (own > 0) == (subprocess.pdg_ids[slot] > 0)


def test_flavours_that_are_not_equivalent():
    def stands_for(reaction, parameters=MASSLESS, qed_order=2):
        return representative(subprocess_of(reaction), parameters, qed_order).subprocess

    assert stands_for("u u~ > e- e+") != stands_for("d d~ > e- e+")
    assert stands_for("b b~ > w+ w-") != stands_for("d d~ > w+ w-")
    assert stands_for("u s > u s h", qed_order=3) != stands_for("u d > u d h", qed_order=3)
    assert stands_for("e- e+ > ve ve~") != stands_for("e- e+ > vm vm~")
    assert stands_for("b b~ > g g", STANDARD_MODEL, 0) != stands_for("d d~ > g g", STANDARD_MODEL, 0)


@needs_pyamplicol
def test_threads_do_not_change_a_value(gluons, reference):
    momenta, _ = reference
    alpha_s = np.full(len(momenta), 0.118)
    for threads in (2, 3):
        gluons.threads = threads
        for n in (len(momenta), 773, 300):
            gluons.threads = 1
            alone = gluons.evaluate(momenta[:n], alpha_s[:n])
            gluons.threads = threads
            assert (gluons.evaluate(momenta[:n], alpha_s[:n]) == alone).all()
    assert gluons.evaluate(momenta[:0], alpha_s[:0]).shape == (0,)


@needs_pyamplicol
def test_several_processes_evaluate_at_the_same_time_without_symbolica(source, gluons):
    code = f"""
import sys, time
import numpy as np
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.subprocess import Subprocess
from mlgen_amplicol import AmplicolSettings
from mlgen_amplicol.source import AmplicolMatrixElements
source = AmplicolMatrixElements(AmplicolSettings(cache={source.settings.cache!r}, threads=1))
(element,) = source.prepare([Subprocess((21, 21), (6, -6, 21))], ModelParameters())
points = np.load(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
values = element.evaluate(points, np.full(len(points), 0.118))
print(repr(values.sum()), "symbolica" in sys.modules, flush=True)
sys.stdin.readline()
"""
    momenta = momenta_of(subprocess_of("g g > t t~ g"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "points.npy"
        np.save(file, momenta)
        both = [
            processes.Popen(
                [sys.executable, "-c", code, str(file)],
                stdin=processes.PIPE,
                stdout=processes.PIPE,
                stderr=processes.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        # Neither ends before both have evaluated.
        assert [one.stdout.readline() for one in both] == ["ready\n"] * 2
        for one in both:
            one.stdin.write("go\n")
            one.stdin.flush()
        said = [one.stdout.readline() for one in both]
        for one in both:
            _, errors = one.communicate("end\n", timeout=60)
            assert (one.returncode, errors) == (0, "")
    total = gluons.evaluate(momenta, np.full(len(momenta), 0.118)).sum()
    assert said == [f"{total!r} False\n"] * 2


@needs_pyamplicol
def test_what_pyamplicol_says_when_it_cannot_generate(tmp_path):
    request = Request("g g > ve ve~", (0, 2), "full", MODEL, "no_masses", "compiled")
    with pytest.raises(ProcessError, match=r"(?s)could not be generated: pyAmpliCol ended with exit code.*tree"):
        generated(request, tmp_path, 60)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@needs_pyamplicol
@pytest.mark.parametrize("file", [f"mlgen-amplicol-{os.getuid()}.lock", "cache/.lock"])
def test_only_one_generates_at_a_time(tmp_path, monkeypatch, file):
    """On a machine, because of symbolica; and in a cache, which several machines may share."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    request = Request("g g > t t~", (2, 0), "full", MODEL, "no_masses", "compiled")
    (tmp_path / "cache").mkdir()
    with (tmp_path / file).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ProcessError, match=f"another mlgen of yours has been generating.*{file}"):
            generated(request, tmp_path / "cache", 0)


@needs_pyamplicol
def test_an_artifact_that_is_there_is_never_replaced(tmp_path, monkeypatch):
    """A host without a lock that ends later keeps what another one has put there; what is incomplete is replaced."""
    request = Request("g g > t t~", (2, 0), "full", MODEL, "no_masses", "compiled")
    folder = tmp_path / request.digest[:32]

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    def run(_, output, __):
        output.mkdir()
        (output / "ours").touch()
        if others:
            (folder / "artifact").mkdir(parents=True)
            (folder / "artifact" / "theirs").touch()

    monkeypatch.setattr(generation.fcntl, "flock", no_locks)
    monkeypatch.setattr(generation, "_run", run)
    others = True
    assert [path.name for path in generated(request, tmp_path, 60).iterdir()] == ["theirs"]
    (folder / "artifact" / "theirs").unlink()
    (folder / "artifact").rmdir()
    (folder / "definition.json").touch()
    others = False
    assert [path.name for path in generated(request, tmp_path, 60).iterdir()] == ["ours"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".lock", folder.name])


@needs_pyamplicol
def test_symbolica_in_use_elsewhere_is_waited_for(tmp_path, monkeypatch):
    """A program of its own that uses symbolica ends; the one that generates had been refused, and tries again."""
    marker = tmp_path / "tried"
    script = (
        "import pathlib, sys\n"
        "marker, output = map(pathlib.Path, sys.argv[1:3])\n"
        "if not marker.exists():\n"
        "    marker.touch()\n"
        "    sys.exit('Cannot start another restricted Symbolica thread')\n"
        "output.mkdir()\n"
    )
    run = processes.run

    def instead(command, **options):
        return run([sys.executable, "-c", script, str(marker), command[5]], **options)

    monkeypatch.setattr(generation.subprocess, "run", instead)
    monkeypatch.setattr(generation, "_POLL_SECONDS", 0.01)
    request = Request("g g > t t~", (2, 0), "full", MODEL, "no_masses", "compiled")
    assert generated(request, tmp_path / "cache", 60).is_dir()
    marker.unlink()
    with pytest.raises(ProcessError, match="another program is using symbolica"):
        generated(request, tmp_path / "other", 0)


@needs_pyamplicol
def test_a_cache_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    request = Request("g g > t t~", (2, 0), "full", MODEL, "no_masses", "compiled")
    with pytest.raises(ProcessError, match=r"(?s)cannot be kept in.*MLGEN_CACHE"):
        generated(request, file / "cache", 1)


@needs_pyamplicol
def test_a_broken_artifact_says_where_it_is(tmp_path):
    (tmp_path / "artifact").mkdir()
    with pytest.raises(ProcessError, match=f"(?s){re.escape(str(tmp_path))}.*generated anew"):
        library.load(tmp_path / "artifact", {})


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MLGEN_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "amplicol"
    monkeypatch.delenv("MLGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "mlgen" / "amplicol"


@needs_pyamplicol
def test_a_request_is_told_by_all_that_defines_it():
    base = ("g g > t t~", (2, 0), "full", MODEL, "no_masses", "compiled")
    other = [("g g > g g", 0), ((0, 2), 1), ("lc", 2), ("default", 4), ("eager", 5)]
    digests = {Request(*base).digest}
    for value, place in other:
        digests.add(Request(*base[:place], value, *base[place + 1 :]).digest)
    assert len(digests) == 6


def test_without_the_package(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "pyamplicol" else find(name, *a))
    source = AmplicolMatrixElements(AmplicolSettings())
    with pytest.raises(ProcessError, match=re.escape("pip install 'mlgen-hep[amplicol]'")):
        source.prepare([subprocess_of("g g > t t~")], STANDARD_MODEL)


@needs_pyamplicol
def test_what_its_model_does_not_have(source):
    with pytest.raises(ProcessError, match=r"no Z', which takes part in d d~ > mu- mu\+"):
        source.prepare([subprocess_of("d d~ > mu- mu+")], ModelParameters(z_prime=ZPrime(mass=400, width=0.5)))
    with pytest.raises(ProcessError, match=r"mu[-+] has a mass of 0\.1 GeV"):
        source.prepare([subprocess_of("d d~ > mu- mu+")], ModelParameters(mass={"mu": 0.1}))
    with pytest.raises(ProcessError, match="no tree diagram"):
        source.prepare([subprocess_of("g g > ve ve~")], STANDARD_MODEL)


def test_registered_and_not_imported():
    (tool,) = [tool for tool in plugin_manager().tools["matrix_elements"] if tool.offer.name == "amplicol"]
    assert tool.offer.requires == "amplicol"
    code = "import sys, mlgen_amplicol; print({'pyamplicol', 'madspace', 'torch', 'symbolica'} & set(sys.modules))"
    started = time.monotonic()
    assert processes.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
    assert time.monotonic() - started < 20
