"""What ``mlgen info`` says of the folder of a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlgen.cli.terminal import number
from mlgen.model_record import ModelRecord, as_json
from mlgen.store import RECORD_FILE, REPORT_FILE, model_sha256, read_record


def is_model(path: Path) -> bool:
    """Whether a path is the folder of a model."""
    return (path / RECORD_FILE).is_file()


def model_content(folder: Path) -> dict[str, Any]:
    """Return what is known of a model, without its weights, for JSON.

    Raises:
        mlgen.errors.ModelError: Its record is damaged.
    """
    record = read_record(folder)
    content = {name: as_json(getattr(record, name)) for name in ("plugin", "stage", "distribution", "version")}
    trained_on = record.trained_on
    return content | {
        "contract_version": record.contract_version,
        "mlgen_version": record.mlgen_version,
        "settings": as_json(record.settings),
        "trained_on": {"source": trained_on.source, "sha256": trained_on.sha256, "events": trained_on.events},
        "seed": record.seed,
        "figures": as_json(record.report.figures),
        "remarks": list(record.report.remarks),
        "sha256": model_sha256(folder),
    }


def model_rows(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what is known of a model, for people.

    Raises:
        mlgen.errors.ModelError: Its record is damaged.
    """
    record: ModelRecord = read_record(folder)
    yield "model", str(folder)
    yield "plugin", f"{record.plugin} of {record.distribution} {record.version}, {record.stage}"
    yield "trained on", record.trained_on.source
    yield "  events or points", number(record.trained_on.events)
    yield "  SHA-256", record.trained_on.sha256
    yield "seed", str(record.seed)
    yield "SHA-256", model_sha256(folder)
    yield "mlgen", record.mlgen_version
    for title, values in (("settings", record.settings), ("figures", record.report.figures)):
        if values:
            yield title, ""
        for name, value in values.items():
            yield f"  {name.replace('_', ' ') if title == 'figures' else name}", number(value)
    for remark in record.report.remarks:
        yield "remark", remark
    if (folder / REPORT_FILE).is_file():
        yield "report", str(folder / REPORT_FILE)
