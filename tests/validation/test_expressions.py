import ast
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlgen.errors import UserError
from mlgen.testing.samples import drell_yan_events
from mlgen.validation import expressions as module
from mlgen.validation.expressions import ValueType, parse_expression
from mlgen.validation.object_types import ObjectDirectory
from mlgen.validation.objects import EventObjects

BATCH, _ = drell_yan_events(200, np.random.default_rng(3))
OBJECTS = EventObjects(BATCH)
DIRECTORY = ObjectDirectory(OBJECTS.types())


def of(pdg_id):
    """Momenta of the final particles of one kind, ``(n, 4)``, NaN where there is none."""
    result = np.full((len(BATCH), 4), np.nan)
    rows = np.flatnonzero((BATCH.column("pdg_id") == pdg_id) & (BATCH.column("status") == 1))
    result[np.repeat(np.arange(len(BATCH)), BATCH.counts)[rows]] = BATCH.momenta()[rows]
    return result


MU, ANTI, GLUON = of(13), of(-13), of(21)
PT = np.hypot(MU[:, 0], MU[:, 1])
JET_PT = np.hypot(GLUON[:, 0], GLUON[:, 1])


def value(text):
    return parse_expression(text, DIRECTORY).number(OBJECTS)


def truth(text):
    return parse_expression(text, DIRECTORY).condition(OBJECTS)


