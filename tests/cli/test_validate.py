"""`mlgen validate` as a user types it: exit codes, what is said, what is written."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from mlgen.events import EventBatch
from mlgen.formats import create_events
from mlgen.formats.shower_files import write_showers
from mlgen.testing.samples import drell_yan_events, showers

QUICK = ("--set", "validation.classifier.seeds=1", "--set", "validation.classifier.events=1000")
NO_TRAINING = ("--no-classifier", "--no-report")


def written(path: Path, batch: EventBatch, info) -> Path:
    with create_events(path, info) as output:
        output.write(batch)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two independent samples of one process, the second in several formats, and a third with other leptons."""
    folder = tmp_path_factory.mktemp("samples")
    reference, info = drell_yan_events(3000, np.random.default_rng(11))
    sample, _ = drell_yan_events(3000, np.random.default_rng(12))
    written(folder / "truth.lhe.gz", reference, info)
    for suffix in ("lhe", "root", "h5"):
        written(folder / f"new.{suffix}", sample, info)
    harder, _ = drell_yan_events(3000, np.random.default_rng(13), gluon_fraction=0.7)
    written(folder / "harder.lhe", harder, info)
    with_gluon = harder.counts > 5
    shifts = {
        "mlgen.toy.syst.up": np.where(with_gluon, 1.6, 1.0),
        "mlgen.toy.syst.down": np.where(with_gluon, 0.5, 1.0),
    }
    banded = dataclasses.replace(harder, variations={name: harder.weight * shift for name, shift in shifts.items()})
    written(folder / "banded.lhe", banded, info.with_variations(tuple(shifts)))
    has_jet = sample.counts > 5
    written(folder / "jets.lhe", sample[has_jet], info)
    written(folder / "no_jets.lhe", sample[~has_jet], info)
    # Beyond one batch of the reader, so that a pilot does not see them all.
    many, _ = drell_yan_events(24_000, np.random.default_rng(14))
    has_jet = many.counts > 5
    written(folder / "ordered.lhe", EventBatch.concatenate([many[~has_jet][:10_500], many[has_jet][:10_500]]), info)
    for name, scale in (("exact", 1.0), ("dearer", 1.3)):
        processes = tuple(
            dataclasses.replace(p, cross_section=scale * p.cross_section, error=0.0) for p in info.processes
        )
        written(folder / f"{name}.lhe", sample if name == "exact" else reference, info.replace(processes=processes))
    written(folder / "one.lhe", sample[:1], info)
    negative = dataclasses.replace(sample, weight=-sample.weight)
    written(folder / "negative.lhe", negative, info.replace(weight_strategy=-4))
    cancelling = dataclasses.replace(sample, weight=np.tile([1.0, -1.0], 1500))
    written(folder / "zero.lhe", cancelling, info.replace(weight_strategy=-4))
    return folder


def test_a_report_and_a_verdict(folder, tmp_path, mlgen_command):
    report = tmp_path / "report.html"
    code, out, err = mlgen_command("validate", folder / "truth.lhe.gz", folder / "new.lhe", "-o", report, *QUICK)
    assert code == 0, err
    assert "agrees: none of" in out
    assert "AUC, network" in out
    page = report.read_text()
    assert "new.lhe against truth.lhe.gz" in page
    assert "pT(mu-)" in page
    code, _, err = mlgen_command("validate", folder / "truth.lhe.gz", folder / "new.lhe", "-o", report, *QUICK)
    assert code == 2
    assert "--force" in err


@pytest.mark.parametrize("suffix", ["root", "h5"])
def test_formats_mix(folder, suffix, mlgen_command):
    """The same events in another format have the same histograms, bin by bin."""
    results = []
    for name in (f"new.{suffix}", "new.lhe"):
        code, out, err = mlgen_command("validate", folder / "truth.lhe.gz", folder / name, "--json", *NO_TRAINING)
        assert code == 0, err
        results.append(json.loads(out)["comparisons"][0]["observables"])
    for first, second in zip(*results, strict=True):
        assert first["sample"]["values"] == pytest.approx(second["sample"]["values"], abs=1e-12)


def test_json_is_strict_and_holds_what_the_page_shows(folder, mlgen_command):
    arguments = ("validate", folder / "truth.lhe.gz", folder / "harder.lhe", "--json", "--no-report", *QUICK)
    code, out, _ = mlgen_command(*arguments)
    assert code == 0

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(out, parse_constant=refuse)
    assert content["agrees"] is False
    flagged = [o["observable"]["name"] for o in content["comparisons"][0]["observables"] if o["verdict"] == "differs"]
    assert "n(j)" in flagged
    assert "deltaphi(mu-, mu+)" in flagged
    assert set(content["comparisons"][0]["classifier"]["learned_weight_quantiles"]) == {"reference", "sample"}
    assert content["reference"]["sha256"]


