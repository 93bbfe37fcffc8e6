from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mlgen.hard_process.diagrams import (
    coupling_orders,
    cubic_diagrams,
)
from mlgen.hard_process.parameters import ModelParameters, ZPrime
from mlgen.hard_process.particles import find_particle, particle_of
from mlgen.hard_process.subprocess import Subprocess

STANDARD_MODEL = ModelParameters()
WITH_Z_PRIME = ModelParameters(z_prime=ZPrime(mass=400, width=0.5))

#: Diagrams at lowest order: with three-point vertices only, from MadGraph's output or from textbook counting.
COUNTS = [
    ("g g > t t~", 3, (2, 0)),
    ("g g > t t~ g", 15, (3, 0)),
    ("g g > t t~ g g", 105, (4, 0)),
    ("g g > g g", 3, (2, 0)),
    ("g g > g g g", 15, (3, 0)),
    ("g g > g g g g", 105, (4, 0)),
    ("u u~ > mu- mu+", 2, (0, 2)),
    ("u u~ > u u~", 2, (2, 0)),
    ("u u > u u", 2, (2, 0)),
    ("u u~ > c c~", 1, (2, 0)),
    ("u d~ > mu+ vm", 1, (0, 2)),
    # Orderings of photon or Z and gluons along the quark line, with the gluons apart (3!) or from one (2).
    ("d d~ > mu- mu+ g", 2 * 2, (1, 2)),
    ("d d~ > mu- mu+ g g", 2 * (6 + 2), (2, 2)),
    ("e- e+ > w+ w-", 3, (0, 2)),
    ("e- e+ > e- e+", 4, (0, 2)),
    ("e- e+ > mu- mu+ a", 8, (0, 3)),
    ("a a > w+ w-", 2, (0, 2)),
    ("h h > h h", 3, (0, 2)),
    ("z z > z z", 3, (0, 2)),
    ("g g > t t~ h", 8, (2, 1)),
    # Doubly resonant 3; one boson that decays into four leptons: photon 2, Z 4.
    ("u u~ > e+ ve mu- vm~", 9, (0, 4)),
]


def subprocess_of(text: str) -> Subprocess:
    incoming, outgoing = ([find_particle(name).pdg_id for name in side.split()] for side in text.split(">"))
    return Subprocess((incoming[0], incoming[1]), tuple(outgoing))


def madgraph_vertices(model: dict[str, Any]) -> dict[tuple[int, ...], int]:
    """Three-point vertices of MadGraph's ``sm`` (all outgoing, sorted) with their power of the strong coupling.

    Left out are those that its default restriction makes vanish: Yukawa couplings of what it takes as massless, and
    quark mixing.
    """
    vanishing = re.compile(r"::(yc|ye|ym|CKM(1x2|1x3|2x1|2x3|3x1|3x2))\b")
    couplings = {coupling["name"]: coupling for coupling in model["couplings"]}
    ids = {particle["name"]: particle["pdg_code"] for particle in model["particles"]}
    found: dict[tuple[int, ...], int] = {}
    for rule in model["vertex_rules"]:
        key = tuple(sorted(ids[name] for name in rule["particles"]))
        if len(key) != 3 or any(abs(pdg_id) >= 250 for pdg_id in key):
            continue
        used = [couplings[name] for row in rule["couplings"] for name in row if name]
        if not all(vanishing.search(coupling["expression"]) for coupling in used):
            found[key] = dict(used[0]["orders"]).get("QCD", 0)
    return found


Edges = tuple[tuple[int, int], ...]


def cubic_trees(legs: int) -> Iterator[Edges]:
    """Every tree with `legs` ends and inner nodes of degree three, each once: a leg more is put on each edge in turn.

    Ends are numbered from 0, inner nodes from `legs`.
    """
    trees: list[Edges] = [tuple((end, legs) for end in range(3))]
    for leg in range(3, legs):
        node = legs + leg - 2
        trees = [
            (*tree[:cut], *tree[cut + 1 :], (tree[cut][0], node), (node, tree[cut][1]), (leg, node))
            for tree in trees
            for cut in range(len(tree))
        ]
    yield from trees


def count_by_brute_force(subprocess: Subprocess, vertices: dict[tuple[int, ...], int]) -> tuple[int, int]:
    """Number of diagrams with the greatest power of the strong coupling, and that power: all trees, all particles."""
    ends = [particle_of(subprocess.incoming[0]).anti.pdg_id, particle_of(subprocess.incoming[1]).anti.pdg_id]
    ends += subprocess.outgoing
    anti = {pdg_id: particle_of(pdg_id).anti.pdg_id for triple in vertices for pdg_id in triple}
    third: dict[tuple[int, int], set[int]] = {}
    for triple in vertices:
        for first, second, last in itertools.permutations(triple):
            third.setdefault((first, second), set()).add(last)

    def flows(node: int, source: int, neighbours: dict[int, list[int]]) -> list[tuple[int, int]]:
        """Particles (outgoing) at `node` that `source` sees, with the power below, one for each way."""
        if node < len(ends):
            return [(ends[node], 0)]
        first, second = (flows(other, node, neighbours) for other in neighbours[node] if other != source)
        return [
            (anti[last], one_power + other_power + vertices[tuple(sorted((one, other, last)))])
            for one, one_power in first
            for other, other_power in second
            for last in third.get((one, other), ())
        ]

    powers = []
    for tree in cubic_trees(len(ends)):
        neighbours: dict[int, list[int]] = {}
        for one, other in tree:
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
        wanted = anti[ends[0]]
        powers += [power for pdg_id, power in flows(neighbours[0][0], 0, neighbours) if pdg_id == wanted]
    return powers.count(max(powers)), max(powers)