def mass(p):
    return np.sqrt(p[:, 3] ** 2 - (p[:, :3] ** 2).sum(axis=1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pt('mu-')", PT),
        ("pT('mu-')", PT),
        ("m('mu-', 'mu+')", mass(MU + ANTI)),
        ("mass('mu-', 'mu+', 'j1')", mass(MU + ANTI + GLUON)),
        ("energy('mu+') - pz('mu+')", ANTI[:, 3] - ANTI[:, 2]),
        ("eta('mu-') - eta('mu+')", np.arctanh(MU[:, 2] / MU[:, 3]) - np.arctanh(ANTI[:, 2] / ANTI[:, 3])),
        ("cos(theta('mu-'))", MU[:, 2] / MU[:, 3]),
        ("phi('j')", np.arctan2(GLUON[:, 1], GLUON[:, 0])),
        ("2 ** 3 ** 2 - 10 % 4 / 2 + -1 + +3", 513.0),
        ("sqrt(px('mu-')**2 + py('mu-')**2)", PT),
        ("log10(exp(2)) / log(10)", 2 / math.log(10) ** 2),
        ("min(pt('mu-'), 20, 30) + max(1, 2) + abs(-2)", np.minimum(PT, 20.0) + 4),
        ("arctan2(py('mu-'), px('mu-')) / pi", np.arctan2(MU[:, 1], MU[:, 0]) / np.pi),
        (
            "sin(1) + tan(1) + cosh(1) + sinh(1) + tanh(1)",
            sum(map(math.sin, [1])) + math.tan(1) + math.e + math.tanh(1),
        ),
        ("where(count('j') > 0, 1, 2)", np.where(np.isnan(JET_PT), 2.0, 1.0)),
        ("(pt('mu-') > 20) + (pt('mu+') > 20)", (PT > 20) + 1.0 * (np.hypot(ANTI[:, 0], ANTI[:, 1]) > 20)),
        ("HT()", np.nan_to_num(JET_PT)),
        ("sum_pt()", PT + np.hypot(ANTI[:, 0], ANTI[:, 1]) + np.nan_to_num(JET_PT)),
        ("scale() * alpha_s() + process_id()", 91.1876 * 0.118 + 1),
        ("missing_pt()", 0.0),
        ("  pt('mu-')\n + 1", PT + 1),
        ("9**9**9**9", math.inf),
        ("9" * 400, math.inf),
        ("(-1) ** 0.5", math.nan),
        ("1 / 0", math.inf),
    ],
)
def test_values(text, expected):
    found = value(text)
    assert found.shape == (len(BATCH),)
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pt('mu-') > 20", PT > 20),
        ("20 < pt('mu-') <= 40", (PT > 20) & (PT <= 40)),
        ("not pt('mu-') > 20 or pt('j1') >= 15 and count('j') == 1", ~(PT > 20) | (JET_PT >= 15)),
        # Nothing is true of a jet that is not there.
        ("pt('j1') < 15", JET_PT < 15),
        ("pt('j1') != 15", JET_PT > 0),
        ("pt('j2') != 0", False),
        ("1 < 2", True),
    ],
)
def test_conditions(text, expected):
    assert parse_expression(text, DIRECTORY).type is ValueType.CONDITION
    found = truth(text)
    assert found.dtype == bool
    assert np.array_equal(found, np.broadcast_to(expected, len(BATCH)))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("count('j')", ValueType.WHOLE),
        ("count('j') + 2 * count('mu-') - 1", ValueType.WHOLE),
        ("max(count('j'), 3)", ValueType.WHOLE),
        ("where(count('j') > 0, 1, -process_id())", ValueType.WHOLE),
        ("(pt('j') > 20) + 1", ValueType.WHOLE),
        ("count('j') / 2", ValueType.NUMBER),
        ("count('j') + 0.5", ValueType.NUMBER),
        ("pt('mu-')", ValueType.NUMBER),
        ("pt('mu-') < 3", ValueType.CONDITION),
    ],
)
def test_kinds(text, kind):
    assert parse_expression(text, DIRECTORY).type is kind


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ptt('mu-')", "character 1: unknown function 'ptt'; did you mean 'pt'?"),
        ("1 + pt('mu')", "character 8: object 'mu' is not known; did you mean 'mu-'? there are: mu-, mu+, Z, j1, "),
        ("α + 1", "character 1: 'α' is not known"),
        ("'αβ' + pt('mu')", "character 1: the text 'αβ' is no number"),
        ("pt('mu-', 'αβ') + x", "character 11: object 'αβ'"),
        ("pt(mu)", "character 4: an object in quotes is expected"),
        ("pt()", "'pt' takes 1 to 12 objects; 0 given"),
        ("deltaR('mu-')", "'deltaR' takes 2 objects; 1 given"),
        ("HT('j')", "'HT' takes no arguments; 1 given"),
        ("HT + 1", "'HT' is a function; write HT()"),
        ("count('all')", "is no type that can be counted"),
        ("sqrt(1, 2)", "'sqrt' takes 1 number; 2 given"),
        ("pt('mu-') and 1 < 2", "a number stands beside 'and'; a condition such as pt('j1') > 20 is expected"),
        ("not 1", "a whole number stands after 'not'"),
        ("where(1, 2, 3)", "as the first argument of where"),
        ("pt('mu-') > 1 & pt('mu+') > 1", "write 'and' instead of '&'"),
        ("~(1 < 2)", "write 'not' instead of '~'"),
        ("1 if 1 < 2 else 3", "write where(condition, a, b)"),
        ("pt('mu-'", "character 3: it cannot be read: '(' was never closed"),
        ("1 +", "it cannot be read: invalid syntax"),
        ("  ", "it is empty"),
        ("pt('mu-').real", "a number, a function, a comparison or arithmetic is expected"),
        ("[1][0]", "a number, a function"),
        ("(lambda: 1)()", "a function's name is expected before"),
        ("__import__('os')", "unknown function '__import__'"),
        ("min(*[1, 2], 3)", "a number, a function"),
        ("pt(**{})", "takes no named arguments"),
        ("1j", "1j is no number"),
        ("True", "True is no number"),
        ("1 in 2", "one of < <= > >= == != is expected"),
        ("(" * 60 + "1" + ")" * 60 + "+" + "-" * 100 + "1", "it is too long"),
        ("1" + "+1" * 400, "it is too long"),
        ("1" * 1001, "it has 1001 characters; at most 1000"),
        ("(" * 500 + ")" * 500, "it cannot be read"),
        ("1\x002", "it cannot be read"),
    ],
)
def test_errors_say_where_and_what(text, problem):
    with pytest.raises(UserError) as caught:
        parse_expression(text, DIRECTORY, "observable 'x'")
    assert str(caught.value).startswith("observable 'x' ")
    assert problem in str(caught.value)