def test_a_gate_exits_with_three_only_when_its_limit_is_passed(folder, mlgen_command):
    for sample, code in (("new.lhe", 0), ("harder.lhe", 3)):
        arguments = ("validate", folder / "truth.lhe.gz", folder / sample, *NO_TRAINING, "--fail-above", "3")
        assert mlgen_command(*arguments)[0] == code
    code, _, err = mlgen_command(
        "validate", folder / "truth.lhe.gz", folder / "new.lhe", *NO_TRAINING, "--fail-above", "auc=0.6"
    )
    assert code == 3
    assert "was not measured" in err


def test_a_gate_does_not_open_when_a_sample_lacks_an_observable(folder, mlgen_command):
    arguments = ("validate", folder / "truth.lhe.gz", folder / "no_jets.lhe", *NO_TRAINING, "--only", "pT(j1)")
    code, out, _ = mlgen_command(*arguments, "--fail-above", "5")
    assert code == 3
    assert "differs: only one of the samples has pT(j1)" in out


def test_cross_sections_without_errors_are_compared_all_the_same(folder, mlgen_command):
    arguments = ("validate", folder / "exact.lhe", folder / "dearer.lhe", *NO_TRAINING)
    code, out, err = mlgen_command(*arguments)
    assert code == 0, err
    assert "differs: the cross section" in out


def test_what_a_selection_keeps_is_compared(folder, mlgen_command):
    """Of the events with a jet 30 % are in the reference half, 60 % in the sample, and their shapes are the same."""
    arguments = ("validate", folder / "truth.lhe.gz", folder / "harder.lhe", *NO_TRAINING, "--only", "pT(j1)")
    code, out, err = mlgen_command(*arguments, "--select", "count('j') > 0")
    assert code == 0, err
    assert "differs: what the selection keeps" in out
    code, out, err = mlgen_command(*arguments, "--observable", "pT(j1) again=pt('j1')", "--only", "pT(j1) again")
    assert code == 0, err
    assert "of the events have it, in the reference" in out


def test_a_file_whose_first_events_do_not_tell_what_follows(folder, mlgen_command):
    """Events with a jet come after those without: the choice is made again, whatever the order."""
    results = []
    for order in ("no_jets.lhe,{0}/jets.lhe", "jets.lhe,{0}/no_jets.lhe"):
        sample = f"{folder}/{order.format(folder)}"
        code, out, err = mlgen_command("validate", folder / "truth.lhe.gz", f"both={sample}", "--json", *NO_TRAINING)
        assert code == 0, err
        results.append(json.loads(out)["comparisons"][0])
    assert results[0]["differences"] == results[1]["differences"]
    names = [[o["observable"]["name"] for o in result["observables"]] for result in results]
    assert names[0] == names[1]
    assert "pT(j1)" in names[0]


def test_a_later_part_of_one_file_that_is_unlike_the_first(folder, mlgen_command, monkeypatch):
    monkeypatch.setattr("mlgen.validation.samples.PILOT", 500)
    code, out, err = mlgen_command("validate", folder / "truth.lhe.gz", folder / "ordered.lhe", "--json", *NO_TRAINING)
    assert code == 0, err
    result = json.loads(out)["comparisons"][0]
    assert "pT(j1)" in [o["observable"]["name"] for o in result["observables"]]
    assert not any("Reactions" in sentence for sentence in result["differences"])


def test_a_selection_that_the_first_events_do_not_pass(folder, mlgen_command, monkeypatch):
    monkeypatch.setattr("mlgen.validation.samples.PILOT", 500)
    arguments = ("validate", folder / "truth.lhe.gz", folder / "ordered.lhe", "--select", "count('j') > 0")
    code, out, err = mlgen_command(*arguments, "--json", *NO_TRAINING)
    assert code == 0, err
    comparison = json.loads(out)["comparisons"][0]
    assert comparison["sample"]["selected"] == 10_500
    assert "pT(j1)" in [o["observable"]["name"] for o in comparison["observables"]]


def test_a_report_never_replaces_a_sample(folder, mlgen_command):
    before = (folder / "new.lhe").read_bytes()
    arguments = ("validate", folder / "truth.lhe.gz", folder / "new.lhe", "-o", folder / "new.lhe", "--force")
    code, _, err = mlgen_command(*arguments)
    assert code == 2
    assert "would replace a sample" in err
    assert (folder / "new.lhe").read_bytes() == before


