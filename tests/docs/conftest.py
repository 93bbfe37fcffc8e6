"""The extensions of the documentation, and the modules beside this one, can be imported."""

import sys
from pathlib import Path

HERE = Path(__file__).parent

for folder in (HERE.parents[1] / "docs" / "extensions", HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
