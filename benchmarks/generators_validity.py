"""Whether generated events are valid: the rules of the Les Houches Accord, and a shower of Pythia 8.

    python benchmarks/generators_validity.py FILE.lhe N

showers the first N events of a plain file and prints what became of them as JSON, then what Pythia says.
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from generators_output import Output

from mlgen import create_events, open_events
from mlgen.events import EventBatch
from mlgen.run_info import RunInfo
from mlgen.testing.event_rules import check_events

#: Calls of `check_events` that may go into counting the broken events.
_MOST_CHECKS = 3000
_RESULT = "RESULT "
_SETTINGS = (
    "Beams:frameType = 4",
    "HadronLevel:all = off",
    "PartonLevel:MPI = off",
    "Init:showAllSettings = off",
    "Init:showChangedSettings = off",
    "Next:numberCount = 0",
    "Next:numberShowInfo = 0",
    "Next:numberShowProcess = 0",
    "Next:numberShowEvent = 0",
    "Next:numberShowLHA = 0",
    "Stat:showProcessLevel = off",
)


def show_validity(name: str, path: Path, truth: Path, showered: int, output: Output) -> None:
    """Print how many events break a rule, and how many Pythia refuses, beside the truth's.

    Args:
        name: Of the generator.
        path: Its file.
        truth: File of held-out events.
        showered: Events of each that are showered.
        output: Where it goes.
    """
    output.title(f"{name}: validity")
    events, broken, rules = _check(path)
    output.say(f"rules of the Les Houches Accord: {broken} of {events:,} events break one")
    output.say(*(f"  {count} x {rule}" for rule, count in rules.most_common(5)))
    output.keep(name, "validity", events=events, broken=broken, rules=dict(rules))
    rows = []
    for label, file in (("generated", path), ("held out", truth)):
        found = shower(file, showered)
        if found is None:
            output.say("pythia8mc is not installed: no shower")
            return
        output.keep(name, "validity", "shower", label, **found)
        messages = "; ".join(f"{count} x {text}" for text, count in found["messages"].items()) or "none"
        rows.append([
            label, f"{found['events']:,}", str(found["failed"]), f"{found['seconds']:.0f} s",
            f"{found['partons']:.2f}", messages,
        ])  # fmt: skip
    output.table(["Pythia 8, partons", "events", "failed", "time", "partons per event", "messages"], rows)


def _check(path: Path) -> tuple[int, int, Counter[str]]:
    """Events, those that break a rule, and how often each first broken rule occurs."""
    events, broken, checks = 0, 0, 0
    rules: Counter[str] = Counter()

    def count(batch: EventBatch, info: RunInfo) -> int:
        """Broken events of a batch, by halves; all of it, once too much was checked."""
        nonlocal checks
        checks += 1
        try:
            check_events(batch, info)
        except AssertionError as error:
            if len(batch) == 1 or checks > _MOST_CHECKS:
                rules[re.sub(r"; event \d+ breaks this.*", "", str(error))] += len(batch)
                return len(batch)
            middle = len(batch) // 2
            return count(batch[:middle], info) + count(batch[middle:], info)
        return 0

    with open_events(path) as source:
        for batch in source:
            events += len(batch)
            broken += count(batch, source.run_info)
    return events, broken, rules


def shower(path: Path, events: int) -> dict[str, Any] | None:
    """Shower the first events of a file in a process of its own; None without Pythia."""
    with tempfile.TemporaryDirectory(prefix="mlgen-benchmark-") as folder:
        plain = Path(folder) / "events.lhe"
        left = events
        with open_events(path) as source, create_events(plain, source.run_info) as written:
            for batch in source:
                written.write(batch[:left])
                left -= min(len(batch), left)
                if left == 0:
                    break
        done = subprocess.run(
            [sys.executable, __file__, str(plain), str(events - left)], capture_output=True, text=True, check=False
        )
    lines = done.stdout.splitlines()
    results = [line for line in lines if line.startswith(_RESULT)]
    if not results:
        if "No module named 'pythia8mc'" in done.stderr:
            return None
        return {
            "events": events, "failed": events, "seconds": 0.0, "partons": 0.0,
            "messages": {f"Pythia ended with {done.returncode}: {(lines or ['nothing'])[-1]}": 1},
        }  # fmt: skip
    found: dict[str, Any] = json.loads(results[-1].removeprefix(_RESULT))
    table = (re.match(r"\s*\|\s*(\d+)\s+(\S.*?)\s*\|\s*$", line) for line in lines)
    return found | {"messages": {match[2]: int(match[1]) for match in table if match and match[1] != "0"}}


def _shower_here(path: str, events: int) -> None:
    pythia8mc: Any = importlib.import_module("pythia8mc")
    pythia = pythia8mc.Pythia("", False)
    if not all(pythia.readString(setting) for setting in (*_SETTINGS, f"Beams:LHEF = {path}")) or not pythia.init():
        raise SystemExit("Pythia does not start")
    start = time.perf_counter()
    failed, partons, done = 0, 0, 0
    for _ in range(events):
        if pythia.next():
            done += 1
            partons += sum(particle.isFinal() for particle in pythia.event)
        else:
            failed += 1
    seconds = time.perf_counter() - start
    pythia.stat()
    result = {"events": events, "failed": failed, "seconds": seconds, "partons": partons / max(done, 1)}
    print(f"\n{_RESULT}{json.dumps(result)}")


if __name__ == "__main__":
    _shower_here(sys.argv[1], int(sys.argv[2]))
