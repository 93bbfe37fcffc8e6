"""What stands before the events of a Les Houches file: read into a `RunInfo`, written from one.

The numbers of ``<init>`` go through pylhe. Text blocks are kept as they stand, because headers of real generators are
often not well-formed XML. An id that ``<initrwgt>`` declares more than once is kept once, as it is declared first: an
event can carry one value an id.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

from pylhe import LHEInitInfo, LHEProcInfo

from mlgen.errors import InputError
from mlgen.run_info import Beam, Process, RunInfo, Variation

_ROOT = re.compile(r"<LesHouchesEvents([^>]*)>")
_COMMENT = re.compile(r"<!--.*?-->|<!\[CDATA\[.*?\]\]>", re.DOTALL)
_NOT_NEWLINE = re.compile(r"[^\n]")
_INIT = re.compile(r"<init(?=[\s>])[^>]*>")
_TEN_NUMBERS = re.compile(r"\s*(?:[-+.\dEeDd]+[^\S\n]+){9}[-+.\dEeDd]+[^\S\n]*\n")
_VARIATIONS = re.compile(r"[ \t]*<initrwgt[^>]*>(.*?)</initrwgt>[^\S\n]*\n?", re.DOTALL)
_PROVENANCE = re.compile(r"<mlgen><!\[CDATA\[(.*?)\]\]></mlgen>\n?", re.DOTALL)
_EMPTY_HEADER = re.compile(r"<header>\s*</header>\s*")
_VARIATION = re.compile(
    r"(?P<open><weightgroup\b(?P<group>[^>]*)>)|(?P<close></weightgroup>)"
    r"|<weight\b(?P<attributes>[^>]*?)(?:/>|>(?P<text>.*?)</weight>)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r"([\w.:-]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_GENERATOR = re.compile(r"<generator\b([^>]*)>(.*?)(?:</generator>|$)", re.DOTALL)
# How generators that write no <generator> block say who they are, in the text before <init>.
_SIGNATURES = (
    (re.compile(r"<MGVersion>[\s#]*([\d.]+)"), "MadGraph5_aMC@NLO {}"),
    (re.compile(r"MadGraph\s*5.*?VERSION\s+([\w.]+)", re.DOTALL), "MadGraph5_aMC@NLO {}"),
    (re.compile(r"generated with (POWHEG-BOX[\w-]*)"), "{}"),
    (re.compile(r"generated with (PYTHIA [\d.]+)"), "{}"),
    (re.compile(r"written by (Pythia8)"), "{}"),
    (re.compile(r"<generator_name>\s*(\w+)"), "{}"),
    (re.compile(r"\b(Sherpa|WHIZARD|Herwig|ThePEG|CompHEP|CalcHEP|ALPGEN|MCFM|VBFNLO|aMC@NLO|KKMC)\b", re.I), "{}"),
)


def _attributes(text: str) -> dict[str, str]:
    return {key: html.unescape(value[1:-1]) for key, value in _ATTRIBUTE.findall(text)}


def _written_attributes(attributes: Mapping[str, str]) -> str:
    return "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())


def without_comments(text: str) -> str:
    """Blank out comments and CDATA, in which tags are mere words; every character keeps its place."""
    return _COMMENT.sub(lambda match: _NOT_NEWLINE.sub(" ", match.group()), text)


def read_header(text: str, source: str) -> RunInfo:
    """Read everything up to and including ``</init>``.

    Raises:
        InputError: There is no ``<init>`` block, or its numbers are not what the Accord says.
    """
    masked = without_comments(text)
    root, start, stop = _ROOT.search(masked), list(_INIT.finditer(masked)), masked.rfind("</init")
    if root is None or not start or stop < 0:
        raise InputError(source, "there is no <init> block before the first event; a Les Houches file needs one")
    # Where the word stands in a remark as well, the tag is what the ten numbers follow.
    init = next((tag for tag in reversed(start) if _TEN_NUMBERS.match(masked, tag.end())), start[-1])
    preamble = text[root.end() : init.start()].strip("\n")
    init_line = text.count("\n", 0, init.end()) + 1
    first, processes, init_text = _read_init(text[init.end() : stop], source, init_line)

    variations: dict[str, Variation] = {}
    groups: list[Mapping[str, str]] = []
    for block in _VARIATIONS.finditer(preamble):
        _read_variations(block.group(1), variations, groups)
    provenance = _PROVENANCE.search(preamble)
    header = _PROVENANCE.sub("", _VARIATIONS.sub("", preamble))
    attributes = _attributes(root.group(1))
    return RunInfo(
        beams=(
            Beam(first.beamA, first.energyA, first.PDFgroupA, first.PDFsetA),
            Beam(first.beamB, first.energyB, first.PDFgroupB, first.PDFsetB),
        ),
        weight_strategy=first.weightingStrategy,
        processes=tuple(processes),
        variations=tuple(variations.values()),
        variation_groups=tuple(groups),
        header=_EMPTY_HEADER.sub("", header).strip("\n"),
        init_text=init_text,
        generator=_generator(preamble, init_text),
        lhe_version=attributes.pop("version", "1.0"),
        lhe_attributes=attributes,
        provenance=tuple(json.loads(provenance.group(1))) if provenance else (),
    )


def _read_init(block: str, source: str, line: int) -> tuple[LHEInitInfo, list[Process], str]:
    written, masked = block.split("\n"), without_comments(block).split("\n")
    lines = [(number, text) for number, text in enumerate(masked, line) if text.strip()]
    remarks = [text for text, rest in zip(written, masked, strict=True) if text.strip() and not rest.strip()]

    def numbers(index: int, what: str) -> tuple[int, str]:
        if index >= len(lines) or lines[index][1].lstrip()[0] in "<#":
            raise InputError(source, f"<init> ends where {what} is expected", line=lines[-1][0] if lines else line)
        number, text = lines[index]
        return number, text.replace("D", "E").replace("d", "e")

    number, text = numbers(0, "the line of beams, PDFs, weight strategy and number of processes")
    try:
        first = LHEInitInfo.fromstring(text)
    except (ValueError, IndexError) as error:
        problem = f"<init> begins with '{text.strip()}'; ten numbers are expected: beams, energies, PDFs, IDWTUP, NPRUP"
        raise InputError(source, problem, line=number) from error
    if first.numProcesses < 0 or not all(map(math.isfinite, (first.energyA, first.energyB))):
        problem = f"<init> begins with '{text.strip()}'; finite energies and a number of processes are expected"
        raise InputError(source, problem, line=number)
    processes = []
    for index in range(1, first.numProcesses + 1):
        number, text = numbers(index, f"process {index} of the {first.numProcesses} announced")
        try:
            process = LHEProcInfo.fromstring(text)
        except (ValueError, IndexError) as error:
            problem = f"'{text.strip()}' is no process; four numbers are expected: XSECUP, XERRUP, XMAXUP, LPRUP"
            raise InputError(source, problem, line=number) from error
        if not all(map(math.isfinite, (process.xSection, process.error, process.unitWeight))):
            problem = f"'{text.strip()}' has a number that is not finite; a cross section in pb is expected"
            raise InputError(source, problem, line=number)
        processes.append(Process(process.procId, process.xSection, process.error, process.unitWeight))
    others = [written[number - line] for number, _ in lines[first.numProcesses + 1 :]]
    return first, processes, "\n".join(others + remarks)


def _read_variations(block: str, variations: dict[str, Variation], groups: list[Mapping[str, str]]) -> None:
    group: int | None = None
    for entry in _VARIATION.finditer(block):
        if entry["open"]:
            groups.append(_attributes(entry["group"]))
            group = len(groups) - 1
        elif entry["close"]:
            group = None
        else:
            attributes = _attributes(entry["attributes"])
            name = attributes.pop("id", str(len(variations) + 1))
            # An id that is declared twice keeps its place in the order, which bare lists of weights follow; the second
            # is named as the reader of events names a weight that an event has twice.
            same = sum(known == name or known.startswith(f"{name} (") for known in variations)
            name += f" ({same + 1})" if name in variations else ""
            variations[name] = Variation(name, html.unescape((entry["text"] or "").strip()), attributes, group)


def _generator(preamble: str, init_text: str) -> str:
    named = _GENERATOR.findall(init_text)
    if named:
        found = []
        for attributes, text in named:
            values = _attributes(attributes)
            name = values.get("name") or text.strip()
            found.append(f"{name} {values.get('version', '')}".strip())
        return ", ".join(found)
    for pattern, name in _SIGNATURES:
        match = pattern.search(preamble)
        if match:
            return name.format(match.group(1))
    return ""


def written_header(run_info: RunInfo) -> str:
    """Everything up to and including ``</init>``, with a newline at its end."""
    return "".join(_written(run_info))


def _written(run_info: RunInfo) -> Iterator[str]:
    # <rwgt> and <initrwgt> came with version 3; a file that gains named weights is one of that version.
    version = run_info.lhe_version if not run_info.variations else max(run_info.lhe_version, "3.0")
    yield f'<LesHouchesEvents version="{version}"{_written_attributes(run_info.lhe_attributes)}>\n'
    blocks = "".join(_written_variations(run_info))
    if run_info.provenance:
        text = json.dumps(list(run_info.provenance)).replace("]]>", "]]\\u003e")
        blocks += f"<mlgen><![CDATA[{text}]]></mlgen>\n"
    header = run_info.header
    if header:
        place = header.rfind("</header>")
        if place >= 0:
            # The blocks go onto lines of their own, before the line of the closing tag.
            line = header.rfind("\n", 0, place) + 1
            place = line if not header[line:place].strip() else place
            yield header[:place] + blocks + header[place:] + "\n"
            blocks = ""
        else:
            yield header + "\n"
    if blocks:
        yield f"<header>\n{blocks}</header>\n"
    yield "<init>\n"
    yield " ".join(repr(number) for number in run_info.init_numbers) + "\n"
    for process in run_info.processes:
        yield f"{process.cross_section!r} {process.error!r} {process.maximum_weight!r} {process.process_id}\n"
    if run_info.init_text:
        yield run_info.init_text + "\n"
    yield "</init>\n"


def _written_variations(run_info: RunInfo) -> Iterator[str]:
    if not run_info.variations:
        return
    yield "<initrwgt>\n"
    for group, variations in run_info.grouped_variations():
        if group is not None:
            yield f"<weightgroup{_written_attributes(group)}>\n"
        for variation in variations:
            attributes = _written_attributes({"id": variation.name, **variation.attributes})
            yield f"<weight{attributes}> {escape(variation.description)} </weight>\n"
        if group is not None:
            yield "</weightgroup>\n"
    yield "</initrwgt>\n"