def test_the_named_weights_of_a_sample_are_its_band(folder, mlgen_command):
    """What differs by less than the sample's own uncertainty still differs, but that is said."""
    arguments = ("validate", folder / "truth.lhe.gz", folder / "banded.lhe", "--json", *NO_TRAINING)
    code, out, err = mlgen_command(*arguments)
    assert code == 0, err
    results = {o["observable"]["name"]: o for o in json.loads(out)["comparisons"][0]["observables"]}
    low, high = np.array(results["n(j)"]["sample"]["band"])
    values = np.array(results["n(j)"]["sample"]["values"])
    with_jet = values[1] / values.sum()
    assert high[1] == pytest.approx(1.6 * with_jet / (1 + 0.6 * with_jet), rel=1e-6)
    assert low[1] == pytest.approx(0.5 * with_jet / (1 - 0.5 * with_jet), rel=1e-6)
    assert "within the sample's own uncertainty band" in results["n(j)"]["words"]
    code, out, err = mlgen_command(*arguments, "--set", "validation.band=[]")
    assert "within" not in out


def test_plots_go_where_they_are_asked_for(folder, tmp_path, mlgen_command):
    arguments = ("validate", folder / "truth.lhe.gz", folder / "new.lhe", *NO_TRAINING, "--only", "pT(mu*")
    code, _, err = mlgen_command(*arguments, "--plots", tmp_path / "plots")
    assert code == 0, err
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"pT_mu.png", "pT_mu.pdf"} & {name.replace("-", "").replace("+", "") for name in names}
    assert all((tmp_path / "plots" / name).stat().st_size > 1000 for name in names)


def test_samples_have_names_and_expressions_are_observables(folder, mlgen_command):
    code, out, err = mlgen_command(
        "validate",
        folder / "truth.lhe.gz",
        f"flow={folder / 'new.lhe'}",
        f"cfm={folder / 'harder.lhe'}",
        *(
            "--observable",
            "lepton pT=pt('mu-') + pt('mu+')",
            "--select",
            "pt('mu-') > 10",
            "--only",
            "lepton*",
            "--json",
        ),
        *NO_TRAINING,
    )
    assert code == 0, err
    content = json.loads(out)
    assert [c["sample"]["name"] for c in content["comparisons"]] == ["flow", "cfm"]
    assert [o["observable"]["name"] for o in content["comparisons"][0]["observables"]] == ["lepton pT"]
    assert content["reference"]["selected"] < content["reference"]["events"]


def test_the_card_sets_what_is_compared(folder, tmp_path, mlgen_command):
    card = tmp_path / "card.toml"
    card.write_text(
        '[run]\nseed = 7\n[validation]\nclassifier = false\nonly = ["mZ"]\n'
        "[validation.observables]\n"
        "mZ = { expression = \"m('mu-', 'mu+')\", bins = 12, range = [60, 120], unit = 'GeV' }\n"
    )
    code, out, err = mlgen_command(
        "validate", folder / "truth.lhe.gz", folder / "new.lhe", "--card", card, "--json", "--no-report"
    )
    assert code == 0, err
    content = json.loads(out)
    assert content["seed"] == 7
    (observable,) = content["comparisons"][0]["observables"]
    assert observable["edges"] == pytest.approx(np.linspace(60, 120, 13))


def test_a_mistake_in_the_card_names_its_line(folder, tmp_path, mlgen_command):
    card = tmp_path / "card.toml"
    card.write_text("[validation]\nbins = 10\nsignificanse = 0.1\n")
    code, _, err = mlgen_command("validate", folder / "truth.lhe.gz", folder / "new.lhe", "--card", card)
    assert code == 2
    assert "card.toml:3" in err
    assert "did you mean 'significance'" in err


@pytest.mark.parametrize(
    ("sample", "options", "message"),
    [
        ("absent.lhe", (), "there is no such file"),
        ("one.lhe", (), "one event is all there is"),
        ("negative.lhe", (), "a negative total cannot be compared"),
        ("zero.lhe", (), "sum to zero"),
        ("new.lhe", ("--select", "pt('mu-') > 1e6"), "none of its 3,000 events passes the selection"),
        ("new.lhe", ("--select", "ptt('mu-') > 1"), "did you mean 'pt'"),
        ("new.lhe", ("--observable", "x=pt('tau-')"), "there are:"),
        ("new.lhe", ("--observable", "nonsense"), "NAME=EXPRESSION is expected"),
        ("new.lhe", ("--only", "pT(tau-)"), "pT("),
        ("new.lhe", ("--fail-above", "acu=1"), "did you mean 'auc'"),
    ],
)
def test_what_cannot_be_compared_is_said(folder, sample, options, message, mlgen_command):
    code, _, err = mlgen_command("validate", folder / "truth.lhe.gz", folder / sample, *NO_TRAINING, *options)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_one_file_alone_is_not_enough(folder, mlgen_command):
    code, _, err = mlgen_command("validate", folder / "truth.lhe.gz")
    assert code == 2
    assert "at least one sample" in err


