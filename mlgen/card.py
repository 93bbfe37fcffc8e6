"""The run card: what a chain is made of, checked before any work starts.

A card is TOML; its sections are the stages in the order of the chain. What is not there is not replaced. Paths in a
card are relative to the card's own directory.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mlgen.deprecation import warn, warn_if_deprecated
from mlgen.detector.settings import DetectorSettings
from mlgen.errors import CardError, PluginError, nearest
from mlgen.hard_process.reweighting_settings import ReweightingSettings, as_tables
from mlgen.hard_process.settings import ProcessSettings
from mlgen.particle_gun import ParticleGunSettings
from mlgen.plugins import add_plugin_file
from mlgen.stages import Settings, Stage
from mlgen.validation.settings import ValidationSettings

#: Source of a card that was made from command-line options: its lines mean nothing to the user.
COMMAND_LINE = "command line"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Files = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSection(_Section):
    """[run]: what concerns the run as a whole."""

    seed: int = Field(1, ge=0, description="one seed for everything; the same seed gives the same bytes")
    events: int | None = Field(
        None,
        ge=1,
        description="events to write of a process or a generator, or to read from the input; all when left out",
    )
    batch_size: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="events handled at a time; another number gives other random numbers to a generator, and to the "
        "unweighting of a file, but not to a process",
    )
    on_error: Literal["stop", "skip"] = Field("stop", description="what to do with events that cannot be read")


class InputSection(_Section):
    """[input]: event files to start from, read as one sample."""

    file: Files = Field(description="one file or a list of files; '-' is standard input")
    format: str | None = Field(None, description="format of the files; recognised when left out")


class StageSection(BaseModel):
    """A section that names a plugin; all other keys are that plugin's settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str = Field(description="name of the plugin, as 'mlgen plugins' lists them")
    model: str | None = Field(
        None,
        description="folder of the trained model; trained and saved there when missing. Left out, that of a generator "
        "or a calorimeter is kept in the cache, that of another stage is not kept",
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The plugin's own keys."""
        return dict(self.model_extra or {})


class ToolSection(BaseModel):
    """A section that names a program around the chain; all other keys are settings of its driver."""

    model_config = ConfigDict(extra="allow", frozen=True)

    program: str = Field(description="name of the program, as 'mlgen plugins' lists them")


class SamplerSection(StageSection):
    """[phase_space]: a section that names a plugin, with what a training costs."""

    budget: int | None = Field(
        None, ge=1, description="integrand points for the training; as many as the plugin's settings say when left out"
    )


class AmplitudeSection(StageSection):
    """[amplitude]: a section that names a plugin, with where its training points come from, and how it is used."""

    points: int = Field(100_000, ge=100, le=100_000_000, description="training points that are drawn from [process]")
    draw: Literal["matrix-element", "phase-space", "mixture"] = Field(
        "mixture",
        description="how they are drawn: 'matrix-element': like events; 'phase-space': like events of a constant "
        "|M|^2; 'mixture': half of them each way",
    )
    file: str | None = Field(
        None, description="file with momenta and values (.npz, .h5, .csv) to train on, instead of drawing points"
    )
    momenta: str | None = Field(None, description="name of the momenta in the file, where it is not clear")
    values: str | None = Field(None, description="name of the values in the file, where there are several")
    alpha_s: float = Field(0.118, gt=0, description="strong coupling that the values of the file were computed with")
    test_points: int = Field(20_000, ge=50, description="points that are held out of the training, to measure with")
    outside: Literal["matrix-element", "flag", "stop"] = Field(
        "matrix-element",
        description="what becomes of points outside the region of the training: the true matrix element is taken, "
        "the event is flagged (by a named weight that is zero), or the run stops",
    )
    outside_share: float = Field(
        1e-3, gt=0, lt=0.5, description="share of points like those of the training that may be called outside"
    )
    variations: bool = Field(True, description="whether the uncertainty goes out as named weights")


class CalorimeterSection(DetectorSettings, StageSection):
    """[calorimeter]: a section that names a plugin, with what its model learns from, and where the calorimeter is."""

    model_config = ConfigDict(extra="allow", frozen=True)

    showers: Files | None = Field(
        None,
        description="HDF5 files of showers to train the model on; with neither these nor a model, the one that comes "
        "with the plugin is used",
    )
    geometry: str | None = Field(
        None, description="binning of the showers (CaloChallenge XML, or JSON), where their files do not carry it"
    )
    particle: str | None = Field(
        None, description="incident particle of the showers, where their files do not say it: photon, electron, pion"
    )


class IntegrationSection(_Section):
    """[integration]: when an integration stops. Whichever limit is reached first; precision 0.001 when none is set."""

    precision: float | None = Field(None, gt=0, lt=1, description="relative error to reach, for instance 0.001")
    time: float | None = Field(None, gt=0, description="seconds, the training not counted")
    points: int | None = Field(None, ge=2, description="points to evaluate at most, the training not counted")
    batch_size: int = Field(10_000, ge=2, le=1_000_000, description="points evaluated at a time")
    iterations: int = Field(10, ge=2, le=10_000, description="independent parts that are compared, by their chi^2")


class OutputSection(_Section):
    """[output]: what to write."""

    files: Files = Field(
        description="files to write; the suffix chooses format and compression. With a [calorimeter], .root files hold "
        "its cells beside the events, and .h5 files its showers (.lheh5: events)"
    )
    format: str | None = Field(None, description="format of the files, where the suffix does not say")


class DetectorSection(ToolSection):
    """[detector]: a section that names the program that simulates showers; all other keys are its settings."""

    program: str | None = Field(  # type: ignore[assignment]
        None, description="name of the program, as 'mlgen plugins' lists them; the only one there is when left out"
    )
    geometry: str | None = Field(
        None,
        description="voxels to score into: a CaloChallenge binning XML, or JSON of mlgen.showers.Geometry; the "
        "program's own when left out",
    )


class CardModel(_Section):
    """A whole card."""

    plugins: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default_factory=list,
        description="Python files with plugins of your own; they are code, and are run. Above the first section",
    )
    run: RunSection = RunSection()
    input: InputSection | None = None
    process: ProcessSettings | None = None
    phase_space: SamplerSection | None = None
    integration: IntegrationSection | None = None
    amplitude: AmplitudeSection | None = None
    unweighting: StageSection | None = None
    generator: StageSection | None = None
    reweighting: Annotated[tuple[ReweightingSettings, ...], BeforeValidator(as_tables)] = ()
    shower: ToolSection | None = None
    calorimeter: CalorimeterSection | None = None
    detector: DetectorSection | None = None
    particle_gun: ParticleGunSettings | None = None
    output: OutputSection | None = None
    validation: ValidationSettings = ValidationSettings()

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, content: Any) -> Any:
        # Before the sections are looked at: what else is wrong in one of them matters only when it is the right one.
        if isinstance(content, Mapping) and content.get("input") is not None and content.get("process") is not None:
            raise ValueError("a card has [input] or [process], never both")
        return content