@pytest.mark.physics
@pytest.mark.parametrize(("text", "count", "orders"), COUNTS)
def test_known_numbers_of_diagrams(text: str, count: int, orders: tuple[int, int]) -> None:
    assert len(cubic_diagrams(subprocess_of(text), STANDARD_MODEL)) == count
    assert coupling_orders(subprocess_of(text), STANDARD_MODEL) == orders


@pytest.mark.physics
@pytest.mark.parametrize(
    "text",
    [
        *(text for text, _, _ in COUNTS),
        "u c > u c z",
        "g u > w+ d g",
        "b b~ > h h",
        "b g > t w- g",
        "t~ t > ta+ ta- h",
        "w+ w- > z a h",
        "u u~ > e- e+ mu- mu+",
        "s s~ > w+ w- a z",
    ],
)
def test_diagrams_are_those_of_madgraphs_vertices_on_all_trees(text: str, madgraph_model: dict[str, Any]) -> None:
    """Against MadGraph's own vertices, and an enumeration that shares nothing with ours."""
    subprocess = subprocess_of(text)
    count, power = count_by_brute_force(subprocess, madgraph_vertices(madgraph_model))
    assert len(set(cubic_diagrams(subprocess, STANDARD_MODEL))) == count
    assert coupling_orders(subprocess, STANDARD_MODEL) == (power, len(subprocess.pdg_ids) - 2 - power)


def test_z_prime_adds_a_diagram_wherever_a_z_joins_fermions() -> None:
    drell_yan = subprocess_of("u u~ > mu- mu+")
    bosons = [diagram.propagators[0].pdg_id for diagram in cubic_diagrams(drell_yan, WITH_Z_PRIME)]
    assert sorted(bosons) == [22, 23, 32]
    assert len(cubic_diagrams(subprocess_of("d d~ > mu- mu+ g g"), WITH_Z_PRIME)) == 24
    # It does not couple to bosons.
    assert len(cubic_diagrams(subprocess_of("e- e+ > w+ w-"), WITH_Z_PRIME)) == 3


def test_higgs_couples_to_what_has_a_mass() -> None:
    annihilation = subprocess_of("b b~ > ta- ta+")

    def bosons(parameters: ModelParameters) -> list[int]:
        return sorted(diagram.propagators[0].pdg_id for diagram in cubic_diagrams(annihilation, parameters))

    assert bosons(STANDARD_MODEL) == [22, 23, 25]
    assert bosons(STANDARD_MODEL.with_mass("b", 0)) == [22, 23]


@pytest.mark.parametrize("text", ["u c~ > mu+ mu-", "u u~ > e- mu+", "g g > h h", "e- e+ > a g"])
def test_no_diagram_where_the_model_has_none(text: str) -> None:
    assert cubic_diagrams(subprocess_of(text), STANDARD_MODEL) == ()
    assert coupling_orders(subprocess_of(text), STANDARD_MODEL) is None


@pytest.mark.parametrize("text", ["g g > t t~ g g", "u u~ > e+ ve mu- vm~", "u d~ > mu+ vm g", "e- e+ > w+ w-"])
def test_every_vertex_joins_what_it_should(text: str) -> None:
    """Seen from leg 0, each line splits into two, and charge and baryon number are conserved where it does."""
    subprocess = subprocess_of(text)
    legs = len(subprocess.pdg_ids)
    every = frozenset(range(legs))
    ends = {frozenset({leg}): pdg_id for leg, pdg_id in enumerate(subprocess.pdg_ids)}
    ends[frozenset({1})] = particle_of(subprocess.incoming[1]).anti.pdg_id
    del ends[frozenset({0})]
    for diagram in cubic_diagrams(subprocess, STANDARD_MODEL):
        assert len(diagram.propagators) == legs - 3
        # What flows along each line, away from leg 0, by the legs that it flows to.
        lines = {one.legs if one.is_s_channel else every - one.legs: one.pdg_id for one in diagram.propagators}
        lines |= {**ends, every - {0}: subprocess.incoming[0]}
        for below, pdg_id in lines.items():
            if len(below) == 1:
                continue
            inside = [other for other in lines if other < below]
            split = [one for one in inside if not any(one < other for other in inside)]
            assert len(split) == 2
            assert split[0] | split[1] == below
            assert not split[0] & split[1]
            before, after = particle_of(pdg_id), [particle_of(lines[one]) for one in split]
            assert before.charge_thirds == sum(particle.charge_thirds for particle in after)
            assert before.baryon_thirds == sum(particle.baryon_thirds for particle in after)


def test_s_and_t_channel_are_told_apart() -> None:
    diagrams = cubic_diagrams(subprocess_of("g g > t t~"), STANDARD_MODEL)
    found = {(p.pdg_id, p.legs, p.is_s_channel) for diagram in diagrams for p in diagram.propagators}
    # What flows on from leg 0 once it gave off the t is a t~.
    assert found == {
        (21, frozenset({2, 3}), True),
        (-6, frozenset({0, 2}), False),
        (6, frozenset({0, 3}), False),
    }
