"""Trained models on disk.

A model is a folder of two files: ``model.json`` says what it is (plugin, settings, training data, seed, report), and
``weights.safetensors`` holds what was learned. Neither can hold code, and nothing is ever unpickled, so that a model
from a stranger can be opened safely. There is no date in it: the same training gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

import mlgen
from mlgen.errors import ModelError
from mlgen.hookspecs import Plugin
from mlgen.model_record import ModelRecord, TrainedOn, as_json, record_from_json, record_to_json
from mlgen.plugin_errors import plugin_errors
from mlgen.plugin_sources import code_digest
from mlgen.plugins import PluginManager, Registered
from mlgen.stages import USE_TIME, Contract, Settings, Stage, State, TrainingReport

__all__ = [
    "RECORD_FILE",
    "USE_TIME",
    "WEIGHTS_FILE",
    "ModelRecord",
    "StoredModel",
    "TrainedOn",
    "check_free",
    "differences",
    "load_model",
    "model_sha256",
    "read_record",
    "save_model",
    "state_from_bytes",
    "state_to_bytes",
    "training_settings",
]

RECORD_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
#: The report of the training, for people; nothing is read from it.
REPORT_FILE = "report.html"
#: What was measured with the model, on the machine that used it first; no part of it, and gone when it is replaced.
COSTS_FILE = "costs.json"

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model that was loaded: ready to use, with its record, the settings in force and its `model_sha256`."""

    implementation: Contract
    record: ModelRecord
    settings: Settings
    sha256: str


