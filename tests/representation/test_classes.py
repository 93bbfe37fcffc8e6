"""Event classes and colour labels."""

import numpy as np

from mlgen.events import EventBatch
from mlgen.representation import find_classes
from mlgen.representation.classes import canonical_colors


def annihilation(colors, *, pdg_id=1, process_id=1, pz=100.0):
    """One event q q~ -> g g with the given colour labels, as columns."""
    columns = {
        "pdg_id": [pdg_id, -pdg_id, 21, 21],
        "status": [-1, -1, 1, 1],
        "mother1": [0, 0, 1, 1],
        "mother2": [0, 0, 2, 2],
        "color1": [pair[0] for pair in colors],
        "color2": [pair[1] for pair in colors],
        "px": [0, 0, 100.0, -100.0],
        "py": [0, 0, 0, 0],
        "pz": [pz, -pz, 0, 0],
        "energy": [100.0] * 4,
    }
    return EventBatch.from_columns(
        np.array([4]), {name: np.array(values) for name, values in columns.items()}, weight=1.0, process_id=process_id
    )


FLOW = [(501, 0), (0, 502), (501, 503), (503, 502)]


def classes_of(*batches):
    return find_classes(EventBatch.concatenate(batches))


def test_equal_flows_with_other_labels_are_one_class():
    classes, index = classes_of(annihilation(FLOW), annihilation([(7, 0), (0, 101), (7, 5), (5, 101)]))
    assert len(classes) == 1
    assert index.tolist() == [0, 0]
    assert classes[0].rows[:, 4:].tolist() == [[501, 0], [0, 502], [501, 503], [503, 502]]


def test_crossed_flows_are_two_classes():
    classes, index = classes_of(annihilation(FLOW), annihilation([(501, 0), (0, 502), (503, 502), (501, 503)]))
    assert len(classes) == 2
    assert index[0] != index[1]


def test_flavour_process_and_beam_order_make_a_class():
    batches = [
        annihilation(FLOW),
        annihilation(FLOW, pdg_id=2),
        annihilation(FLOW, process_id=9),
        annihilation(FLOW, pz=-100.0),
    ]
    classes, index = classes_of(*batches)
    assert len(classes) == 4
    assert sorted(index) == [0, 1, 2, 3]
    assert [classes[k].reversed_beams for k in index] == [False, False, False, True]
    assert [classes[k].process_id for k in index] == [1, 1, 9, 1]
    assert classes[index[1]].describe() == "2 -2 -> 21 21 (process 1)"


def test_events_of_other_length_are_other_classes():
    short = annihilation(FLOW)
    columns = {name: values[:3] for name, values in short.columns().items()}
    classes, index = classes_of(short, EventBatch.from_columns(np.array([3]), columns, weight=1.0, process_id=1))
    assert sorted(len(classes[k].rows) for k in index) == [3, 4]


def test_sextet_labels_keep_their_sign():
    colors = np.array([[[9, -4], [4, 0], [9, 0]]])
    assert canonical_colors(colors).tolist() == [[[501, -502], [502, 0], [501, 0]]]
