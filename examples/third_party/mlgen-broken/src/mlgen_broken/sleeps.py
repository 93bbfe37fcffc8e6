"""Takes its time when it is imported, as modules do that look for a device or ask a server."""

import os
import time

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage

time.sleep(float(os.environ.get("MLGEN_BROKEN_SLEEP", "0.7")))


@hookimpl
def mlgen_amplitude():
    """Offer a surrogate."""
    yield Plugin(
        "sleepy", Stage.AMPLITUDE, object, Settings, Exactness.APPROXIMATE, "late, but there", contract_version=1
    )