def test_jets_need_fastjet():
    directory = ObjectDirectory([k for k in DIRECTORY.types if k.name != "j"], jets_missing=True)
    for text in ("pt('j1')", "count('j')", "HT()"):
        with pytest.raises(UserError, match=r"pip install 'mlgen-hep\[jets\]'"):
            parse_expression(text, directory)


def test_every_node_of_python_is_either_translated_or_refused():
    for text in ("x := 1", "(x := 1)", "await x", "(yield)", "f'{1}'", "{1: 2}", "{1}", "[x for x in y]", "x[1]", "...",
                 "b'1'", "None", "1 @ 2", "1 // 2", "1 << 2", "1 ^ 2", "x is y", "pt.x('j')", "lambda: 0"):  # fmt: skip
        with pytest.raises(UserError):
            parse_expression(text, DIRECTORY)


PIECES = [
    *("pt", "m", "deltaR", "count", "HT", "where", "min", "sqrt", "pi", "(", ")", ",", "'mu-'", "'j1'", "'j 2'", "1"),
    *("2.5", "9", "1e999", "+", "-", "*", "/", "**", "%", "<", "<=", "==", "!=", " and ", " or ", "not ", " if ", "'"),
    *('"', "\\", "[", "]", "lambda", ":=", "0x", "_", "\n", "\0", "é", "#", "1_0", "{", "}", ";", "=", "@"),
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map("".join)))
def test_whatever_is_typed_gives_numbers_or_a_message(text):
    try:
        expression = parse_expression(text, DIRECTORY)
    except UserError:
        return
    assert expression.number(OBJECTS).shape == (len(BATCH),)


def numbers():
    leaves = st.sampled_from(["1", "2.5", "9", "pi", "pt('mu-')", "pt('j1')", "count('j')", "m('mu-', 'mu+')", "HT()"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(
                lambda t: f"({t[0]} {t[1]} {t[2]})"
            ),
            st.tuples(st.sampled_from(["sqrt", "exp", "log", "abs", "sinh"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
            st.tuples(inner, inner, inner).map(lambda t: f"where({t[0]} < {t[1]}, {t[2]}, {t[0]})"),
        ),
        max_leaves=12,
    )


# The same examples each time: with numbers that cancel, some others would differ by rounding alone.
@settings(max_examples=150, deadline=None, derandomize=True)
@given(numbers())
def test_arithmetic_agrees_with_numpy_event_by_event(text):
    """Against the same text, run by Python itself on NumPy numbers for one event at a time."""
    found = value(text)
    names = {"pi": np.float64(np.pi), "where": lambda c, a, b: a if c else b}
    names |= {name: getattr(np, name) for name in ("sqrt", "exp", "log", "abs", "sinh")}
    for event in range(3):
        here = {
            "pt('mu-')": PT[event],
            "pt('j1')": JET_PT[event],
            "count('j')": float(JET_PT[event] > 0),
            "m('mu-', 'mu+')": mass(MU + ANTI)[event],
            "HT()": np.nan_to_num(JET_PT[event]),
        }
        with np.errstate(all="ignore"):
            assert np.allclose(found[event], computed(text, here, names), rtol=1e-6, atol=1e-9, equal_nan=True)


def computed(text, here, names):
    """Walk the text's tree with NumPy scalars."""
    operations = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Mod: np.mod,
                  ast.Pow: np.power}  # fmt: skip

    def walk(node):
        source = ast.unparse(node)
        if source in here:
            return np.float64(here[source])
        if isinstance(node, ast.Constant):
            return np.float64(node.value)
        if isinstance(node, ast.Name):
            return names[node.id]
        if isinstance(node, ast.BinOp):
            return operations[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.Compare):
            return walk(node.left) < walk(node.comparators[0])
        return names[node.func.id](*(walk(argument) for argument in node.args))

    return walk(ast.parse(text, mode="eval").body)


def test_the_docstring_names_every_function():
    for name in module._FUNCTIONS:
        assert re.search(rf"\b{name}\b", parse_expression.__doc__), name