@dataclass(frozen=True, slots=True)
class Card:
    """A checked card with where it came from.

    Args:
        model: The checked content.
        source: Name for messages.
        text: The card as text, for the provenance of the outputs.
        directory: Paths in the card are relative to it.
        changed: Keys that the command line set or changed, as ``section.key``, with their values; None for those that
            it left out.
        remarks: What the user should know of that.
    """

    model: CardModel
    source: str
    text: str
    directory: Path
    changed: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def stage(self, stage: Stage) -> StageSection | None:
        """The section of a stage, None when the card does not replace it."""
        section: StageSection | None = getattr(self.model, stage.value)
        return section

    def path(self, name: str) -> Path:
        """A path of the card, as seen from the current directory; ``-`` stays what it is."""
        return Path(name) if name == "-" else self.directory / name

    def place(self, *keys: str | int) -> str:
        """Where the card sets a key, for a message: source and line, of its section when the key is not there.

        A number, from 0, is that of a table among several of one name.
        """
        return _place(keys, self.source, self.text, self.changed)

    def check_settings(self, stage: Stage, model: type[Settings]) -> Any:
        """Check the settings of a stage's plugin.

        Raises:
            CardError: A key is unknown or a value is not allowed; names the line and what is allowed.
        """
        section = self.stage(stage)
        if section is None:
            raise CardError(f"{self.source}: there is no section [{stage.value}]")
        own = set(type(section).model_fields) - set(StageSection.model_fields)
        return self.checked(section.settings, model, stage.value, own=sorted(own))

    def checked(
        self, settings: Mapping[str, Any], model: type[Settings], *keys: str | int, own: Sequence[str] = ()
    ) -> Any:
        """Check the settings of a plugin or tool that stand under some keys of the card.

        Args:
            settings: The settings.
            model: What they have to be.
            keys: Where they stand.
            own: Keys that the card itself has there, which an unknown one may have been meant as.

        Raises:
            CardError: A key is unknown or a value is not allowed; names the line and what is allowed.
        """
        try:
            checked = model.model_validate(dict(settings))
        except ValidationError as error:
            raise _card_error(error, self.source, self.text, model, keys, self.changed, own) from error
        for name, information in model.model_fields.items():
            # What the author of a plugin has said of a setting (`pydantic.Field`).
            if information.deprecated and name in checked.model_fields_set:
                said = information.deprecation_message or "it will be gone"
                warn(f"[{keys[0]}] {name} is deprecated: {said}", self.place(*keys, name))
        return checked


def load_card(path: Path) -> Card:
    """Read and check a card.

    Raises:
        CardError: It cannot be read, is no TOML, or says something that is not allowed.
        PluginError: A plugin's file that it names cannot be loaded.
    """
    return parse_card(read_card(path), str(path), path.parent)


