"""Reads the events of a Les Houches file into columns.

pylhe makes one object a particle; here the text of a whole batch is cut into tokens and converted at once, which is
several times faster. What pylhe and this reader give is compared in the tests.
"""

from __future__ import annotations

import html
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import fastnumbers
import numpy as np
import numpy.typing as npt

from mlgen.errors import InputError
from mlgen.event_format import EventReader, ReadOptions, Skipped
from mlgen.events import INTEGER_COLUMNS, PARTICLE_COLUMNS, EventBatch
from mlgen.formats.lhe_header import read_header

CHUNK_BYTES = 1 << 22
#: Longest text before the first event; gridpack headers have a few MB.
LONGEST_HEADER = 1 << 29
EVENT_NUMBERS = 6
PARTICLE_NUMBERS = len(PARTICLE_COLUMNS)
#: Whole numbers up to this one are exact as floating-point numbers.
LARGEST_PROCESS = 2**53
#: Whole numbers of a particle are kept in 32 bits.
LARGEST_INTEGER = 2**31

# bytes of length one; an empty rest must not match.
_NUMBER_BEGINS = frozenset(b"%c" % byte for byte in b"0123456789+-.")
_EVENT_TAG = re.compile(rb"<event(?=[\s>])((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>")
_INIT_END = re.compile(rb"</init\s*>")
_COMMENT = re.compile(rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>", re.DOTALL)
_NOT_NEWLINE = re.compile(rb"[^\n]")
_INIT_TAG = re.compile(rb"<init(?=[\s>])")
_BLANK_LINES = re.compile(rb"\n(?:[^\S\n]*\n)+")
# Some programs end a line of numbers with a remark.
_REMARK = re.compile(rb"^(\s*[-+\d.][^#<\n]*)#[^\n]*", re.MULTILINE)
_REWEIGHT = re.compile(rb"[ \t]*<rwgt\b[^>]*>(.*?)</rwgt>[^\S\n]*\n?", re.DOTALL)
_WEIGHT_LIST = re.compile(rb"[ \t]*<weights\b[^>]*>(.*?)</weights>[^\S\n]*\n?", re.DOTALL)
_WEIGHT = re.compile(rb"<wgt\b[^>]*?\sid\s*=\s*(?:\"([^\"]*)\"|'([^']*)')[^>]*>\s*([^<\s]*)\s*</wgt>")


def decoded(raw: bytes) -> str:
    """Text of a file that is UTF-8 or, failing that, Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class _Malformed(Exception):  # noqa: N818 - internal, always turned into an InputError or a skip
    """An event that cannot be read: what is wrong, and the line within its piece of text."""

    def __init__(self, problem: str, line: int = 0) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


class _Unclosed(bytes):
    """Text of an event after which the next one begins without ``</event>``."""


@dataclass(slots=True)
class _Tokens:
    """What has been cut out of the events of one batch, not yet converted."""

    headers: list[bytes] = field(default_factory=list)
    particles: list[bytes] = field(default_factory=list)
    attributes: list[bytes] = field(default_factory=list)
    comments: list[bytes] = field(default_factory=list)
    #: By the tuple of weight names (None in a bare list): the events that have just these, and their values.
    weights: dict[tuple[bytes | None, ...], tuple[list[int], list[bytes]]] = field(default_factory=dict)


class LesHouchesReader(EventReader):
    """Events of a Les Houches file, as a stream of batches."""

    def __init__(self, stream: io.BufferedReader, options: ReadOptions) -> None:
        self._stream, self._options = stream, options
        self.skipped = Skipped()
        #: Events and lines before the batch that is being read.
        self._events, self._line = 0, 1
        self._damage: InputError | None = None
        head, self._rest = self._read_head()
        self.run_info = read_header(decoded(head), options.source)
        self._names: dict[bytes, str] = {}
        self._batches = self._read_batches()
        # Generators use weights that no header declares: the first batch tells which.
        self._first = next(self._batches, None)
        if self._first is not None:
            self.run_info = self.run_info.with_variations(tuple(self._first.variations))

    def _read_head(self) -> tuple[bytes, bytes]:
        buffer = bytearray()
        end = None
        while end is None:
            chunk = self._stream.read1(CHUNK_BYTES)
            known = max(0, len(buffer) - len(b"</init"))
            buffer += chunk
            if not chunk or len(buffer) > LONGEST_HEADER:
                problem = "the file ends before </init>" if not chunk else "there is no </init> in the first 512 MB"
                raise InputError(self._options.source, f"{problem}; a Les Houches file has <init> before its events")
            # Headers of many megabytes come in many pieces: look closely only when there is something to find.
            if buffer.find(b"</init", known) >= 0:
                end = _INIT_END.search(_masked(bytes(buffer)))
        head, rest = bytes(buffer[: end.end()]), bytes(buffer[end.end() :])
        self._line += head.count(b"\n")
        return head, rest

    def __iter__(self) -> Iterator[EventBatch]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._batches

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def _read_batches(self) -> Iterator[EventBatch]:
        texts = self._read_texts()
        while chunk := list(itertools.islice(texts, self._options.batch_size)):
            try:
                batch = self._convert(chunk)
            except (_Malformed, ValueError, IndexError):
                # Somewhere in the batch there is a broken event: take them one by one to say which.
                batch = self._convert(self._sound(chunk))
            self._events += len(chunk)
            self._line += sum(text.count(b"\n") for text in chunk)
            if len(batch):
                yield batch
        self._check_ending()

    def _read_texts(self) -> Iterator[bytes]:
        """Cut the stream into events, each from wherever the last one ended up to and without ``</event>``.

        What is left at the end of the file stays in ``_rest``, what ended it too early in ``_damage``.
        """
        buffer, chunk = self._rest, b" "
        while chunk:
            texts = buffer.split(b"</event>")
            buffer = texts.pop()
            for text in texts:
                if text.count(b"<event") > 1:
                    yield from _split_unclosed(text)
                else:
                    yield text
            try:
                chunk = self._stream.read1(CHUNK_BYTES)
            except InputError as error:
                # Events before the damage are still worth having for those who ask for it.
                if self._options.on_error == "stop":
                    raise
                self._damage, chunk = error, b""
            buffer += chunk
        self._rest = buffer

    def _check_ending(self) -> None:
        """Say what is wrong with the end of the file, if anything is."""
        source, rest = self._options.source, self._rest
        unfinished = _EVENT_TAG.search(rest)
        if self._damage is not None:
            self._reject(self._damage, 1)
        elif unfinished:
            line = self._line + rest.count(b"\n", 0, unfinished.start())
            advice = "Copy the file again, or keep the whole events before it with --on-error skip."
            problem = "the file ends within this event"
            self._reject(InputError(source, problem, event=self._events + 1, line=line, advice=advice), 1)
        elif b"</LesHouchesEvents" not in rest:
            advice = "If all events are there, say --on-error skip; otherwise copy or make the file again."
            problem = f"the file ends after {self._events:,} events without </LesHouchesEvents>: it may have been cut"
            self._reject(InputError(source, problem, advice=advice), 0)

    def _sound(self, texts: list[bytes]) -> list[bytes]:
        """Return the events that can be read; reject the others."""
        sound = []
        line = self._line
        for number, text in enumerate(texts, self._events + 1):
            lines = text.count(b"\n")
            text = type(text)(_REMARK.sub(rb"\1", text))
            try:
                _explain(text)
                text = type(text)(_BLANK_LINES.sub(b"\n", text))
                self._convert([text])
            except (_Malformed, ValueError, IndexError) as error:
                problem, within = "the event cannot be read", 0
                if isinstance(error, _Malformed):
                    problem, within = error.problem, error.line
                advice = "Mend the file, or leave such events out with --on-error skip."
                source = self._options.source
                self._reject(InputError(source, problem, event=number, line=line + within, advice=advice), 1)
            else:
                sound.append(text)
            line += lines
        return sound

    def _reject(self, error: InputError, events: int) -> None:
        if self._options.on_error == "stop":
            raise error
        self.skipped.add(str(error).split("\n", 1)[0], events)

    def _convert(self, texts: list[bytes]) -> EventBatch:
        tokens = _Tokens()
        for text in texts:
            _cut(text, tokens)
        events = _numbers(tokens.headers).reshape(len(texts), EVENT_NUMBERS)
        particles = _numbers(tokens.particles).reshape(-1, PARTICLE_NUMBERS)
        counts = events[:, 0].astype(np.int64)
        whole = np.all(events[:, :2] == np.rint(events[:, :2])) and np.all(np.abs(events[:, :2]) < LARGEST_PROCESS)
        whole = whole and np.all(np.isfinite(events))
        if counts.sum() != len(particles) or np.any(counts < 1) or not whole:
            raise _Malformed("the event's first line does not fit its particles, or its weight is not finite")
        integers = particles[:, : len(INTEGER_COLUMNS)]
        fits = np.all(integers == np.rint(integers)) and np.all(np.abs(integers) < LARGEST_INTEGER)
        if not (np.all(np.isfinite(particles)) and fits):
            raise _Malformed("a particle has a number that is not finite, or not whole where it should be")
        mothers = particles[:, 2:4]
        if np.any(mothers < 0) or np.any(mothers > np.repeat(counts, counts)[:, None]):
            raise _Malformed("a particle's mother is no particle of the event")
        return EventBatch.from_columns(
            counts,
            {name: particles[:, index] for index, name in enumerate(PARTICLE_COLUMNS)},
            process_id=events[:, 1],
            weight=events[:, 2],
            scale=events[:, 3],
            alpha_qed=events[:, 4],
            alpha_qcd=events[:, 5],
            variations=self._variations(tokens, len(texts)),
            comments=_texts(tokens.comments),
            tag_attributes=_texts(tokens.attributes),
        )

    def _name_of(self, raw: bytes) -> str:
        if raw not in self._names:
            self._names[raw] = html.unescape(decoded(raw))
        return self._names[raw]

    def _variations(self, tokens: _Tokens, n: int) -> dict[str, npt.NDArray[np.float64]]:
        declared = self.run_info.variation_names
        variations: dict[str, npt.NDArray[np.float64]] = {}
        for names, (events, texts) in tokens.weights.items():
            values = _numbers(texts).reshape(len(events), len(names))
            if not np.all(np.isfinite(values)):
                raise _Malformed("a named weight is not finite")
            index = np.asarray(events)
            for column, raw in enumerate(names):
                if raw is None:
                    name = declared[column] if column < len(declared) else f"weight_{column + 1}"
                else:
                    # An id that an event has twice gets another name the second time: no weight may be lost.
                    before = names[:column].count(raw)
                    name = self._name_of(raw) + (f" ({before + 1})" if before else "")
                if name not in variations:
                    variations[name] = np.full(n, np.nan)
                variations[name][index] = values[:, column]
        order = {name: position for position, name in enumerate(declared)}
        return dict(sorted(variations.items(), key=lambda item: order.get(item[0], len(order))))


def _masked(text: bytes) -> bytes:
    """Blank out comments and CDATA, in which tags are mere words; every byte keeps its place."""
    return _COMMENT.sub(lambda match: _NOT_NEWLINE.sub(b" ", match.group()), text) if b"<!" in text else text


def _split_unclosed(text: bytes) -> Iterator[bytes]:
    """Part events that were not closed from the whole one after them; tags in comments between events are none."""
    tags = [tag.start() for tag in _EVENT_TAG.finditer(_masked(text))]
    starts = [0, *tags[1:]]
    for start, stop in itertools.pairwise(starts):
        yield _Unclosed(text[start:stop])
    first = tags[-1] if tags else 0
    yield _masked(text[starts[-1] : first]) + text[first:]


def _cut(text: bytes, tokens: _Tokens) -> None:
    """Cut one event into tokens. Assumes the usual shape; whatever else goes wrong later and is then explained."""
    tag, tag_end = text.find(b"<event>"), -1
    attributes = b""
    if tag >= 0:
        tag_end = tag + 6
    elif found := _EVENT_TAG.search(text):
        # With attributes; <eventgroup> is something else.
        tag, tag_end, attributes = found.start(), found.end() - 1, found.group(1)
    if tag_end < 0 or isinstance(text, _Unclosed) or _INIT_TAG.search(text, 0, tag):
        raise _Malformed("<event> and </event> do not alternate")
    line_end = tag_end
    header = b""
    while not header:
        start, line_end = line_end + 1, text.index(b"\n", line_end + 1)
        header = text[start:line_end].strip()
    count = int(float(header.split(None, 1)[0]))
    lines = text[line_end + 1 :].split(b"\n", count)
    rest = lines.pop() if len(lines) > count else b""
    if rest.lstrip()[:1] in _NUMBER_BEGINS:
        raise _Malformed("there are more particles than announced")
    tokens.headers.append(header)
    tokens.particles += lines
    tokens.attributes.append(attributes)
    # Most files have no named weights: a plain look is ten times faster than the regular expressions.
    if b"<rwgt" in rest or b"<weights" in rest:
        rest = _cut_weights(rest, tokens)
    tokens.comments.append(rest.strip(b"\r\n \t") and rest.strip(b"\r\n"))


def _cut_weights(rest: bytes, tokens: _Tokens) -> bytes:
    """Take the named weights out of what follows the particles; return what is left."""
    event = len(tokens.headers) - 1
    names: tuple[bytes | None, ...] = ()
    values: list[bytes] = []
    blocks = list(_REWEIGHT.finditer(rest))
    if len(blocks) != rest.count(b"<rwgt"):
        raise _Malformed("<rwgt> is not closed")
    for block in blocks:
        found = _WEIGHT.findall(block.group(1))
        if len(found) != block.group(1).count(b"<wgt"):
            raise _Malformed("a <wgt> of <rwgt> has no id or is not closed")
        names += tuple([double or single for double, single, _ in found])
        values += [value for _, _, value in found]
    if not blocks:
        # A bare list gives its weights in the order in which the header declares them. Beside <rwgt> it may mean
        # something else, and stays as it is.
        blocks = list(_WEIGHT_LIST.finditer(rest))[:1]
        values = [word for block in blocks for word in block.group(1).split()]
        names = (None,) * len(values)
    if values:
        events, texts = tokens.weights.setdefault(names, ([], []))
        events.append(event)
        texts += values
    for block in reversed(blocks):
        rest = rest[: block.start()] + rest[block.end() :]
    return rest


def _numbers(texts: list[bytes]) -> npt.NDArray[np.float64]:
    words = b" ".join(texts).split()
    try:
        return np.asarray(fastnumbers.try_array(words, dtype=np.float64))
    except ValueError:
        # Fortran writes 1.0D+02.
        return np.asarray(
            fastnumbers.try_array(b" ".join(words).replace(b"D", b"E").replace(b"d", b"e").split(), dtype=np.float64)
        )


def _texts(raw: list[bytes]) -> npt.NDArray[np.object_] | None:
    if not any(raw):
        return None
    return np.array([decoded(text) for text in raw], dtype=object)


def _explain(text: bytes) -> None:
    """Look closely at one event.

    Raises:
        _Malformed: It is broken; says what was found, what is expected, and the line within its text.
    """
    tag = _EVENT_TAG.search(text)
    if tag is None:
        raise _Malformed("there is a </event> without <event>", text.count(b"\n"))
    init = _INIT_TAG.search(text, 0, tag.start())
    if init:
        problem = "a second <init> begins here: give files that were joined end to end as several inputs"
        raise _Malformed(problem, text.count(b"\n", 0, init.start()))
    if isinstance(text, _Unclosed):
        raise _Malformed("the next <event> begins before this one is closed with </event>", text.count(b"\n"))
    end = tag.end() - 1
    before = text.count(b"\n", 0, end)
    lines = list(enumerate(text[end + 1 :].split(b"\n"), before))
    filled = [(number, line) for number, line in lines if line.strip()]
    if not filled:
        raise _Malformed("the event is empty", before)
    first, line = filled[0]
    header = _checked(line, first, EVENT_NUMBERS, "an event's first line", "NUP IDPRUP XWGTUP SCALUP AQEDUP AQCDUP")
    announced = int(header[0]) if np.isfinite(header[0]) else 0
    if announced != header[0] or announced < 1:
        raise _Malformed(f"the event announces {header[0]:g} particles; a whole number from 1 is expected", first)
    if header[1] != np.rint(header[1]) or not abs(header[1]) < LARGEST_PROCESS:
        raise _Malformed(f"the event's process is {header[1]:g}; a whole number is expected", first)
    for value, name in zip(header[2:], ("weight", "scale", "alpha_qed", "alpha_qcd"), strict=True):
        if not np.isfinite(value):
            raise _Malformed(f"the event's {name} is {value}; a finite number is expected", first)
    particles = 0
    for number, line in filled[1:]:
        begin = line.lstrip()[:1]
        if begin in b"#<" or (begin not in _NUMBER_BEGINS and particles >= announced):
            break
        _explain_particle(line, number, announced)
        particles += 1
    if particles != announced:
        raise _Malformed(f"the event announces {announced} particles, but has {particles}", first)
    _explain_weights(text, end)


def _explain_weights(text: bytes, start: int) -> None:
    opened = text.find(b"<rwgt", start)
    if opened >= 0 and text.count(b"<rwgt") != text.count(b"</rwgt"):
        raise _Malformed("<rwgt> is not closed with </rwgt>", text.count(b"\n", 0, opened))
    for block in (*_REWEIGHT.finditer(text, start), *_WEIGHT_LIST.finditer(text, start)):
        entries = [(match.end(), match.group(3)) for match in _WEIGHT.finditer(text, *block.span(1))]
        if b"<wgt" not in block.group(1):
            entries = [(block.end(1), word) for word in block.group(1).split()]
        for place, word in entries:
            value = fastnumbers.try_float(word.replace(b"D", b"E").replace(b"d", b"e"), on_fail=None)
            if value is None or not np.isfinite(value):
                problem = f"a named weight is '{decoded(word)}'; a finite number is expected"
                raise _Malformed(problem, text.count(b"\n", 0, place))


def _explain_particle(line: bytes, number: int, announced: int) -> None:
    shape = "IDUP ISTUP MOTHUP(2) ICOLUP(2) PUP(5) VTIMUP SPINUP"
    values = _checked(line, number, PARTICLE_NUMBERS, "a particle's line", shape)
    for value, name in zip(values, PARTICLE_COLUMNS, strict=True):
        if not np.isfinite(value):
            raise _Malformed(f"a particle's {name} is {value}; a finite number is expected", number)
        if name in INTEGER_COLUMNS and value != round(value):
            raise _Malformed(f"a particle's {name} is {value:g}; a whole number is expected", number)
        if name in INTEGER_COLUMNS and abs(value) >= LARGEST_INTEGER:
            raise _Malformed(f"a particle's {name} is {value:.0f}; it must fit into 32 bits", number)
        if name.startswith("mother") and not 0 <= value <= announced:
            raise _Malformed(f"a particle's {name} is {value:g}; the event has particles 1 to {announced}", number)


def _checked(line: bytes, number: int, count: int, what: str, shape: str) -> list[float]:
    words = line.replace(b"D", b"E").replace(b"d", b"e").split()
    if len(words) != count:
        raise _Malformed(f"{what} has {len(words)} entries; {count} are expected ({shape})", number)
    values: list[Any] = [fastnumbers.try_float(word, on_fail=None) for word in words]
    for word, value in zip(words, values, strict=True):
        if value is None:
            raise _Malformed(f"{what} has '{decoded(word)}' where a number is expected ({shape})", number)
    return values
