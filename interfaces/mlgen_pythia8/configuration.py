"""Settings of Pythia: read from the card and from a file, and checked before any work."""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlgen.errors import nearest
from mlgen.parton_shower import ShowerError
from mlgen_pythia8.library import pythia8
from mlgen_pythia8.printed import Printed
from mlgen_pythia8.settings import Pythia8Settings

#: Settings that mlgen makes, with what to do instead; a star stands for the rest of a name.
_OWN = {
    "beams:frametype": "hard events come from the card's [input], [process] or [generator]",
    "beams:lhef": "give the event file as [input]",
    "beams:lhefheader": "give the event file as [input]",
    "beams:newlhefsameinit": "give several event files as [input]",
    "beams:readlhefheaders": "headers are handed over",
    "beams:nskiplhefatinit": "events are taken from the beginning",
    "beams:id[ab]": "the beams are those of the events",
    "beams:e[ab]": "the beams are those of the events",
    "beams:ecm": "the beams are those of the events",
    "beams:p[xyz][ab]": "the beams are those of the events",
    "check:abortifveto": "each hard event is showered once",
    "random:*": "the seed of the run is [run] seed",
    "parallelism:*": "the number of processes is [shower] workers",
    "main:*": "a main program has it; the number of events is [run] events",
    "print:*": "what Pythia prints is kept for the report",
    "init:show*": "what Pythia prints is kept for the report",
    "next:number*": "what Pythia prints is kept for the report",
    "stat:*": "what Pythia prints is kept for the report",
}
#: Settings of every run.
_ALWAYS = (
    # Each message, not only the first one of a kind: the reason for each event that is refused.
    "Print:verbosity = 3",
    "Init:showProcesses = off",
    "Init:showMultipartonInteractions = off",
    "Init:showChangedSettings = off",
    "Init:showChangedParticleData = off",
    "Next:numberCount = 0",
    "Next:numberShowLHA = 0",
    "Next:numberShowInfo = 0",
    "Next:numberShowProcess = 0",
    "Next:numberShowEvent = 0",
    "Check:abortIfVeto = on",
    "Random:setSeed = on",
    "Random:seed = 1",
)
_FLAG_VALUES = frozenset(("on", "off", "yes", "no", "true", "false", "ok", "1", "0", "none"))
_KEY = re.compile(r"\s*([A-Za-z][\w]*:[\w:]*)\s*=?\s*(.*?)\s*$", re.DOTALL)
#: Settings with which Pythia has to read the events itself: attributes and scales decide how they are showered.
_NEEDS_READER = (
    "JetMatching:merge",
    "Beams:setProductionScalesFromLHEF",
    "Beams:setDipoleShowerStartingScalesFromLHEF",
)
#: Settings that begin like those that switch a merging on, and do not.
_NO_MERGING = frozenset(("merging:doschemevariation", "merging:doxsectionestimate"))
#: Flags that make Pythia generate events of its own ("Process Selection" in its manual), among those it is given.
_PROCESSES = re.compile(
    r"(?:SoftQCD|HardQCD|PromptPhoton|PhotonCollision|PhotonParton|Weak(?:Single|Double)Boson|WeakBoson(?:AndParton|"
    r"Exchange)|Charmonium|Bottomonium|Top|Fourth(?:Bottom|Top|Pair)|HiggsBSM|NewGaugeBoson|LeftRightSymmmetry|"
    r"LeptoQuark|ExcitedFermion|ContactInteractions|DM):.+|"
    # Groups with other flags, too.
    r"(?:Onia|HiggsSM|SUSY|HiddenValley|ExtraDimensions[^:]+):(?:all.*|.*2.*|dijets|monojet)|"
    r"LowEnergyQCD:(?!use).+"
)
_KINDS = ("Flag", "Mode", "Parm", "Word", "FVec", "MVec", "PVec", "WVec")


@dataclass(frozen=True, slots=True)
class Configuration:
    """Checked settings.

    Args:
        lines: What Pythia is told, in order.
        matching: Whether a matching or merging can reject events, or weigh them.
        reader: Whether Pythia has to read the hard events from a file.
        remarks: Lines of the settings file that were left out.
        tunes: Numbers of the tunes, for e+e- and for p p.
    """

    lines: tuple[str, ...]
    matching: bool
    reader: bool
    remarks: tuple[str, ...] = ()
    tunes: tuple[tuple[str, int], ...] = ()


