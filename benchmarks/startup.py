"""Start of the command and of the package, as whole processes.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 11
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import mlgen": ["-c", "import mlgen"],
    "mlgen --help": ["-m", "mlgen", "--help"],
    "mlgen plugins": ["-m", "mlgen", "plugins"],
}


def main() -> None:
    print(f"wall seconds, median of {ROUNDS} (smallest - largest)")
    for title, arguments in COMMANDS.items():
        times = []
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        times = times[1:]  # the first one fills the file cache
        print(f"{title:<18} {statistics.median(times):.3f} ({min(times):.3f} - {max(times):.3f})")


if __name__ == "__main__":
    main()
