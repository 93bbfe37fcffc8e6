"""The remark of a training on channels that are never drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlgen.sampling.channel_probabilities import BoolArray
from mlgen.stages import FloatArray

#: Channels that are named; a process can have hundreds.
_NAMED = 3


def remark_on_dropped(
    channels: Sequence[str], drawn: BoolArray, reason: str, sizes: FloatArray | None = None
) -> tuple[str, ...]:
    """Return one remark that counts the channels that are never drawn and names a few, or none where all are.

    Args:
        channels: Name of each channel.
        drawn: Whether it is drawn, ``(channels,)``.
        reason: Why some are not: goes on after "never drawn, ".
        sizes: How much each contributed before it was dropped, ``(channels,)``: the largest are named. None: the first.
    """
    dropped = np.flatnonzero(~drawn)
    if not len(dropped):
        return ()
    first = dropped if sizes is None else dropped[np.argsort(-sizes[dropped], kind="stable")]
    names = ", ".join(f"'{channels[index]}'" for index in first[:_NAMED])
    among = f"{names}" if len(dropped) <= _NAMED else f"among them {names}"
    return (f"never drawn, {reason}: {len(dropped)} of {len(channels)} channels, {among}",)
