"""A sample that has everything that an event file can have, to see what a format keeps of it."""

from __future__ import annotations

import numpy as np

from mlgen.events import EventBatch
from mlgen.run_info import Beam, Process, RunInfo, Variation

_THIRD = 1 / 3
_PROVENANCE = ({"program": "mlgen", "version": "0.1.0", "seed": 1, "stages": []},)


def hard_run_info() -> RunInfo:
    """What is true of `hard_events`."""
    return RunInfo(
        beams=(Beam(2212, 6500.0, 0, 247000), Beam(2212, 6500.0, 0, 247000)),
        weight_strategy=-4,
        processes=(Process(1, 12.5 + _THIRD, 0.1 + _THIRD / 10, 20.0 + _THIRD), Process(2, 3.0 + _THIRD, 0.05, 7.5)),
        variations=(
            Variation("muR=2", "scale up", {"MUR": "2.0"}, 0),
            Variation("muR=0.5", "scale down", {"MUR": "0.5"}, 0),
        ),
        variation_groups=({"name": "scales", "combine": "envelope"},),
        header="<MGVersion>\n3.5.0\n</MGVersion>\n",
        init_text="<generator name='probe' version='1.0'>a probe</generator>\n",
        generator="probe 1.0",
        lhe_version="3.0",
        lhe_attributes={"origin": "probe"},
        provenance=_PROVENANCE,
    )


def hard_events() -> EventBatch:
    """Two events q q~ > Z g, Z > mu- mu+, with numbers that need all their digits."""
    rng = np.random.default_rng(20_010)
    pdg_ids, status = [2, -2, 23, 21, 13, -13], [-1, -1, 2, 1, 1, 1]
    mothers = [(0, 0), (0, 0), (1, 2), (1, 2), (3, 3), (3, 3)]
    colors = [(501, 0), (0, 502), (0, 0), (501, 502), (0, 0), (0, 0)]
    rows = []
    for _ in range(2):
        decay = rng.normal(size=(2, 3)) * 40
        jet = -decay.sum(axis=0) + [0, 0, 30.0]
        muons = np.column_stack([decay, np.sqrt((decay**2).sum(axis=1) + 0.105658**2)])
        z, gluon = muons.sum(axis=0), np.append(jet, np.sqrt((jet**2).sum()))
        energy, pz = z[3] + gluon[3], z[2] + gluon[2]
        first, second = (energy + pz) / 2, (energy - pz) / 2
        rows += [[0, 0, first, first], [0, 0, -second, second], z, gluon, *muons]
    momenta = np.array(rows)
    mass = np.sqrt(np.maximum(momenta[:, 3] ** 2 - (momenta[:, :3] ** 2).sum(axis=1), 0))
    mass[[0, 1, 3, 6, 7, 9]] = 0
    return EventBatch.from_columns(
        np.array([6, 6]),
        {
            "pdg_id": np.array(pdg_ids * 2),
            "status": np.array(status * 2),
            "mother1": np.array([first for first, _ in mothers] * 2),
            "mother2": np.array([second for _, second in mothers] * 2),
            "color1": np.array([first for first, _ in colors] * 2),
            "color2": np.array([second for _, second in colors] * 2),
            **{name: momenta[:, column] for column, name in enumerate(("px", "py", "pz", "energy"))},
            "generated_mass": mass,
            "lifetime": np.where(np.array(pdg_ids * 2) == 23, _THIRD * 1e-3, 0.0),
            "spin": np.array([1.0, -1.0, 9.0, 1.0, -1.0, 1.0] * 2),
        },
        weight=np.array([12.0 + _THIRD, -3.0 - _THIRD]),
        process_id=np.array([1, 2]),
        scale=91.0 + _THIRD,
        alpha_qed=np.array([0.0078 + _THIRD / 1e4, 0.0077]),
        alpha_qcd=np.array([0.118 + _THIRD / 1e4, 0.117]),
        variations={"muR=2": np.array([11.0 + _THIRD, -2.0]), "muR=0.5": np.array([13.0, -4.0 - _THIRD])},
        comments=np.array(["# a comment of the program\n", ""], object),
        tag_attributes=np.array([' npLO="1" npNLO="0"', ' npLO="2" npNLO="0"'], object),
    )


def shower_run_info() -> RunInfo:
    """What is true of `showered_events`."""
    return RunInfo(
        beams=(Beam(2212, 6500.0), Beam(2212, 6500.0)),
        weight_strategy=-4,
        processes=(Process(1, 12.5 + _THIRD, 0.1 + _THIRD / 10, 20.0 + _THIRD),),
        variations=(Variation("muR=2"), Variation("muR=0.5")),
        header="<MGVersion>\n3.5.0\n</MGVersion>\n",
        generator="probe 1.0",
        provenance=_PROVENANCE,
    )


def showered_events() -> EventBatch:
    """One event: two protons, a Z and a neutral B meson from them, which decay away from the beams."""
    beam, proton = 6500.0, 0.938272
    z = np.array([30.0 + _THIRD, 10.0, 200.0, 0.0])
    meson = np.array([-30.0 - _THIRD, -10.0, 50.0, 0.0])
    z[3], meson[3] = np.sqrt((z[:3] ** 2).sum() + 91.1876**2), np.sqrt((meson[:3] ** 2).sum() + 5.27966**2)
    pz = np.sqrt(beam**2 - proton**2)
    momenta = np.array([[0, 0, pz, beam], [0, 0, -pz, beam], z, meson, z / 2, z / 2, meson / 3, meson * 2 / 3])
    return EventBatch.from_columns(
        np.array([8]),
        {
            "pdg_id": np.array([2212, 2212, 23, 511, 13, -13, 22, 310]),
            "status": np.array([4, 4, 62, 2, 1, 1, 1, 1]),
            **{name: momenta[:, column] for column, name in enumerate(("px", "py", "pz", "energy"))},
            "generated_mass": np.array([proton, proton, 91.1876, 5.27966, 0.105658, 0.105658, 0.0, 0.497611]),
            "color1": np.array([0, 0, 0, 101, 0, 0, 0, 0]),
            "lifetime": np.array([0, 0, 0, 0.45 + _THIRD, 0, 0, 0, 0]),
            "spin": np.array([9.0, 9.0, 1.0, 9.0, -1.0, 1.0, 9.0, 9.0]),
            "production_vertex": np.array([-1, -1, 0, 0, 1, 1, 2, 2]),
            "end_vertex": np.array([0, 0, 1, 2, -1, -1, -1, -1]),
        },
        weight=np.array([12.0 + _THIRD]),
        process_id=np.array([1]),
        scale=91.0 + _THIRD,
        alpha_qed=0.0078 + _THIRD / 1e4,
        alpha_qcd=0.118 + _THIRD / 1e4,
        variations={"muR=2": np.array([11.0 + _THIRD]), "muR=0.5": np.array([13.0])},
        vertex_counts=np.array([3]),
        vertex_columns={
            "x": np.array([0.01, 0.01, 0.5 + _THIRD]),
            "y": np.array([0.0, 0.0, 0.25]),
            "z": np.array([12.0 + _THIRD, 12.0 + _THIRD, 14.0]),
            "t": np.array([1.0, 1.0, 3.0 + _THIRD]),
            "status": np.array([0.0, 0.0, 0.0]),
        },
        attributes=np.array([{"probe_note": "a note"}], object),
    )
