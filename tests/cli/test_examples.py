"""Every example card is run, as it stands but for the length of the training."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mlgen.card import load_card
from mlgen.cli import cli
from mlgen.formats import open_events
from mlgen.formats.shower_files import open_showers

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SHORT = ("steps=40", "width=16", "label_steps=20", "discriminator_rounds=0", "discriminator_epochs=0")
SHORT_TRAINING = tuple(part for one in SHORT for part in ("--set", f"generator.{one}"))

#: These start from what another example writes; tests/chain/test_reweighting.py runs both.
FOLLOWING = {"reweight_z_prime.toml"}
CARDS = sorted(path for path in EXAMPLES.glob("*.toml") if path.name not in FOLLOWING)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.name)
def test_an_example_card_runs(path, tmp_path):
    card = load_card(path)
    arguments = ["run", str(path), "-d", str(tmp_path), *(SHORT_TRAINING if card.model.generator else ())]
    if card.model.generator:
        arguments += ["-n", "500"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for name in card.model.output.files:
        assert name in result.output
        if card.model.calorimeter and name.endswith(".h5"):
            assert open_showers(tmp_path / name).n_showers > 100
            continue
        with open_events(tmp_path / name) as events:
            assert sum(map(len, events)) > 100


def test_the_chain_of_an_example_is_validated(tmp_path):
    arguments = ["validate", str(EXAMPLES / "zjet.toml"), "-o", str(tmp_path / "report.html"), *SHORT_TRAINING]
    arguments += ["--set", f"generator.model={tmp_path / 'model'}", "--set", "run.events=2000", "--no-classifier"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "differs" in result.output
    assert "cos theta(mu-)" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "model" / "report.html").is_file()


def test_there_are_examples():
    assert len(list(EXAMPLES.glob("*.toml"))) >= 2
