import subprocess
import sys

import fastjet
import numpy as np
import pytest
import pythia8mc

from mlgen.errors import UserError
from mlgen.events import EventBatch
from mlgen.validation import jets as module
from mlgen.validation.jets import cluster
from mlgen.validation.object_types import JET, ObjectRef
from mlgen.validation.objects import EventObjects
from mlgen.validation.settings import JetSettings

ALGORITHMS = {
    "anti-kt": fastjet.antikt_algorithm,
    "kt": fastjet.kt_algorithm,
    "cambridge-aachen": fastjet.cambridge_algorithm,
}


@pytest.fixture(scope="module")
def showered():
    """The final particles of five showered events p p -> Z j -> mu mu j, as a batch at shower level without ancestry.

    What the muons and photons come from is left out: they are all prompt.
    """
    pythia = pythia8mc.Pythia("", False)
    for setting in (
        "Print:quiet = on",
        "Beams:eCM = 13000.",
        "WeakBosonAndParton:qg2gmZq = on",
        "PhaseSpace:pTHatMin = 60.",
        "23:onMode = off",
        "23:onIfAny = 13",
        "PartonLevel:MPI = off",
        "Random:setSeed = on",
        "Random:seed = 7",
    ):
        pythia.readString(setting)
    assert pythia.init()
    counts, rows = [], []
    while len(counts) < 5:
        if pythia.next():
            event = pythia.event
            final = [event[i] for i in range(event.size()) if event[i].isFinal()]
            rows += [(p.id(), p.px(), p.py(), p.pz(), p.e()) for p in final]
            counts.append(len(final))
    counts.insert(2, 0)
    columns = dict(zip(("pdg_id", "px", "py", "pz", "energy"), map(np.array, zip(*rows, strict=True)), strict=True))
    columns["production_vertex"] = columns["end_vertex"] = np.full(len(rows), -1)
    empty = {name: np.zeros(0) for name in ("x", "y", "z", "t", "status")}
    return EventBatch.from_columns(
        np.array(counts), columns, weight=np.ones(6), vertex_counts=np.zeros(6, int), vertex_columns=empty
    )


def directly(momenta, settings):
    """Jets of one event, by FastJet's own classes."""
    definition = fastjet.JetDefinition(ALGORITHMS[settings.algorithm], settings.radius)
    sequence = fastjet.ClusterSequence([fastjet.PseudoJet(*map(float, p)) for p in momenta], definition)
    jets = fastjet.sorted_by_pt(sequence.inclusive_jets(settings.pt_min))
    return [(j.px(), j.py(), j.pz(), j.e()) for j in jets if abs(j.eta()) < settings.abs_eta_max]


@pytest.mark.physics
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("radius", "pt_min", "eta_max"), [(0.4, 5.0, 5.0), (1.0, 20.0, 1.0)])
def test_jets_against_fastjet_called_for_each_event(showered, algorithm, radius, pt_min, eta_max):
    settings = JetSettings(algorithm=algorithm, radius=radius, pt_min=pt_min, abs_eta_max=eta_max)
    objects = EventObjects(showered, settings)
    pdg_id, momenta, pt = np.abs(objects.pdg_id), showered.momenta(), np.hypot(*showered.momenta().T[:2])
    # Neutrinos, prompt leptons and hard prompt photons are no part of jets.
    used = ~np.isin(pdg_id, (11, 12, 13, 14, 16)) & ~((pdg_id == 22) & (pt >= 10.0))
    total = 0
    for event, (start, stop) in enumerate(zip(showered.offsets[:-1], showered.offsets[1:], strict=True)):
        expected = directly(momenta[start:stop][used[start:stop]], settings) if stop > start else []
        assert objects.count(JET)[event] == len(expected)
        assert objects.quantity("HT")[event] == pytest.approx(sum(np.hypot(j[0], j[1]) for j in expected))
        for rank, jet in enumerate(expected, start=1):
            for name, value in zip(("px", "py", "pz", "energy"), jet, strict=True):
                found = objects.quantity(name, (ObjectRef(JET, rank),))[event]
                assert found == pytest.approx(value, rel=1e-9, abs=1e-9)
            mass = fastjet.PseudoJet(*jet).m()
            assert objects.quantity("mass", (ObjectRef(JET, rank),))[event] == pytest.approx(mass, rel=1e-6, abs=1e-5)
        total += len(expected)
    assert total >= 4


def test_particles_without_a_direction_belong_to_no_jet():
    momenta = np.array([[0.0, 50.0, np.nan, 30.0], [0.0] * 4, [900.0, 10.0, 0.0, 5.0], [900.0, 51.0, 10.0, 31.0]])
    jets, counts = cluster(momenta, np.array([3, 0, 1]), JetSettings())
    assert counts.tolist() == [1, 0, 1]
    assert np.allclose(jets[0], [50.0, 30.0])
    jets, counts = cluster(np.zeros((4, 0)), np.array([0, 0]), JetSettings())
    assert jets.shape == (4, 0)
    assert counts.tolist() == [0, 0]
    # None of the events has a jet above the threshold.
    jets, counts = cluster(momenta, np.array([3, 0, 1]), JetSettings(pt_min=1000.0))
    assert jets.shape == (4, 0)
    assert counts.tolist() == [0, 0, 0]


def test_without_fastjet(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'mlgen-hep\[jets\]'"):
        cluster(np.ones((4, 1)), np.array([1]), JetSettings())


def test_no_banner_on_standard_output():
    code = (
        "import numpy as np\n"
        "from mlgen.validation.jets import cluster\n"
        "from mlgen.validation.settings import JetSettings\n"
        "cluster(np.array([[50.0], [0.0], [0.0], [51.0]]), np.array([1]), JetSettings())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == ""
