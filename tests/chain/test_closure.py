"""A card's chain with and without what it replaces."""

import json
import shutil

import numpy as np
import pytest

from mlgen.card import parse_card
from mlgen.chain.closure import validate_chain
from mlgen.errors import CardError
from mlgen.formats import create_events, open_events
from mlgen.testing.samples import drell_yan_events
from mlgen.validation.as_json import to_dict

EVENTS = 16_000
CARD = """
[run]
seed = 3
[input]
file = "events.lhe"
{input}
[generator]
plugin = "cfm"
steps = 30
width = 16
solver_steps = 2
label_steps = 20
[unweighting]
plugin = "hit-or-miss"
[output]
files = ["never-written.lhe"]
[validation]
classifier = false
only = ["pT(*)", "m(*)", "delta*"]
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The file of the events, which are made once."""
    path = tmp_path_factory.mktemp("events") / "events.lhe"
    batch, info = drell_yan_events(EVENTS, np.random.default_rng(51))
    with create_events(path, info) as output:
        output.write(batch)
    return path


@pytest.fixture
def folder(written, tmp_path):
    shutil.copy(written, tmp_path)
    return tmp_path


def card(folder, text):
    return parse_card(text, "card.toml", folder)


def test_each_replaced_stage_alone_and_all_together(folder):
    result = validate_chain(card(folder, CARD.format(input="")))
    assert [c.sample.name for c in result.comparisons] == [
        "unweighting hit-or-miss",
        "generator cfm",
        "unweighting hit-or-miss and generator cfm",
    ]
    unweighted, generated, both = result.comparisons
    # Unweighting is exact, a network of a few steps is not.
    assert unweighted.agrees
    assert not generated.agrees
    assert not both.agrees
    assert not (folder / "never-written.lhe").exists()
    assert any("trained on all of the input" in remark for remark in result.remarks)


def test_what_passes_events_on_is_not_compared_with_the_same_events(folder):
    text = CARD.format(input="").split("[generator]")[0] + "[unweighting]" + CARD.split("[unweighting]")[1]
    result = validate_chain(card(folder, text))
    events = result.reference.events + result.comparisons[0].sample.events
    assert events == EVENTS
    assert abs(result.reference.events - EVENTS / 2) < 5 * np.sqrt(EVENTS / 4)


def test_one_seed_gives_one_result(folder):
    text = CARD.format(input="").split("[generator]")[0] + "[unweighting]" + CARD.split("[unweighting]")[1]
    first, second = (json.dumps(to_dict(validate_chain(card(folder, text)))) for _ in range(2))
    assert first == second
    assert "/tmp" not in first


def test_the_format_of_the_input_is_not_forced_upon_what_the_chain_makes(folder):
    with open_events(folder / "events.lhe") as events, create_events(folder / "events.h5", events.run_info) as output:
        for batch in events:
            output.write(batch)
    text = CARD.format(input='format = "lheh5"').replace("events.lhe", "events.h5")
    text = text.split("[generator]")[0] + "[unweighting]" + text.split("[unweighting]")[1]
    assert validate_chain(card(folder, text)).comparisons[0].agrees


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[input]\nfile = "events.lhe"\n[output]\nfiles = ["x.lhe"]\n', "no stage is replaced"),
        ('[generator]\nplugin = "cfm"\n[output]\nfiles = ["x.lhe"]\n', "without \\[input\\] there is no chain"),
        ('[input]\nfile = "-"\n[unweighting]\nplugin = "hit-or-miss"\n', "standard input cannot be"),
    ],
)
def test_a_card_that_has_nothing_to_compare_says_so(folder, text, message):
    with pytest.raises(CardError, match=message):
        validate_chain(card(folder, text))
