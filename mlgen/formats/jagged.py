"""Flat columns as jagged arrays, for formats that keep events as columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt


def jagged(counts: npt.NDArray[np.int64], columns: Mapping[str, npt.NDArray[Any]]) -> ak.Array:
    """Records in lists.

    Args:
        counts: Entries of each list, ``(n,)``.
        columns: Fields of the records, each ``(sum(counts),)``.
    """
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    record = ak.contents.RecordArray(
        [ak.contents.NumpyArray(np.ascontiguousarray(column)) for column in columns.values()], list(columns)
    )
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))
