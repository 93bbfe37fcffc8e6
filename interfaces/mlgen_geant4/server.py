"""``python -m mlgen_geant4.server``: the process that has Geant4 in it.

It reads requests from standard input, a line of JSON each: first what to set up, then a shower each. It answers on
what was standard output, with a line of JSON, and the deposits of a shower (8 bytes a voxel) after it. What Geant4
prints goes to standard error. It ends when standard input does: when whoever started it closes it, or is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

from mlgen.errors import DetectorError
from mlgen.showers import Geometry
from mlgen_geant4.calorimeter import calorimeter_of
from mlgen_geant4.engine import Engine
from mlgen_geant4.settings import Geant4Settings


def main() -> None:
    """Serve until standard input ends."""
    # An interrupt is for whoever started it, who then closes standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _serve(sys.stdin.buffer, answers)
    finally:
        # Geant4's objects, and Python's that it points to, are torn down in no safe order.
        os._exit(0)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    try:
        engine = _engine(json.loads(requests.readline()))
        _answer(answers, {"description": engine.description})
        for line in requests:
            request = json.loads(line)
            direction = tuple(request["direction"])
            deposits = engine.shower(request["pdg_id"], request["energy"], direction, request["seed"])
            _answer(answers, {"bytes": deposits.nbytes}, deposits.tobytes())
    except DetectorError as error:
        _answer(answers, {"problem": str(error), "by_user": True})
    except Exception as error:  # noqa: BLE001 - whoever asked gets to know
        _answer(answers, {"problem": f"{type(error).__name__}: {error}", "by_user": False})


def _engine(request: Mapping[str, Any]) -> Engine:
    settings = Geant4Settings.model_validate(request["settings"])
    geometry = Geometry.from_json(request["geometry"]) if request["geometry"] is not None else None
    return Engine(calorimeter_of(settings, geometry), settings, request["physics"])


def _answer(answers: BinaryIO, header: Mapping[str, Any], content: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n" + content)
    answers.flush()


if __name__ == "__main__":
    main()
