"""The card: what it says is checked, with the line and what is allowed, before any work starts."""

from pathlib import Path

import pytest
from pydantic import Field

from mlgen.card import load_card, parse_card
from mlgen.errors import CardError
from mlgen.stages import Settings, Stage


class NetworkSettings(Settings):
    width: int = Field(64, ge=1, le=1024)
    activation: str = "silu"


def card(text: str):
    return parse_card(text, "test.toml", Path())


def test_a_whole_card():
    parsed = card(
        """
        [run]
        seed = 7
        events = 1_000
        [input]
        file = "events.lhe.gz"
        [generator]
        plugin = "cfm"
        model = "models/z"
        width = 32
        [output]
        files = ["a.lhe", "b.root"]
        """
    )
    assert (parsed.model.run.seed, parsed.model.run.events) == (7, 1000)
    assert parsed.model.input.file == ["events.lhe.gz"]
    assert parsed.stage(Stage.GENERATOR).settings == {"width": 32}
    assert parsed.stage(Stage.UNWEIGHTING) is None
    assert parsed.check_settings(Stage.GENERATOR, NetworkSettings).width == 32


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "[run]\nevnts = 3\n",
            ["test.toml:2: [run] evnts: unknown key; did you mean 'events'?", "Known: seed, events"],
        ),
        ("[rum]\nseed = 3\n", ["test.toml:1: [rum]: unknown section; did you mean 'run'?"]),
        (
            "[run]\n\n# comment\nevents = 0\n",
            ["test.toml:4: [run] events: 0 is not allowed", "greater than or equal to 1"],
        ),
        ("[run]\nseed = -1\n", ["test.toml:2: [run] seed: -1 is not allowed"]),
        ("[run]\non_error = 'ignore'\n", ["test.toml:2", "'stop' or 'skip'"]),
        ("[input]\n", ["test.toml:1: [input] file: is missing"]),
        ("[generator]\nmodel = 'x'\n", ["test.toml:1: [generator] plugin: is missing"]),
        ("[output]\nfiles = []\n", ["test.toml:2: [output] files"]),
        ("[run]\nseed = 1\n[input]\nfile = 'a'\n[process]\nreaction = 'b'\n", ["[input] or [process], never both"]),
        ("[run\n", ["not valid TOML", "line 1"]),
        ("run.events = 0\n", ["test.toml:1: [run] events"]),
        ('[output]\nfiles = [\n  "a.lhe",\n]\nformt = "lhe"\n', ["test.toml:5: [output] formt"]),
        ('[output]\nfiles = [\n  "a.lhe",\n  3,\n]\n', ["test.toml:2: [output] files"]),
    ],
)
def test_a_wrong_card_is_explained(text, messages):
    with pytest.raises(CardError) as caught:
        card(text)
    for message in messages:
        assert message in str(caught.value)


def test_several_mistakes_are_told_at_once():
    with pytest.raises(CardError) as caught:
        card("[run]\nseed = 'x'\nevents = 0\n")
    assert str(caught.value).count("test.toml:") == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("widht = 3", "test.toml:4: [generator] widht: unknown key; did you mean 'width'? Known: width, activation"),
        ("width = 0", "test.toml:4: [generator] width: 0 is not allowed: input should be greater than or equal to 1"),
        ("width = 'wide'", "test.toml:4: [generator] width: 'wide' is not allowed"),
    ],
)
def test_settings_of_a_plugin_are_checked_with_their_line(line, message):
    parsed = card(f"[run]\n[generator]\nplugin = 'p'\n{line}\n")
    with pytest.raises(CardError) as caught:
        parsed.check_settings(Stage.GENERATOR, NetworkSettings)
    assert message in str(caught.value)


def test_paths_are_relative_to_the_card(tmp_path):
    path = tmp_path / "cards" / "card.toml"
    path.parent.mkdir()
    path.write_text("[input]\nfile = 'events.lhe'\n")
    parsed = load_card(path)
    assert parsed.path("events.lhe") == tmp_path / "cards" / "events.lhe"
    assert parsed.path("/data/events.lhe") == Path("/data/events.lhe")
    assert parsed.path("-") == Path("-")


@pytest.mark.parametrize(("content", "problem"), [(None, "cannot be read"), (b"\xff\xfe\x00", "not UTF-8 text")])
def test_no_card(content, problem, tmp_path):
    path = tmp_path / "card.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CardError, match=problem):
        load_card(path)