def configuration(settings: Pythia8Settings, directory: Path = Path()) -> Configuration:
    """Check settings.

    Args:
        settings: Those of the card.
        directory: The path of the settings file is relative to it.

    Raises:
        ShowerError: Pythia does not know a setting, or does not take its value; or it is one that mlgen makes.
    """
    module = pythia8()
    remarks: list[str] = []
    given: list[tuple[str, str]] = []
    if settings.settings_file is not None:
        given += _of_file(directory / settings.settings_file, remarks)
    for line in settings.settings:
        if advice := _own(line):
            raise ShowerError(f"[shower] settings: '{line}' cannot be set, because mlgen does: {advice}")
        given.append((f"[shower] settings: '{line}'", line))
    if settings.variations:
        given.insert(0, ("[shower] variations", "UncertaintyBands:doVariations = on"))
    printed = Printed()
    try:
        with printed.captured():
            pythia = module.Pythia("", False)
            problem = _first_problem(pythia, given, printed)
            if not problem:
                problem = _unusable(module, pythia)
    finally:
        printed.close()
    if problem:
        raise ShowerError(problem)
    merging = _merges(pythia.settings)
    tunes = tuple((name, int(pythia.mode(name))) for name in ("Tune:ee", "Tune:pp"))
    matching = merging or bool(pythia.flag("JetMatching:merge"))
    reader = matching or any(pythia.flag(name) for name in _NEEDS_READER)
    return Configuration((*_ALWAYS, *(line for _, line in given)), matching, reader, tuple(remarks), tunes)


def _of_file(path: Path, remarks: list[str]) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "it is no text"
        raise ShowerError(f"[shower] settings_file: {path}: it cannot be read: {problem}") from error
    comment = False
    for number, line in enumerate(text.splitlines(), 1):
        # Pythia's comments over several lines, as in its own settings files.
        stripped = line.strip()
        if stripped.startswith("/*") or comment:
            comment = not stripped.startswith("*/") and not stripped.endswith("*/")
            continue
        if not stripped or not stripped[0].isalnum():
            continue
        if _own(stripped):
            remarks.append(f"{path}:{number}: '{stripped}' is left out: {_own(stripped)}")
            continue
        yield f"{path}:{number}: '{stripped}'", stripped


def _own(line: str) -> str:
    """What to do instead, where a line sets what mlgen sets; else empty."""
    found = _KEY.match(line)
    key = found[1].lower() if found else ""
    return next((advice for own, advice in _OWN.items() if fnmatch.fnmatchcase(key, own)), "")


def _first_problem(pythia: Any, given: Iterable[tuple[str, str]], printed: Printed) -> str:
    """Give all settings to Pythia; what is wrong with the first that it does not take."""
    for place, line in given:
        found = _KEY.match(line)
        if found and pythia.settings.isFlag(found[1]) and found[2].split("!")[0].strip().lower() not in _FLAG_VALUES:
            return f"{place}: '{found[2]}' is not allowed; on or off is expected"
        if pythia.readString(line, False):
            if text := printed.new_text().strip():
                return f"{place}: {text.removeprefix('PYTHIA Error in ')}"
            continue
        said = printed.new_text()
        if found is None:
            return f"{place}: Pythia does not understand it; 'Name:setting = value' is expected"
        if "out of range" in said:
            return f"{place}: the value is out of Pythia's range (see its manual under {found[1]})"
        if _known(pythia.settings, found[1]):
            return f"{place}: Pythia does not take '{found[2]}' as a value of it"
        return f"{place}: Pythia has no such setting{nearest(found[1], _names())}"
    return ""


def _known(settings: Any, key: str) -> bool:
    return any(getattr(settings, f"is{kind}")(key) for kind in _KINDS)


def _names() -> list[str]:
    """Names of all settings, as the manual spells them."""
    folder = Path(os.environ.get("PYTHIA8DATA") or Path(sys.prefix, "share", "Pythia8", "xmldoc"))
    texts = (file.read_text(errors="replace") for file in sorted(folder.glob("*.xml")))
    return [name for text in texts for name in re.findall(r'name="([A-Za-z]\w*:[\w:]+)"', text)]


def _unusable(module: Any, pythia: Any) -> str:
    """What would give no events, or asks for a part of Pythia that this build lacks and would leave out silently."""
    if pythia.mode("POWHEG:veto") and not hasattr(module, "PowhegHooks") and not pythia.settings.wvec("Init:plugins"):
        return (
            "[shower]: 'POWHEG:veto' needs PowhegHooks, which this build of Pythia does not have; without it, set "
            "SpaceShower:pTmaxMatch = 1 and TimeShower:pTmaxMatch = 1, which begin at the scale of each event"
        )
    own = sorted(flag.name for flag in pythia.settings.getFlagMap("").values() if flag.valNow)
    if process := next(filter(_PROCESSES.fullmatch, own), None):
        return (
            f"[shower]: with '{process} = on', Pythia would generate events of its own among those that it is to "
            "shower; leave it out"
        )
    for level in ("ProcessLevel", "PartonLevel"):
        if not pythia.flag(f"{level}:all"):
            return f"[shower]: with '{level}:all = off' there are no showered events; leave [shower] out"
    if pythia.flag("JetMatching:merge") and not hasattr(module, "JetMatchingMadgraph"):
        return "[shower]: 'JetMatching:merge' needs JetMatchingMadgraph, which this build of Pythia does not have"
    return ""


def _merges(settings: Any) -> bool:
    names = set(settings.getFlagMap("merging:do")) - _NO_MERGING
    return any(settings.flag(name) for name in names if name.startswith("merging:do"))