def save_model(
    folder: Path,
    plugin: Registered[Plugin],
    settings: Settings,
    implementation: Contract,
    *,
    trained_on: TrainedOn,
    seed: int,
    report: TrainingReport,
    force: bool = False,
) -> Path:
    """Keep a trained plugin in `folder`.

    The files are written into a temporary folder beside it, which is then renamed: no half-written model is left,
    whatever happens.

    Args:
        folder: Where; its parents are made.
        plugin: The plugin as it was found.
        settings: The settings that it was trained with.
        implementation: The trained plugin.
        trained_on: The training data.
        seed: The seed of the training.
        report: What the training said of itself.
        force: Whether a model that is there already is replaced.

    Raises:
        ModelError: There is something at `folder`, the disk refuses it, or the plugin's state is not arrays.
    """
    check_free(folder, plugin.offer.stage, force=force)
    with plugin_errors(plugin):
        state = implementation.state()
    weights = state_to_bytes(state)
    record = ModelRecord(
        plugin=plugin.offer.name,
        stage=plugin.offer.stage.value,
        distribution=plugin.source.distribution,
        version=plugin.source.version,
        contract_version=plugin.offer.contract_version,
        settings=settings.model_dump(mode="json"),
        trained_on=trained_on,
        seed=seed,
        report=report,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        mlgen_version=mlgen.__version__,
        code_sha256=code_digest(plugin.offer.factory.__module__),
    )
    contents = {RECORD_FILE: record_to_json(record), WEIGHTS_FILE: weights}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_sibling(folder) as temporary:
            for name, content in contents.items():
                with (temporary / name).open("xb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            _move_into_place(temporary, folder)
    except OSError as error:
        raise ModelError(f"{folder}: the model could not be written: {error}") from error
    return folder


def check_free(folder: Path, stage: Stage, *, force: bool = False) -> None:
    """Refuse a folder that `save_model` would refuse; to be asked before a long training.

    With `force`, a model of the same stage may be replaced, but nothing else: a folder with any other file in it is
    left alone.

    Args:
        folder: The folder.
        stage: Of the model that is to be saved there.
        force: Whether a model that is there already is replaced.

    Raises:
        ModelError: There is something that may not be replaced.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise ModelError(f"{folder}: there is a file of this name; a model is a folder. Choose another name")
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return
    if others := sorted(name for name in names if not _ours(name)):
        raise ModelError(
            f"{folder}: the folder holds '{others[0]}', which is not part of a model, and is left as it is. "
            "Choose another folder"
        )
    if not force:
        raise ModelError(f"{folder}: there is a model already; allow its replacement (force), or choose another folder")
    try:
        record = read_record(folder)
    except ModelError:
        return  # what is damaged may be replaced
    if record.stage != stage.value:
        raise ModelError(
            f"{folder}: a model of the {record.stage} plugin '{record.plugin}' is there, which one of {stage.value} "
            "does not replace. Choose another folder"
        )


def _ours(name: str) -> bool:
    """Whether a file is part of a model, or what a program that was killed has left of one (`mlgen.files`)."""
    files = (RECORD_FILE, WEIGHTS_FILE, REPORT_FILE, COSTS_FILE)
    return name in files or (name.endswith(".part") and name.startswith(tuple(f".{file}." for file in files)))


def read_record(folder: Path) -> ModelRecord:
    """Read what a model is, without its weights.

    Raises:
        ModelError: There is no model, or its record is damaged or of another format version.
    """
    return record_from_json(folder / RECORD_FILE, _read(folder, RECORD_FILE))


def load_model(
    folder: Path,
    plugin: Registered[Plugin],
    settings: Settings | None = None,
    restore: Callable[[Registered[Plugin], Settings, State], Contract] | None = None,
) -> StoredModel:
    """Load a model for a plugin.

    Args:
        folder: The model's folder.
        plugin: The plugin that is to use it.
        settings: The card's settings, which may not contradict the training's (`differences`); None for the
            training's own.
        restore: Makes what the folder holds of the plugin, the settings in force and the state, where that is more than
            the plugin alone; None: the plugin's own ``from_state``.

    Raises:
        ModelError: The model is damaged, or is of another plugin, version, shape or settings; both sides are named.
        mlgen.errors.PluginFailure: The plugin itself failed.
    """
    record_bytes = _read(folder, RECORD_FILE)
    record = record_from_json(folder / RECORD_FILE, record_bytes)
    check_plugin_of(folder, record, plugin)
    in_force = _settings_in_force(folder, record, plugin, settings)
    weights = _read(folder, WEIGHTS_FILE)
    found = hashlib.sha256(weights).hexdigest()
    if found != record.weights_sha256:
        raise ModelError(
            f"{folder / WEIGHTS_FILE}: SHA-256 {found}, but {RECORD_FILE} was written with {record.weights_sha256}; "
            "the file is damaged or from another model. Copy the model again, or train it again"
        )
    try:
        state = state_from_bytes(weights)
        implementation: Contract = (restore or _from_state)(plugin, in_force, state)
    except ModelError as error:
        raise ModelError(f"{folder / WEIGHTS_FILE}: {error}") from error
    return StoredModel(implementation, record, in_force, _combined_sha256(weights, record_bytes))


def _from_state(plugin: Registered[Plugin], settings: Settings, state: State) -> Contract:
    implementation_class = PluginManager.plugin_class(plugin)
    with plugin_errors(plugin):
        implementation: Contract = implementation_class.from_state(settings, state)
    return implementation


def model_sha256(folder: Path) -> str:
    """SHA-256 of a model, as outputs name it: that of ``cat weights.safetensors model.json``."""
    return _combined_sha256(_read(folder, WEIGHTS_FILE), _read(folder, RECORD_FILE))


def differences(record: ModelRecord, settings: Settings) -> list[str]:
    """Where a card's settings contradict those of the training, in words.

    Only what the card says counts: a setting that it leaves to the default is taken from the training. Settings
    marked with `USE_TIME` may differ.

    Returns:
        Sentences such as ``width: trained with 128, card says 64``.
    """
    return list(_compared("", record.settings, training_settings(settings, exclude_unset=True)))


def training_settings(settings: Settings, *, exclude_unset: bool = False) -> dict[str, Any]:
    """Return the settings that a training depends on, all but those marked with `USE_TIME`, as JSON values.

    Args:
        settings: The settings.
        exclude_unset: Whether those are left out that the card leaves to the default.
    """
    said = settings.model_dump(mode="json", exclude_unset=exclude_unset)
    return {name: value for name, value in said.items() if name not in _use_time_fields(type(settings))}


def state_to_bytes(state: State) -> bytes:
    """Return a plugin's state as the content of a safetensors file; the same state gives the same bytes.

    Raises:
        ModelError: Something in it is no array of numbers.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in sorted(state):
        array = state[name]
        if not isinstance(array, np.ndarray):
            raise ModelError(f"state '{name}' is {type(array).__name__}; a NumPy array is expected")
        # Safetensors copies memory as it lies, so that it has to lie in C order and the machine's byte order.
        arrays[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    try:
        return bytes(save(arrays))
    except SafetensorError as error:
        raise ModelError(f"the plugin's state cannot be kept: {error}") from error


def state_from_bytes(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """Inverse of `state_to_bytes`.

    Raises:
        ModelError: It is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(content))
    except SafetensorError as error:
        raise ModelError(f"not a safetensors file: {error}. Copy the model again, or train it again") from error


def check_plugin_of(folder: Path, record: ModelRecord, plugin: Registered[Plugin]) -> None:
    """Refuse the model of another plugin, package, version or contract.

    Raises:
        ModelError: It is one; both sides are named.
    """
    place = folder / RECORD_FILE
    wanted = plugin.offer
    if (record.stage, record.plugin) != (wanted.stage.value, wanted.name):
        raise ModelError(
            f"{place}: a model of the {record.stage} plugin '{record.plugin}' was asked to serve the "
            f"{wanted.stage.value} plugin '{wanted.name}'. Name the other plugin, or another model"
        )
    if record.distribution != plugin.source.distribution:
        raise ModelError(
            f"{place}: the model is of '{record.plugin}' from {record.distribution} {record.version}; the plugin of "
            f"this name here is from {plugin.source}. Use {record.distribution}, or train it again"
        )
    if record.contract_version != wanted.contract_version:
        raise ModelError(
            f"{place}: the model was trained under version {record.contract_version} of the contracts; "
            f"'{wanted.name}' of {plugin.source} is written for version {wanted.contract_version}. Train it again"
        )
    if _release(record.version) != _release(plugin.source.version):
        if plugin.source.single_file:
            raise ModelError(
                f"{place}: the model was trained with {record.distribution} {record.version}; the file here is "
                f"{plugin.source}. Train it again, or bring that file back. A file with a __version__ keeps its models "
                "until the major or minor version changes"
            )
        raise ModelError(
            f"{place}: the model was trained with {record.distribution} {record.version}; {plugin.source} is "
            f"installed. Install {record.distribution} {'.'.join(_release(record.version))}, or train it again"
        )


def _settings_in_force(
    folder: Path, record: ModelRecord, plugin: Registered[Plugin], settings: Settings | None
) -> Settings:
    chosen = dict(record.settings)
    if settings is not None:
        if found := differences(record, settings):
            raise ModelError(
                f"{folder / RECORD_FILE}: the model was trained with other settings: {'; '.join(found)}. "
                "Take them out of the card, or train it again"
            )
        said = settings.model_dump(mode="json", exclude_unset=True)
        chosen |= {name: said[name] for name in _use_time_fields(type(settings)) if name in said}
    try:
        return plugin.offer.settings.model_validate(chosen)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ModelError(
            f"{folder / RECORD_FILE}: {plugin.source} does not accept the settings that the model was trained with "
            f"by {record.distribution} {record.version}: {problems}. Train it again"
        ) from error


def _use_time_fields(settings: type[Settings]) -> set[str]:
    return {
        name
        for name, information in settings.model_fields.items()
        if isinstance(information.json_schema_extra, dict) and information.json_schema_extra.get(USE_TIME)
    }


def _compared(place: str, trained: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    for name, value in said.items():
        before = trained.get(name, _ABSENT)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _compared(f"{place}{name}.", before, value)
        elif before is _ABSENT:
            yield f"{place}{name}: trained without it, card says {value}"
        elif as_json(before) != as_json(value):
            yield f"{place}{name}: trained with {before}, card says {value}"


def _release(version: str) -> tuple[str, ...]:
    """Major and minor version; all of it where it is no version but the digest of a file."""
    return tuple(version.partition("+")[0].split(".")[:2])


def _combined_sha256(weights: bytes, record: bytes) -> str:
    return hashlib.sha256(weights + record).hexdigest()


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        missing = "there is no such folder" if not folder.exists() else f"there is no {name} in it"
        raise ModelError(
            f"{folder}: {missing}; a model is a folder with {RECORD_FILE} and {WEIGHTS_FILE}. "
            "Check the path, or train the model"
        ) from error
    except OSError as error:
        raise ModelError(f"{folder / name}: cannot be read: {error}") from error


@contextlib.contextmanager
def _temporary_sibling(folder: Path) -> Iterator[Path]:
    """Make a folder beside `folder`, gone again afterwards unless it was renamed."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        # mkdtemp makes it private; a model is as public as anything else that the user makes.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        yield temporary
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Rename `temporary` to `folder`; an older model steps aside first, and back again when the renaming fails."""
    if not folder.exists() or not any(folder.iterdir()):
        temporary.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".old", dir=folder.parent))
    older = aside / folder.name
    try:
        folder.rename(older)
        temporary.rename(folder)
    except BaseException:
        # Also when a signal ends the program between the two: a name that had a model keeps one.
        if not folder.exists():
            older.rename(folder)
        shutil.rmtree(aside)
        raise
    shutil.rmtree(aside)
