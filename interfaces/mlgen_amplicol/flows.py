"""Colour flows of pyAmpliCol, as colour strings."""

from __future__ import annotations

from collections.abc import Sequence

from mlgen.hard_process.color_lines import Strings, outgoing_colors


def strings_of(pdg_ids: Sequence[int], word: Sequence[int]) -> Strings:
    """Return the colour strings that pyAmpliCol writes as one word of particle numbers, chain after chain."""
    colors = outgoing_colors(pdg_ids)
    strings: list[tuple[int, ...]] = []
    string: list[int] = []
    for label in word:
        if colors[label - 1] == 1:
            continue
        string.append(label - 1)
        if colors[label - 1] == -3:
            strings.append(tuple(string))
            string = []
    if string:
        strings.append(tuple(string))
    return tuple(strings)


def leading(pdg_ids: Sequence[int], flows: Sequence[Strings]) -> list[int]:
    """Return which flows are not suppressed by powers of 1/N.

    pyAmpliCol's flows of several quark lines include those where a gluon is exchanged without its colour, as the
    term -1/N of the Fierz identity has it. Where each flavour has a line of its own, the leading ones connect all lines
    that exchange gluons into one cycle: those with the fewest cycles stay. Lines of one flavour cannot be told apart;
    there all flows stay.
    """
    colors = outgoing_colors(pdg_ids)
    line_of: dict[tuple[int, int], int] = {}
    for slot, color in enumerate(colors):
        if abs(color) == 3:
            generation = (abs(pdg_ids[slot]) - 1) // 2 if _charged_current(pdg_ids) else abs(pdg_ids[slot])
            if (color, generation) in line_of:
                return list(range(len(flows)))
            line_of[color, generation] = slot
    family = {slot: generation for (_, generation), slot in line_of.items()}
    cycles = [_cycles([(family[s[0]], family[s[-1]]) for s in flow if colors[s[0]] == 3]) for flow in flows]
    return [number for number, count in enumerate(cycles) if count == min(cycles)]


def _charged_current(pdg_ids: Sequence[int]) -> bool:
    """Whether quark flavours change along a line."""
    colors = outgoing_colors(pdg_ids)
    quarks, antiquarks = (
        sorted(abs(pdg_id) for pdg_id, color in zip(pdg_ids, colors, strict=True) if color == kind) for kind in (3, -3)
    )
    return quarks != antiquarks


def _cycles(connections: Sequence[tuple[int, int]]) -> int:
    following = dict(connections)
    count = 0
    while following:
        count += 1
        line = next(iter(following))
        while line in following:
            line = following.pop(line)
    return count