def read_card(path: Path) -> str:
    """Read a card, without a look at what it says.

    Raises:
        CardError: It cannot be read.
    """
    try:
        return path.read_text()
    except OSError as error:
        raise CardError(f"{path}: the card cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CardError(f"{path}: this is not a card (not UTF-8 text); a TOML file is expected") from error


def parse_card(text: str, source: str, directory: Path) -> Card:
    """Check a card given as text.

    Raises:
        CardError: As `load_card`.
    """
    return card_from(content_of(text, source), source, text, directory)


def content_of(text: str, source: str) -> dict[str, Any]:
    """Return what a card's text says, as nested dicts.

    Raises:
        CardError: It is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"{source}: not valid TOML: {error}") from error


def card_from(
    content: Mapping[str, Any],
    source: str,
    text: str,
    directory: Path,
    changed: Mapping[str, Any] | None = None,
) -> Card:
    """Check a card given as nested mappings; the other arguments are those of `Card`.

    Raises:
        CardError: As `load_card`.
    """
    try:
        card = Card(CardModel.model_validate(content), source, text, directory, changed or {})
    except ValidationError as error:
        raise _card_error(error, source, text, CardModel, (), changed or {}) from error
    _warn_of_deprecated_keys(card, content)
    for name in card.model.plugins:
        # What it offers may be asked for from here on: its settings are checked against the card.
        try:
            add_plugin_file(card.path(name))
        except PluginError as error:
            # Those of --plugin are loaded already: it is the card's own, also where options have added to the key.
            place = _place(["plugins"], source, text, {})
            raise PluginError(f"{place}: plugins: {error}") from error
    return card


def _warn_of_deprecated_keys(card: Card, content: Mapping[str, Any], *keys: str) -> None:
    for key, value in content.items():
        warn_if_deprecated(".".join((*keys, key)), partial(card.place, *keys, key))
        if isinstance(value, Mapping):
            _warn_of_deprecated_keys(card, value, *keys, key)


def _card_error(
    error: ValidationError,
    source: str,
    text: str,
    model: type[BaseModel],
    prefix: tuple[str | int, ...],
    changed: Mapping[str, Any],
    own: Sequence[str] = (),
) -> CardError:
    messages = []
    for problem in error.errors():
        place = _place([*prefix, *problem["loc"]], source, text, changed)
        names = [key for key in problem["loc"] if isinstance(key, str)]
        keys = [*(key for key in prefix if isinstance(key, str)), *names]
        where = f"[{keys[0]}] {'.'.join(keys[1:])}".strip() if keys else "the card"
        messages.append(f"{place}: {where}: {_in_words(problem, model, names, own)}")
    return CardError("\n".join(messages))


def _place(keys: Sequence[str | int], source: str, text: str, changed: Mapping[str, Any]) -> str:
    if source == COMMAND_LINE or ".".join(key for key in keys if isinstance(key, str)) in changed:
        return COMMAND_LINE
    line = _line_of(text, list(keys))
    return f"{source}:{line}" if line else source


def _in_words(problem: Any, model: type[BaseModel], keys: list[str], own: Sequence[str] = ()) -> str:
    if problem["type"] == "extra_forbidden":
        known = [*_fields_at(model, keys[:-1]), *(own if len(keys) == 1 else ())]
        kind = "key" if len(keys) > 1 or model is not CardModel else "section"
        elsewhere = " Files with plugins are named above the first section." if keys[-1] == "plugins" else ""
        return f"unknown {kind}{nearest(keys[-1], known) or '.'}{elsewhere} Known: {', '.join(known) or 'none'}"
    if problem["type"] == "missing":
        description = _fields_at(model, keys[:-1]).get(keys[-1])
        return "is missing" + (f" ({description.description})" if description and description.description else "")
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(problem["input"], (str, int, float, bool)) and problem["type"] != "value_error":
        message = f"{problem['input']!r} is not allowed: {message}"
    return message


def _fields_at(model: type[BaseModel], keys: Iterable[str]) -> Mapping[str, Any]:
    for key in keys:
        annotation = model.model_fields[key].annotation if key in model.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return model.model_fields


def _line_of(text: str, keys: list[str | int]) -> int | None:
    """Find the line on which a key of a TOML text is set, from 1; of its section when the key is not there.

    A number among the keys is that of a table in a list; it says nothing where there is one table and no list.

    The text is parsed line by line from its start until the key appears, so that TOML's own rules decide what a
    section, a dotted key or a string over several lines is. Cards are short.
    """
    lines = text.split("\n")
    found: int | None = None
    depth = 0
    statement = 1
    for number in range(1, len(lines) + 1):
        try:
            content: Any = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        reached = 0
        for key in keys:
            if isinstance(key, int):
                if isinstance(content, list):
                    if key >= len(content):
                        break
                    content = content[key]
            elif isinstance(content, dict) and key in content:
                content = content[key]
            else:
                break
            reached += 1
        if reached > depth:
            depth, found = reached, statement
        statement = number + 1
        while statement <= len(lines) and not lines[statement - 1].split("#", 1)[0].strip():
            statement += 1
    return found
