"""What runs in the processes that shower: one Pythia each, made once."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from mlgen.errors import MlgenError
from mlgen.events import EventBatch
from mlgen.parton_shower import ShowerFailure
from mlgen.run_info import RunInfo
from mlgen_pythia8.configuration import Configuration
from mlgen_pythia8.engine import Engine, ShoweredPart

_PR_SET_PDEATHSIG = 1

_job: tuple[Configuration, RunInfo] | None = None
_engine: Engine | None = None


def start(configuration: Configuration, run_info: RunInfo) -> None:
    """Prepare a process; Pythia is made with the first events, so that what goes wrong comes back as an error."""
    global _job
    _job = configuration, run_info
    # Ctrl-C goes to all processes of a terminal; the one that this one works for ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # If that one is killed, this one is not to stay.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # Parts of Pythia print when they are taken down. Standard output of the run may be its events.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def added_weights() -> tuple[str, ...]:
    """Names of the weights that Pythia adds."""
    return _ready().added_weights


def shower(batch: EventBatch, seed: int) -> ShoweredPart:
    """Shower a batch; see `Engine.shower`."""
    return _ready().shower(batch, seed)


def _ready() -> Engine:
    global _engine
    if _engine is None:
        if _job is None:
            raise ShowerFailure("the process that showers was not prepared")
        try:
            _engine = Engine(*_job)
        except MlgenError:
            raise
        except Exception as error:
            raise ShowerFailure(f"Pythia cannot be made: {type(error).__name__}: {error}") from error
    return _engine
