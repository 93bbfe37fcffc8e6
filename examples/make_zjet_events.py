"""Make the example inputs: hard events p p -> Z/gamma* (-> mu+ mu-) + jet at 13 TeV from Pythia 8.

    python examples/make_zjet_events.py [DIRECTORY]

``zjet.lhe.gz`` has unit weights. ``zjet_weighted.lhe.gz`` has more events at large transverse momentum, as a user makes
them who needs statistics there, and weights that correct for it and average to the cross section (IDWTUP 1).

Only the hard process and the decay of the boson: no shower, no multiparton interactions, no hadrons. Pythia adds all
that later when it reads the file (``Beams:frameType = 4``). The seed is fixed, and nothing in the file depends on the
day or the machine, so that the script makes the same file again with the same version of Pythia.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pythia8mc

SEED = 20_260_101
MILLIBARN_IN_PICOBARN = 1e9
SETTINGS = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "WeakBosonAndParton:qqbar2gmZg = on",
    "WeakBosonAndParton:qg2gmZq = on",
    "PhaseSpace:pTHatMin = 20.",
    "23:mMin = 50.",
    "23:onMode = off",
    "23:onIfAny = 13",
    "PartonLevel:all = off",
    "Random:setSeed = on",
    f"Random:seed = {SEED}",
)
#: Draw events with a probability that grows like pT^2.
BIASED = ("PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 2.", "PhaseSpace:bias2SelectionRef = 20.")
#: Status of the Les Houches Accord for each status of Pythia's process record: incoming, resonance, outgoing.
STATUS = {-21: -1, -22: 2, 23: 1}
#: Rows of the beams in Pythia's record, after the row of the whole system; the Les Houches record leaves them out.
ROWS_BEFORE = 2


def event_text(pythia: pythia8mc.Pythia, weight: str) -> str:
    """Return the hard event that `pythia` made last as a Les Houches event."""
    process, info = pythia.process, pythia.infoPython()
    rows = []
    for index in range(ROWS_BEFORE + 1, process.size()):
        particle = process[index]
        incoming = particle.status() == -21
        mothers = (0, 0) if incoming else (particle.mother1() - ROWS_BEFORE, particle.mother2() - ROWS_BEFORE)
        if mothers[1] <= 0 and not incoming:
            mothers = (mothers[0], mothers[0])
        rows.append(
            f"{particle.id():3d} {STATUS[particle.status()]:2d} {mothers[0]} {mothers[1]}"
            f" {particle.col()} {particle.acol()}"
            f" {particle.px():.7e} {particle.py():.7e} {particle.pz():.7e} {particle.e():.7e} {particle.m():.7e} 0. 9."
        )
    head = f"{len(rows)} {info.code()} {weight} {process.scale():.7e} {info.alphaEM():.7e} {info.alphaS():.7e}"
    return "\n".join(["<event>", head, *rows, "</event>", ""])


def file_text(count: int, settings: tuple[str, ...], weighted: bool) -> str:
    """Generate `count` events and return the whole Les Houches file."""
    pythia = pythia8mc.Pythia("", False)
    for setting in ("Print:quiet = on", *settings):
        pythia.readString(setting)
    if not pythia.init():
        raise SystemExit("Pythia did not start with these settings")
    events, weights = [], []
    while len(events) < count:
        if pythia.next():
            events.append(event_text(pythia, "WEIGHT"))
            weights.append(pythia.infoPython().weight())
    info = pythia.infoPython()
    # Pythia's weights undo the bias up to a constant; these average to the cross section in pb.
    unit = info.sigmaGen() * MILLIBARN_IN_PICOBARN * count / sum(weights) if weighted else 1.0
    texts = [
        event.replace("WEIGHT", f"{weight * unit:.7e}" if weighted else "1.")
        for event, weight in zip(events, weights, strict=True)
    ]
    processes = [
        f"{info.sigmaGen(code) * MILLIBARN_IN_PICOBARN:.7e} {info.sigmaErr(code) * MILLIBARN_IN_PICOBARN:.7e} 1. {code}"
        for code in info.codesHard()
    ]
    version = pythia.parm("Pythia:versionNumber")
    return "\n".join(
        [
            '<LesHouchesEvents version="3.0">',
            "<header>",
            "<!-- Made by examples/make_zjet_events.py: hard process and decay only, with these settings of Pythia",
            *settings,
            "-->",
            "</header>",
            "<init>",
            f"2212 2212 6.5e+03 6.5e+03 0 0 0 0 {1 if weighted else 3} {len(processes)}",
            *processes,
            f"<generator name='Pythia' version='{version:.3f}'>Pythia 8, arXiv:2203.11601</generator>",
            "</init>",
            "".join(texts) + "</LesHouchesEvents>",
            "",
        ]
    )


def main() -> None:
    """Make both files."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, count, settings, weighted in (
        ("zjet.lhe.gz", 10_000, SETTINGS, False),
        ("zjet_weighted.lhe.gz", 3_000, (*SETTINGS, *BIASED), True),
    ):
        output = directory / name
        # Without a time and a name in the head of the gzip stream, equal events give equal bytes.
        with output.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as stream:
            stream.write(file_text(count, settings, weighted).encode())
        print(f"{output}: {count} events, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
