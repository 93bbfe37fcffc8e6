"""From a process to events: weights, what is kept, what the files say."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlgen.card import parse_card
from mlgen.chain import plan_chain, run_chain
from mlgen.chain.closure import validate_chain
from mlgen.chain.spool import ChosenEvents, EventSpool, KeptCandidates, TemporaryFiles
from mlgen.errors import CardError, ProcessError, TrainingError, WriteFailure
from mlgen.events import EventBatch
from mlgen.formats import open_events
from mlgen.report import render
from mlgen.validation.record import Verdict

PROCESS = "[process]\nreaction = 'e- e+ > mu- mu+'\nbeams = ['e-', 'e+']\nenergy = 10\n"
FLAT = "[phase_space]\nplugin = 'flat'\nbudget = 1000\n"
VEGAS = "[phase_space]\nplugin = 'vegas'\nbudget = 5000\n"
UNWEIGHTING = "[unweighting]\nplugin = 'hit-or-miss'\n"
DRELL_YAN = """
[process]
reaction = "p p > mu+ mu-"
energy = 13_000
pdf = "NNPDF23_lo_as_0130_qed"
[process.cuts]
mass = { "mu+ mu-" = [60, 120] }
[phase_space]
plugin = "vegas"
budget = 20_000
"""


def run(text, directory, *, events=1000, seed=1, outputs="'out.lhe'", batch_size=1000):
    head = f"[run]\nevents = {events}\nseed = {seed}\nbatch_size = {batch_size}\n[output]\nfiles = [{outputs}]\n"
    return run_chain(plan_chain(parse_card(head + text, "card.toml", directory), force=True))


def whole(path: Path) -> EventBatch:
    with open_events(path) as events:
        return EventBatch.concatenate(list(events))


def information(path: Path):
    with open_events(path) as events:
        return events.run_info


def positions(batch: EventBatch):
    """Where in the hypercube the events of the known process come from."""
    momenta = batch.momenta().reshape(-1, 4, 4)
    return momenta[:, 2, [0, 2]] / 3


def first_incoming(batch: EventBatch):
    return batch.column("pdg_id").reshape(-1, 4)[:, 0]


def test_weighted_events_average_to_the_cross_section(known, tmp_path):
    result = run(PROCESS + FLAT, tmp_path, events=3000)
    batch, info = whole(tmp_path / "out.lhe"), information(tmp_path / "out.lhe")
    assert result.events == len(batch) == 3000
    assert np.all(batch.weight != 0)
    assert batch.weight.mean() == pytest.approx(info.cross_section, rel=1e-12)
    assert abs(info.cross_section - known.cross_section) < 4 * info.cross_section_error
    assert abs(info.weight_strategy) == 4
    assert info.processes[0].maximum_weight == np.abs(batch.weight).max()
    assert np.all(positions(batch) > 0.5)
    # A quarter of the points counts.
    assert result.stages[0].figures["candidates"] == pytest.approx(12_000, rel=0.1)
    assert any("have weight zero and are not written" in remark for remark in result.remarks)
    assert "candidates" in render(result.page())


@pytest.mark.parametrize("unweighting", ["", UNWEIGHTING, UNWEIGHTING + "maximum = 'overweight-share'\n"])
def test_events_are_distributed_as_the_integrand(unweighting, known, tmp_path):
    """Mean positions and subprocesses against closed forms, at four standard errors."""
    run(PROCESS + FLAT + unweighting, tmp_path, events=4000)
    batch, info = whole(tmp_path / "out.lhe"), information(tmp_path / "out.lhe")
    weight, x = batch.weight, positions(batch)
    share = weight / weight.sum()
    # Of 2 x on (1/2, 1) the mean is 7/9, of 3 x^2 it is 45/56.
    for values, expected in ((x[:, 0], 7 / 9), (x[:, 1], 45 / 56)):
        mean = np.average(values, weights=weight)
        assert abs(mean - expected) < 4 * math.sqrt((share**2 * (values - mean) ** 2).sum())
    parts = [weight[first_incoming(batch) == pdg_id] for pdg_id in (11, -11)]
    for part, expected in zip(parts, known.parts, strict=True):
        assert abs(part.sum() / len(weight) - expected) < 4 * math.sqrt((part**2).sum()) / len(weight)
    assert info.weight_strategy == -4
    assert np.all(parts[0] > 0)
    assert np.all(parts[1] < 0)


def test_unweighted_events_average_to_the_cross_section(known, tmp_path):
    """Each event counts +-2 times: what is drawn of contributions 3/2 and -1/2 has the size of both."""
    result = run(PROCESS + FLAT + UNWEIGHTING, tmp_path, events=2000)
    batch, info = whole(tmp_path / "out.lhe"), information(tmp_path / "out.lhe")
    assert len(batch) == 2000
    size = np.abs(batch.weight)
    assert size == pytest.approx(size[0], rel=1e-12)
    assert abs(size[0] - 2 * known.cross_section) < 4 * 2 * info.cross_section_error
    assert abs(info.cross_section - known.cross_section) < 4 * info.cross_section_error
    figures = result.stages[1].figures
    # Candidates of weight zero are among them: f is on average a sixth of its maximum, 60 pb.
    assert figures["efficiency"] == pytest.approx(known.cross_section / 60, rel=0.1)
    assert figures["candidates"] == result.stages[0].figures["candidates"]
    assert figures["accepted"] >= 2000


def test_the_estimate_of_few_events_is_unbiased(known, tmp_path):
    """The mean over 300 runs of 3 events each; counting N of T candidates instead would be 25 % too much."""
    known.shares = (0.7, 0.3)
    results = [run(PROCESS + FLAT, tmp_path, events=3, seed=seed, outputs="'few.lhe'") for seed in range(300)]
    values = np.array([result.cross_section for result in results])
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - known.cross_section) < 4 * error
    assert 4 * error < 0.25 * known.cross_section


def test_the_same_card_gives_the_same_bytes(known, tmp_path):
    text = PROCESS + VEGAS + UNWEIGHTING
    run(text, tmp_path, outputs="'a.lhe'")
    first = (tmp_path / "a.lhe").read_bytes()
    run(text, tmp_path, outputs="'a.lhe'")
    assert (tmp_path / "a.lhe").read_bytes() == first
    run(text, tmp_path, outputs="'a.lhe'", seed=2)
    assert (tmp_path / "a.lhe").read_bytes() != first


@pytest.mark.parametrize("unweighting", ["", UNWEIGHTING])
def test_events_do_not_depend_on_the_size_of_batches(unweighting, known, tmp_path):
    for size in (100, 10_000):
        run(PROCESS + FLAT + unweighting, tmp_path, batch_size=size, outputs=f"'{size}.lhe'")
    first, second = (whole(tmp_path / f"{size}.lhe") for size in (100, 10_000))
    assert first.momenta().tobytes() == second.momenta().tobytes()
    assert first.weight.tolist() == second.weight.tolist()


def test_points_that_were_not_needed_are_told_beside_those_that_are_not_finite(known, tmp_path):
    known.broken = "not finite"
    result = run(PROCESS + FLAT, tmp_path, events=300)
    not_finite, surplus, zeros = result.remarks
    evaluated = int(re.search(r"of ([\d,]+) points evaluated", not_finite)[1].replace(",", ""))
    left = int(re.search(r"not needed: ([\d,]+) are left", surplus)[1].replace(",", ""))
    assert evaluated > left == result.stages[0].figures["candidates"]
    assert f"of {left:,} candidates have weight zero" in zeros


def test_the_result_does_not_depend_on_the_sampler(known, tmp_path):
    """Two samplers, three standard errors of the difference (0.3 %)."""
    known.shares = (0.7, 0.3)
    found = []
    for sampler in (FLAT, VEGAS):
        result = run(PROCESS + sampler, tmp_path, events=4000)
        found.append((result.cross_section, result.cross_section_error))
    (first, first_error), (second, second_error) = found
    assert abs(first - second) < 3 * math.hypot(first_error, second_error)
    assert second_error < first_error


def test_without_a_sampler_the_classical_one_is_used(known, tmp_path):
    result = run(PROCESS, tmp_path, events=100)
    assert [stage.plugin for stage in result.stages] == ["vegas"]
    assert result.exactness == "exact"


def test_every_format_has_the_same_events_and_says_how_they_were_made(known, tmp_path):
    names = ["out.lhe", "out.hepmc3", "out.root", "out.lheh5"]
    result = run(PROCESS + FLAT + UNWEIGHTING, tmp_path, events=200, outputs=", ".join(map(repr, names)))
    first = whole(tmp_path / "out.lhe")
    for name in names:
        batch, info = whole(tmp_path / name), information(tmp_path / name)
        assert batch.momenta().tobytes() == first.momenta().tobytes()
        assert batch.weight.tolist() == first.weight.tolist()
        assert info.generator.startswith("mlgen ")
        record = info.provenance[-1]
        assert record["process"]["energy"] == 10
        assert [stage["plugin"] for stage in record["stages"]] == ["flat", "hit-or-miss"]
        assert record["stages"][0]["exactness"] == "exact"
        assert record["stages"][0]["model_sha256"] == result.stages[0].model_sha256
    json.dumps(result.to_dict())


def test_a_process_without_events_is_an_error(known, tmp_path):
    known.broken = "no phase space"
    with pytest.raises((ProcessError, TrainingError)):
        run(PROCESS + FLAT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_comes_back():
    rng = np.random.default_rng(3)
    with TemporaryFiles() as files:
        spool = EventSpool(files, 5)
        written = []
        for total, kept in ((7, 3), (4, 0), (5, 5)):
            part = KeptCandidates(
                np.sort(rng.permutation(total)[:kept]),
                rng.random(kept) - 0.5,
                *rng.integers(0, 3, (2, kept)),
                rng.random((kept, 5, 4)),
                *rng.random((2, kept)),
            )
            assert spool.append(part) == len(written)
            written.append(part)
        assert (spool.events, len(spool)) == (8, 3)
        for number, part in enumerate(written):
            found = spool.read(number)
            for name in ("index", "weight", "channel", "subprocess", "momenta", "scale", "alpha_s"):
                assert np.array_equal(getattr(found, name), getattr(part, name)), name
            weights = spool.weights(number)
            for name in ("index", "weight", "channel", "subprocess"):
                assert np.array_equal(getattr(weights, name), getattr(part, name)), name


def test_what_is_chosen_comes_back_up_to_the_limit():
    with TemporaryFiles() as files:
        for first in (7.0, 1.0):
            # A second choice takes the place of the first.
            chosen = ChosenEvents(files, 3)
            chosen.add(np.array([1, 4]), np.array([first, -2.0]))
            chosen.add(np.array([0, 2]), np.array([3.0, -50.0]))
        chosen.scale(2.0)
        assert (len(chosen), chosen.count, chosen.largest, chosen.negative) == (2, 4, 6.0, True)
        assert [part.tolist() for part in chosen.of(0)] == [[1, 4], [2.0, -4.0]]
        assert [part.tolist() for part in chosen.of(1)] == [[0], [6.0]]


def test_a_full_disk_is_said():
    with TemporaryFiles() as files:
        spool = EventSpool(files, 2)
        spool.weight_file.path = Path("/dev/full")
        numbers, weights = np.ones((2, 9000), int), np.ones((2, 9000))
        part = KeptCandidates(np.arange(9000), weights[0], *numbers, np.ones((9000, 2, 4)), *weights)
        with pytest.raises(WriteFailure, match="No space left on device; set TMPDIR"):
            spool.append(part)


def test_a_chain_from_a_process_is_validated(known, tmp_path):
    text = "[run]\nevents = 1500\n[validation]\nclassifier = false\n" + PROCESS + VEGAS + UNWEIGHTING
    result = validate_chain(parse_card(text, "card.toml", tmp_path))
    names = [comparison.sample.name for comparison in result.comparisons]
    assert names == ["phase space vegas", "unweighting hit-or-miss", "phase space vegas and unweighting hit-or-miss"]
    assert all(r.verdict is not Verdict.DIFFERS for c in result.comparisons for r in c.observables)
    with pytest.raises(CardError, match=r"give \[phase_space\], \[amplitude\] or \[unweighting\]"):
        validate_chain(parse_card("[run]\nevents = 1500\n" + PROCESS, "card.toml", tmp_path))


def test_the_same_bytes_whatever_the_number_of_threads(tmp_path):
    files = []
    for threads in ("1", "2"):
        folder = tmp_path / threads
        folder.mkdir()
        (folder / "card.toml").write_text(
            "[run]\nevents = 200\n[output]\nfiles = ['out.lhe']\n" + DRELL_YAN + UNWEIGHTING
        )
        command = [sys.executable, "-m", "mlgen", "run", str(folder / "card.toml")]
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
        files.append((folder / "out.lhe").read_bytes())
    assert files[0] == files[1]


@pytest.mark.physics
def test_pythia_showers_events_of_a_process(tmp_path):
    pythia8mc = pytest.importorskip("pythia8mc", reason="needs Pythia 8 (extra 'pythia8')")
    run(DRELL_YAN + UNWEIGHTING, tmp_path, events=300)
    pythia = pythia8mc.Pythia("", False)
    for setting in (
        "Print:quiet = on",
        "Beams:frameType = 4",
        f"Beams:LHEF = {tmp_path / 'out.lhe'}",
        "PartonLevel:MPI = off",
        "Random:setSeed = on",
        "Random:seed = 1",
    ):
        pythia.readString(setting)
    assert pythia.init()
    accepted = failed = 0
    while not pythia.infoPython().atEndOfFile():
        if pythia.next():
            accepted += 1
        elif not pythia.infoPython().atEndOfFile():
            failed += 1
    assert (accepted, failed) == (300, 0)
    # Pythia's own sum over the file, in mb.
    assert pythia.infoPython().sigmaGen() * 1e9 == pytest.approx(
        information(tmp_path / "out.lhe").cross_section, rel=0.01
    )
