"""Where mlgen keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "MLGEN_CACHE"


def cache_folder(kind: str) -> Path:
    """Folder of one kind of things: in that of ``MLGEN_CACHE``, or ``mlgen`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own).expanduser() / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlgen" / kind
