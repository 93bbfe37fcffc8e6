"""Drawing one of several possibilities for each event."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlgen.stages import FloatArray


def drawn_columns(weights: FloatArray, uniform: FloatArray) -> npt.NDArray[np.intp]:
    """Draw a column of each row in proportion to its weights.

    Args:
        weights: Not negative, ``(n, columns)``.
        uniform: A uniform number for each row, ``(n,)``, below one.

    Returns:
        ``(n,)``; never a column without weight, unless the whole row has none.
    """
    cumulative = np.cumsum(weights, axis=1)
    # Rounding may make the threshold as large as the total, which no column is beyond.
    threshold = np.minimum(np.asarray(uniform) * cumulative[:, -1], np.nextafter(cumulative[:, -1], 0.0))
    return np.asarray(np.minimum((cumulative <= threshold[:, None]).sum(axis=1), weights.shape[1] - 1), np.intp)
