"""Tools that a card names: what is said where there is none of that name, or what it needs is not installed."""

from __future__ import annotations

from functools import partial

import pytest

from mlgen.card import parse_card
from mlgen.chain.detector_simulations import simulation_errors
from mlgen.chain.shower_plan import shower_errors
from mlgen.chain.tools import find_tool, tool_errors
from mlgen.errors import CardError, DetectorError, PluginError, PluginFailure
from mlgen.hookspecs import Tool
from mlgen.plugins import Registered, Source, plugin_manager
from mlgen.stages import Settings


def tool(distribution: str, requires: str = "herwig7") -> Registered[Tool]:
    offer = Tool("mine", object, Settings, "", requires=requires, contract_version=1)
    return Registered(offer, Source(distribution, "2.0", "mine"))


@pytest.mark.parametrize(
    ("errors", "missing", "what"),
    [
        (shower_errors, PluginError, "parton shower 'mine' needs"),
        (simulation_errors, DetectorError, "the simulation 'mine' needs"),
        (partial(tool_errors, what="matrix elements", needs="{} need"), PluginError, "matrix elements 'mine' need"),
    ],
)
def test_a_package_that_is_not_installed(errors, missing, what):
    with pytest.raises(missing) as caught, errors(tool("my-package")):
        raise ModuleNotFoundError("No module named 'herwig'", name="herwig")
    assert str(caught.value) == f"{what} herwig: pip install 'mlgen-hep[herwig7]'"
    with pytest.raises(missing, match=r"herwig: install herwig$"), errors(tool("my-package", requires="")):
        raise ModuleNotFoundError("No module named 'herwig'", name="herwig")


def test_an_exception_is_the_tools_and_an_error_of_mlgen_passes():
    with pytest.raises(PluginFailure) as caught, shower_errors(tool("my-package")):
        raise KeyError("px")
    assert str(caught.value) == "parton shower 'mine' of my-package 2.0 failed: KeyError: 'px'"
    with pytest.raises(CardError, match=r"^as it is$"), shower_errors(tool("my-package")):
        raise CardError("as it is")


def test_a_name_that_is_not_there_or_there_twice(tmp_path, monkeypatch):
    card = parse_card('[shower]\nprogram = "mime"\n[input]\nfile = "in.lhe"\n', "card.toml", tmp_path)
    find = partial(find_tool, "parton_showers", "parton shower")
    monkeypatch.setattr(plugin_manager(), "tools", {"parton_showers": (tool("one"),)})
    assert find("mine", card, "shower", "program").source.distribution == "one"
    with pytest.raises(CardError) as caught:
        find("mime", card, "shower", "program")
    assert str(caught.value) == (
        "card.toml:2: [shower] program: no parton shower is called 'mime'; did you mean 'mine'?\nThere is: mine"
    )
    monkeypatch.setattr(plugin_manager(), "tools", {"parton_showers": (tool("one"), tool("two"))})
    with pytest.raises(CardError, match=r"'mine' is there twice: from one 2\.0 and two 2\.0; uninstall one$"):
        find("mine", card, "shower", "program")
