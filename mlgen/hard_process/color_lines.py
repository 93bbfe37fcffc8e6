"""Colour lines of the Les Houches record from colour strings."""

from __future__ import annotations

from collections.abc import Sequence

from mlgen.hard_process.matrix_element import ColorFlow
from mlgen.hard_process.particles import particle_of

#: Number of the first colour line of an event.
FIRST_LINE = 501

#: One colour flow, as chains and rings of slots (`color_flow`).
Strings = tuple[tuple[int, ...], ...]


def outgoing_colors(pdg_ids: Sequence[int]) -> tuple[int, ...]:
    """Return the representation of each particle as if all were outgoing: 1, 3, -3 or 8; an incoming quark has -3."""
    colors = []
    for slot, pdg_id in enumerate(pdg_ids):
        color = particle_of(pdg_id).color
        colors.append(-color if slot < 2 and abs(color) == 3 else color)
    return tuple(colors)


def color_flow(pdg_ids: Sequence[int], strings: Sequence[Sequence[int]]) -> ColorFlow:
    r"""Return the colour lines of a leading-colour partial amplitude.

    A string is a chain of slots from a triplet over gluons to an antitriplet, as in
    :math:`(T^{a_1} \cdots T^{a_k})_{i \bar\jmath}`, or a closed ring of gluons, as in a trace; incoming particles
    count as outgoing antiparticles.

    Args:
        pdg_ids: Of the particles, the two incoming ones first.
        strings: Slots of the coloured particles, each in exactly one string.

    Raises:
        ValueError: The strings do not hold each coloured particle once, or do not begin and end as they must.
    """
    colors = outgoing_colors(pdg_ids)
    if sorted(slot for string in strings for slot in string) != [s for s, color in enumerate(colors) if color != 1]:
        raise ValueError(f"the colour strings {strings} do not hold each coloured particle of {pdg_ids} once")
    color, anticolor = [0] * len(colors), [0] * len(colors)
    line = FIRST_LINE
    for string in strings:
        ends = colors[string[0]], colors[string[-1]]
        if ends not in ((3, -3), (8, 8)) or any(colors[slot] != 8 for slot in string[1:-1]):
            raise ValueError(f"the colour string {string} of {pdg_ids} is neither an open chain nor a ring of gluons")
        for slot, following in zip(string, (*string[1:], string[0]), strict=True):
            if colors[slot] == -3:
                continue
            color[slot] = anticolor[following] = line
            line += 1
    for slot in (0, 1):
        color[slot], anticolor[slot] = anticolor[slot], color[slot]
    return ColorFlow(tuple(color), tuple(anticolor))


def single_flow(pdg_ids: Sequence[int]) -> Strings | None:
    """Return the colour strings of a process that has one leading-colour flow only; None where there may be more."""
    colors = outgoing_colors(pdg_ids)
    colored = [slot for slot, color in enumerate(colors) if color != 1]
    kinds = sorted(colors[slot] for slot in colored)
    if not colored:
        return ()
    if kinds == [8, 8]:
        return (tuple(colored),)
    if kinds in ([-3, 3], [-3, 3, 8]):
        return (tuple(slot for color in (3, 8, -3) for slot in colored if colors[slot] == color),)
    return None
