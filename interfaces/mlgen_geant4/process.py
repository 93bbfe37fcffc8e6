"""The other end of `mlgen_geant4.server`: starts the process that has Geant4, asks it, and says how it ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import numpy as np

from mlgen.errors import DetectorError, SimulationFailure
from mlgen.stages import FloatArray
from mlgen_geant4.data_files import environment

#: Lines of what Geant4 printed last that are shown when it stops.
SHOWN_LINES = 12
#: Seconds that a process gets to end when it is not needed any more.
_PATIENCE = 5.0


class Geant4Process:
    """A process with Geant4 in it.

    Args:
        setup: What it sets up, as `mlgen_geant4.server` reads it.
        needs_data: Whether its physics reads Geant4's data files.

    Raises:
        DetectorError: It cannot set that up.
        SimulationFailure: It stopped.
    """

    def __init__(self, setup: Mapping[str, Any], *, needs_data: bool) -> None:
        self._files = tempfile.TemporaryDirectory(prefix="mlgen-geant4-")
        folder = Path(self._files.name)
        # What Geant4 prints; kept for the case that it stops.
        self._printed = folder / "printed"
        self._known = 0
        empty = None
        if not needs_data:
            empty = folder / "no-data"
            empty.mkdir()
        with self._printed.open("wb") as printed:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlgen_geant4.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                env=environment(empty),
            )
        # Popen has both pipes, since it was asked for them.
        self._requests, self._answers = cast(IO[bytes], self._process.stdin), cast(IO[bytes], self._process.stdout)
        try:
            self.description: dict[str, str | int | float] = self._ask(setup)["description"]
        except BaseException:
            self.close()
            raise
        # Its banner says nothing of what happens later.
        self._known = self._printed.stat().st_size

    def shower(self, pdg_id: int, energy: float, direction: list[float], seed: int) -> FloatArray:
        """Simulate one shower; the arguments are those of `mlgen_geant4.engine.Engine.shower`."""
        answer = self._ask({"pdg_id": pdg_id, "energy": energy, "direction": direction, "seed": seed})
        content = self._answers.read(answer["bytes"])
        if len(content) != answer["bytes"]:
            self._ended()
        return np.frombuffer(content)

    def close(self) -> None:
        """End it, at once."""
        process = self._process
        if process.poll() is None:
            process.kill()
        try:
            process.wait(_PATIENCE)
        finally:
            for stream in (self._requests, self._answers):
                # What could not be sent is of no interest any more.
                _close_quietly(stream)
            self._files.cleanup()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
            line = self._answers.readline()
        except (OSError, ValueError):
            line = b""
        if not line:
            self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "problem" in answer:
            raise (DetectorError if answer["by_user"] else SimulationFailure)(f"Geant4: {answer['problem']}")
        return answer

    def _ended(self) -> NoReturn:
        code = self._process.wait(_PATIENCE)
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        raise SimulationFailure(f"the process with Geant4 in it {how}{self._last_words()}")

    def _last_words(self) -> str:
        try:
            lines = self._printed.read_bytes()[self._known :].decode(errors="replace").splitlines()
        except OSError:
            return ""
        shown = [line for line in lines if line.strip()][-SHOWN_LINES:]
        return "; the last that it printed:" + "".join(f"\n  {line}" for line in shown) if shown else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _close_quietly(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except OSError:
        return
