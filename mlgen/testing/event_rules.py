"""What a valid hard event is: the rules of the Les Houches Accord (hep-ph/0109068) that programs rely on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlgen.events import EventBatch
from mlgen.run_info import RunInfo
from mlgen.stages import FloatArray
from mlgen.testing.rules import require

#: Relative precision of momentum conservation and mass shells. Ten digits are what most LHE files carry.
PRECISION = 1e-9
_COLOURLESS = (11, 12, 13, 14, 15, 16, 22, 23, 24, 25)


def check_events(events: EventBatch, run_info: RunInfo, *, coloured: bool = True) -> None:
    """Fail, with the rule and the first event (counted from 1) that breaks it, unless all events are valid.

    Args:
        events: The events.
        run_info: What is true of their file; beams are heeded where they are known.
        coloured: Whether partons have colour lines.
    """
    columns = events.columns()
    event = np.repeat(np.arange(len(events)), events.counts)
    for name, column in columns.items():
        _require_all(np.isfinite(column), event, f"{name} must be finite")
    _check_weights(events, run_info)
    _check_incoming(columns, event, len(events), run_info)
    _check_mothers(columns, event, events)
    _check_momenta(columns, event, events)
    if coloured:
        _check_colours(columns, event)


def _require_all(good: npt.NDArray[Any], event: npt.NDArray[Any], rule: str) -> None:
    """Fail with `rule` unless all hold; `event` is the event of each entry."""
    wrong = event[~np.asarray(good, bool)]
    require(
        len(wrong) == 0,
        f"{rule}; event {int(wrong[0]) + 1 if len(wrong) else 0} breaks this, as do {len(wrong) - 1} others",
    )


def _check_weights(events: EventBatch, run_info: RunInfo) -> None:
    require(np.all(np.isfinite(events.weight)), "event weights must be finite")
    require(
        set(events.variations) == set(run_info.variation_names),
        f"the events have the named weights {sorted(events.variations)}, run_info tells of "
        f"{sorted(run_info.variation_names)}",
    )


def _check_incoming(columns: dict[str, npt.NDArray[Any]], event: npt.NDArray[Any], n: int, run_info: RunInfo) -> None:
    incoming = columns["status"] == -1
    known = np.isin(columns["status"], (-1, 1, 2, 3, -2, -9))
    _require_all(known, event, "the status must be -1 (incoming), 1 (outgoing), 2, 3, -2 or -9")
    number = np.bincount(event[incoming], minlength=n)
    _require_all(number == 2, np.arange(n), "an event must have two incoming particles (status -1)")
    along = (columns["px"] == 0) & (columns["py"] == 0)
    _require_all(along[incoming], event[incoming], "incoming particles must move along z")
    pz = columns["pz"][incoming].reshape(n, 2)
    _require_all(
        (pz[:, 0] > 0) & (pz[:, 1] < 0), np.arange(n), "the first incoming particle moves to +z, the second to -z"
    )
    if run_info.beams:
        beams = np.array([beam.energy for beam in run_info.beams])
        x = columns["energy"][incoming].reshape(n, 2) / beams
        good = np.all((x > 0) & (x < 1), axis=1)
        _require_all(good, np.arange(n), "the momentum fraction x of an incoming particle must be between 0 and 1")


def _check_mothers(columns: dict[str, npt.NDArray[Any]], event: npt.NDArray[Any], events: EventBatch) -> None:
    first, second, count = columns["mother1"], columns["mother2"], events.counts[event]
    place = np.arange(len(event)) - events.offsets[event] + 1
    for mother in (first, second):
        _require_all((mother >= 0) & (mother <= count), event, "mothers must be particles of the event, or 0")
        _require_all(mother != place, event, "a particle must not be its own mother")
    incoming = columns["status"] == -1
    _require_all((first[incoming] == 0), event[incoming], "incoming particles must have no mother")
    _require_all((first[~incoming] >= 1), event[~incoming], "every particle that is not incoming must have a mother")
    ordered = (second == 0) | (second >= first)
    _require_all(ordered, event, "the second mother must not stand before the first")


def _check_momenta(columns: dict[str, npt.NDArray[Any]], event: npt.NDArray[Any], events: EventBatch) -> None:
    momenta = np.stack([columns[name] for name in ("px", "py", "pz", "energy")], axis=1)
    incoming, outgoing = columns["status"] == -1, columns["status"] == 1
    n = len(events)
    balance = _summed(momenta, event, n, incoming) - _summed(momenta, event, n, outgoing)
    allowed = PRECISION * _summed(momenta, event, n, incoming)[:, 3]
    conserved = np.all(np.abs(balance) <= allowed[:, None], axis=1)
    _require_all(conserved, np.arange(n), f"four-momentum must be conserved within {PRECISION} of the energy")
    energy, mass = columns["energy"], columns["generated_mass"]
    squared = energy**2 - np.sum(momenta[:, :3] ** 2, axis=1)
    on_shell = np.abs(squared - np.sign(mass) * mass**2) <= PRECISION * energy**2
    _require_all(on_shell, event, f"E^2 - p^2 must be the square of generated_mass within {PRECISION} E^2")
    # A resonance is what its daughters add up to.
    single = (columns["mother1"] >= 1) & ((columns["mother2"] == 0) | (columns["mother2"] == columns["mother1"]))
    parent = events.offsets[event[single]] + columns["mother1"][single] - 1
    daughters = np.stack([np.bincount(parent, momenta[single, i], len(event)) for i in range(4)], axis=1)
    resonance = (columns["status"] == 2) & np.isin(np.arange(len(event)), parent)
    missing = np.max(np.abs(daughters - momenta), axis=1)
    good = missing[resonance] <= PRECISION * energy[resonance]
    _require_all(good, event[resonance], "an intermediate particle (status 2) must have the momentum of its daughters")


def _summed(momenta: FloatArray, event: npt.NDArray[Any], n: int, chosen: npt.NDArray[np.bool_]) -> FloatArray:
    return np.stack([np.bincount(event[chosen], momenta[chosen, i], n) for i in range(4)], axis=1)


def _check_colours(columns: dict[str, npt.NDArray[Any]], event: npt.NDArray[Any]) -> None:
    colour, anticolour, identity = columns["color1"] > 0, columns["color2"] > 0, columns["pdg_id"]
    size = np.abs(identity)
    quark = (size >= 1) & (size <= 6)
    _require_all(
        (colour & ~anticolour)[quark & (identity > 0)], event[quark & (identity > 0)], "a quark has a colour only"
    )
    _require_all(
        (anticolour & ~colour)[quark & (identity < 0)],
        event[quark & (identity < 0)],
        "an antiquark has an anticolour only",
    )
    _require_all((colour & anticolour)[identity == 21], event[identity == 21], "a gluon has a colour and an anticolour")
    colourless = np.isin(size, _COLOURLESS)
    _require_all(
        ~(colour | anticolour)[colourless], event[colourless], "leptons, photon, Z, W and Higgs have no colour"
    )
    # Crossing turns an incoming colour into an outgoing anticolour; then each line has one end of each kind.
    incoming, outgoing = columns["status"] == -1, columns["status"] == 1
    starts = _ends(event, columns["color1"], outgoing & colour, columns["color2"], incoming & anticolour)
    stops = _ends(event, columns["color2"], outgoing & anticolour, columns["color1"], incoming & colour)
    rule = "each colour line must have one colour end and one anticolour end among the external particles"
    for ends in (starts, stops):
        repeated = np.all(ends[1:] == ends[:-1], axis=1)
        _require_all(~repeated, ends[1:, 0], rule)
    events_with_lines = np.union1d(starts[:, 0], stops[:, 0])
    if len(starts) != len(stops) or not np.array_equal(starts, stops):
        unequal = [
            e for e in events_with_lines if not np.array_equal(starts[starts[:, 0] == e], stops[stops[:, 0] == e])
        ]
        _require_all(np.zeros(len(unequal)), np.array(unequal), rule)


def _ends(
    event: npt.NDArray[Any],
    first: npt.NDArray[Any],
    of_first: npt.NDArray[np.bool_],
    second: npt.NDArray[Any],
    of_second: npt.NDArray[np.bool_],
) -> npt.NDArray[Any]:
    """Return pairs of event and label, sorted."""
    pairs = np.concatenate(
        [
            np.stack([event[of_first], first[of_first]], axis=1),
            np.stack([event[of_second], second[of_second]], axis=1),
        ]
    )
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
