"""A hook, a card key, a setting, a command, an option, a capability, a rule, a contract: each says what it is."""

import enum

import click
from mlgen_reference import api, builtin, undocumented
from mlgen_reference.commands import commands
from pydantic import Field

from mlgen.card import CardModel
from mlgen.cli import COMMANDS, cli
from mlgen.stages import CONTRACTS, Capability, Contract, Settings, Stage
from mlgen.testing import KITS, kits


def test_every_hook_says_what_it_is() -> None:
    assert set(api.hooks()) == {name for name in vars(api.hookspecs) if name.startswith("mlgen_")}
    assert not list(undocumented.hooks(api.hooks()))


def test_every_card_key_says_what_it_is() -> None:
    sections = {name: field for name, field in CardModel.model_fields.items() if name != "plugins"}
    assert len(sections) > 10
    assert not list(undocumented.settings({"": CardModel}))


def test_every_setting_of_a_plugin_and_a_tool_says_what_it_is() -> None:
    manager = builtin.plugins()
    offers = [found.offer for plugins in manager.stage_plugins.values() for found in plugins]
    offers += [found.offer for tools in manager.tools.values() for found in tools]
    assert len(offers) > 10
    assert not list(undocumented.settings({offer.name: offer.settings for offer in offers}))


def test_every_command_and_option_says_what_it_is() -> None:
    assert list(commands()) == list(COMMANDS)
    assert all(COMMANDS.values())
    assert not list(undocumented.commands({"mlgen": cli} | commands()))


def test_every_capability_says_what_it_is() -> None:
    assert not list(undocumented.members(Capability))


def test_every_rule_of_the_kit_says_what_it_is() -> None:
    for stage in Stage:
        assert len(kits.tests_of(KITS[stage])) > 10
        assert not list(undocumented.tests(kits.tests_of(KITS[stage]).values()))


def test_every_contract_and_record_says_what_it_is() -> None:
    assert not list(undocumented.classes((Contract, *CONTRACTS.values(), *api.stage_records())))


def test_undocumented_hooks_are_found() -> None:
    def without() -> None: ...

    def with_example() -> None:
        """Offer something. Example::

        pass
        """

    found = list(undocumented.hooks({"mlgen_one": without, "mlgen_two": with_example}))
    assert found == [
        "mlgen_one: no docstring",
        "mlgen_one: no word when it is called",
        "mlgen_one: no example",
        "mlgen_two: no word when it is called",
    ]


def test_undocumented_keys_are_found() -> None:
    class Below(Settings):
        width: int = 1
        depth: int = Field(1, description="layers")

    class Section(Settings):
        steps: int = Field(1, description=" ")
        rate: float = Field(0.1, description="learning rate")
        below: Below = Below()
        many: tuple[Below, ...] = Field((), description="several")

    expected = ["toy.steps", "toy.below", "toy.below.width", "toy.many.width"]
    assert list(undocumented.settings({"toy": Section})) == expected


def test_undocumented_commands_are_found() -> None:
    @click.command("toy")
    @click.argument("source")
    @click.option("--described", help="It is.")
    @click.option("-o", "--output")
    def toy() -> None: ...

    assert list(undocumented.commands({"toy": toy})) == ["toy: no help text", "toy --output: no help text"]


def test_undocumented_members_are_found() -> None:
    assert list(undocumented.members(Described)) == ["Described.SECOND: no comment"]


class Described(enum.Enum):
    #: It is described.
    FIRST = 1
    SECOND = 2


def test_undocumented_rules_and_classes_are_found() -> None:
    class Toy:
        """A class."""

        def test_something(self) -> None: ...

        @property
        def figure(self) -> int:
            return 1

        def said(self) -> None:
            """It is."""

    assert len(list(undocumented.tests([Toy.test_something]))) == 1
    assert list(undocumented.classes([Toy])) == ["Toy.test_something: no docstring", "Toy.figure: no docstring"]