def test_showers_are_compared_with_showers_only(folder, tmp_path, mlgen_command):
    for number in (1, 2):
        write_showers(tmp_path / f"{number}.hdf5", [showers(800, np.random.default_rng(number))])
    first, second = tmp_path / "1.hdf5", tmp_path / "2.hdf5"
    code, out, err = mlgen_command("validate", first, second, *NO_TRAINING)
    assert code == 0, err
    assert "agrees" in out
    code, _, err = mlgen_command("validate", first, folder / "new.lhe", *NO_TRAINING)
    assert code == 2
    assert "it holds events, but the reference" in err


def test_showers_have_separation_powers_low_level_classifiers_and_pictures(tmp_path, mlgen_command):
    for number, name in enumerate(("truth.h5", "same.h5", "distorted.h5"), 1):
        batch = showers(500, np.random.default_rng(number))
        if name == "distorted.h5":
            batch.voxels[:, 0] *= 3
        write_showers(tmp_path / name, [batch])
    quick = [
        *("--only", "E_total*", "--only", "hits", "--set", "validation.classifier.seeds=1"),
        *("--set", "validation.classifier.methods=['gradient boosting']", "--set", "validation.showers.energies=[20]"),
        *("--set", "validation.showers.network.epochs=3", "--set", "validation.showers.network.width=32"),
        *("--set", "validation.showers.forms=['voxels']", "--json"),
    ]
    report = tmp_path / "report.html"
    limits = ("--fail-above", "separation=0.2", "--fail-above", "auc=0.9")
    arguments = ("--showers", *(tmp_path / f"{name}.h5" for name in ("truth", "same", "distorted")), *quick, *limits)
    code, out, err = mlgen_command("validate", *arguments, "-o", report)
    assert code == 3, err
    same, distorted = json.loads(out)["comparisons"]
    for comparison in (same, distorted):
        powers = {power["name"]: power for power in comparison["showers"]["separations"]}
        assert {"E_total / E_inc", "sparsity", "E(layer 1)", "voxel energies", "width y(layer 0)"} <= set(powers)
        names = [measure["name"] for measure in comparison["classifier"]["measures"]]
        assert names == ["AUC, high-level gradient boosting", "AUC, low-level voxels"]
        assert comparison["gates"][0]["value"] == max(power["value"] for power in powers.values())
    assert same["gates"][0]["value"] < 0.2 < distorted["gates"][0]["value"]
    assert err.count("mlgen: gate: distorted.h5: separation is") == 1
    page = report.read_text()
    for text in ("Average shower, around 20 GeV", "Separation powers of distorted.h5", "AUC, low-level voxels"):
        assert text in page
    # A picture for all energies and one around 20 GeV, of both samples.
    assert page.count("data:image/png;base64") == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("new.lhe", "no calorimeter showers, which are asked for by --showers"),
        ("not_there.h5", "No such file"),
        ("other.h5", "'incident_energies' and 'showers'"),
    ],
)
def test_with_showers_anything_else_is_an_error(folder, tmp_path, name, message, mlgen_command):
    import h5py

    truth, other = tmp_path / "truth.h5", tmp_path / "other.h5"
    write_showers(truth, [showers(300, np.random.default_rng(1))])
    with h5py.File(other, "w") as file:
        file["cells"] = [1.0, 2.0]
    path = other if name == "other.h5" else folder / name
    code, _, err = mlgen_command("validate", "--showers", truth, path, "--no-report")
    assert code == 2
    assert name in err
    assert message in err


def test_a_card_has_no_showers(examples, mlgen_command):
    code, _, err = mlgen_command("validate", "--showers", examples / "unweight.toml")
    assert code == 2
    assert "give the showers of a reference and of a sample" in err


def test_another_process_is_said_and_what_can_be_compared_is(folder, examples, mlgen_command):
    code, out, err = mlgen_command("validate", folder / "truth.lhe.gz", examples / "zjet.lhe.gz", *NO_TRAINING)
    assert code == 0, err
    assert "differs" in out
    assert "content" in out


def test_a_card_is_run_with_and_without_what_it_replaces(examples, tmp_path, mlgen_command):
    """Unweighting is exact: nothing may differ."""
    report = tmp_path / "closure.html"
    code, out, err = mlgen_command("validate", examples / "unweight.toml", "--no-classifier", "-o", report, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content["reference"]["name"] == "nothing replaced"
    assert [c["sample"]["name"] for c in content["comparisons"]] == ["unweighting hit-or-miss"]
    assert content["agrees"]
    assert report.is_file()


def test_a_card_that_replaces_nothing_has_nothing_to_show(folder, tmp_path, mlgen_command):
    card = tmp_path / "card.toml"
    card.write_text(f'[input]\nfile = "{folder / "new.lhe"}"\n[output]\nfiles = ["x.lhe"]\n')
    code, _, err = mlgen_command("validate", card)
    assert code == 2
    assert "nothing can be compared" in err
