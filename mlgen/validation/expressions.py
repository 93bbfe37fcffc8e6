"""The language in which users write observables and selections: ``m('mu-', 'mu+')``, ``pt('j1') > 30 and HT() < 500``.

It looks like Python and is read by Python's own parser, but nothing is ever executed: the few kinds of nodes that
are allowed are translated to NumPy operations on whole batches, and everything else is refused.
"""

from __future__ import annotations

import ast
import enum
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mlgen.errors import UserError, nearest
from mlgen.events import FloatArray
from mlgen.validation.jets import INSTALL_ADVICE
from mlgen.validation.object_quantities import (
    COUNTED_SPECIES,
    EVENT_QUANTITIES,
    OBJECT_QUANTITIES,
    PAIR_QUANTITIES,
)
from mlgen.validation.object_types import ObjectDirectory, ObjectRef, ObjectType
from mlgen.validation.objects import EventObjects
from mlgen.validation.particle_properties import BoolArray

#: Limits that no honest expression reaches.
MAX_LENGTH, MAX_NODES, MAX_DEPTH, MAX_OBJECTS = 1000, 300, 40, 12


class ValueType(enum.Enum):
    """What an expression gives for each event."""

    CONDITION = "a condition"
    WHOLE = "a whole number"
    NUMBER = "a number"


class Node(Protocol):
    """A part of an expression."""

    @property
    def type(self) -> ValueType:
        """What it gives."""
        ...

    def __call__(self, objects: EventObjects) -> Any:
        """Compute it for a batch: an array of shape ``(n,)``, or one number for all events."""
        ...


@dataclass(frozen=True, slots=True)
class _Constant:
    value: float
    type: ValueType

    def __call__(self, objects: EventObjects) -> Any:
        # NumPy's own numbers overflow to infinity where Python's grow without end or raise.
        return np.float64(self.value)


@dataclass(frozen=True, slots=True)
class _Quantity:
    name: str
    objects: tuple[ObjectRef, ...]
    type: ValueType = ValueType.NUMBER

    def __call__(self, objects: EventObjects) -> Any:
        return objects.quantity(self.name, self.objects)


@dataclass(frozen=True, slots=True)
class _Count:
    counted: ObjectType | str
    type: ValueType = ValueType.WHOLE

    def __call__(self, objects: EventObjects) -> Any:
        return objects.final_count(self.counted) if isinstance(self.counted, str) else objects.count(self.counted)


@dataclass(frozen=True, slots=True)
class _Operation:
    function: Callable[..., Any]
    arguments: tuple[Node, ...]
    type: ValueType

    def __call__(self, objects: EventObjects) -> Any:
        return self.function(*(argument(objects) for argument in self.arguments))


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that has been read and found to be good.

    Args:
        text: As the user wrote it.
        root: What it means.
    """

    text: str
    root: Node

    @property
    def type(self) -> ValueType:
        """What it gives for each event."""
        return self.root.type

    def number(self, objects: EventObjects) -> FloatArray:
        """Return its value for each event, shape ``(n,)``; NaN where an object is absent; a condition gives 0 or 1.

        The array may be one that `objects` keeps: it must not be written to.
        """
        with np.errstate(all="ignore"):
            return _per_event(self.root(objects), len(objects), np.float64)

    def condition(self, objects: EventObjects) -> BoolArray:
        """Return whether it is true of each event, shape ``(n,)``; a comparison with an absent object is false."""
        with np.errstate(all="ignore"):
            return _per_event(self.root(objects), len(objects), np.bool_)


def _per_event(values: Any, events: int, dtype: Any) -> npt.NDArray[Any]:
    result = np.asarray(values, dtype)
    return result if result.shape == (events,) else np.full(events, result)


def parse_expression(text: str, directory: ObjectDirectory, what: str = "expression") -> Expression:
    """Read an expression.

    Numbers, ``+ - * / % **``, comparisons (also ``20 < pt('j1') < 50``), ``and``, ``or``, ``not``, parentheses, the
    constant ``pi`` and these functions:

    - of one or more objects, whose momenta are summed: ``pt eta y phi mass (or m) energy px py pz theta``;
    - of two objects: ``deltaR deltaphi deltaeta mt`` (the transverse mass of two massless particles), and
      ``costheta_cs phi_cs``, the angles of the first in the Collins-Soper frame of the two;
    - ``count('j')``: number of objects of a type;
    - of the event: ``HT() sum_pt() sum_et() sum_pt_charged() missing_pt() missing_phi() scale() alpha_s()
      process_id()``;
    - of numbers: ``sqrt exp log log10 abs min max sin cos tan arctan2 cosh sinh tanh where``.

    An object is written as a string: ``'mu-'`` is the leading one of its type, ``'mu-2'`` the next, ``'j1'`` the
    leading jet, ``'l'`` an electron or muon, ``'all'`` the sum of all final particles, ``'missing'`` the transverse
    momentum of the invisible ones.

    Args:
        text: The expression.
        directory: The objects that there are.
        what: What the expression is for, for messages.

    Raises:
        UserError: It cannot be read. Says where, and what was expected.
    """
    return Expression(text, _Reader(text, directory, what).read())


_NUMBERS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "sqrt": (np.sqrt, 1, 1),
    "exp": (np.exp, 1, 1),
    "log": (np.log, 1, 1),
    "log10": (np.log10, 1, 1),
    "abs": (np.abs, 1, 1),
    "min": (np.minimum, 2, 20),
    "max": (np.maximum, 2, 20),
    "sin": (np.sin, 1, 1),
    "cos": (np.cos, 1, 1),
    "tan": (np.tan, 1, 1),
    "arctan2": (np.arctan2, 2, 2),
    "cosh": (np.cosh, 1, 1),
    "sinh": (np.sinh, 1, 1),
    "tanh": (np.tanh, 1, 1),
}
_KEEP_WHOLE = {"abs", "min", "max"}
_FUNCTIONS = sorted({*_NUMBERS, *OBJECT_QUANTITIES, *PAIR_QUANTITIES, *EVENT_QUANTITIES, "count", "where"})
_FOLDED = {name.lower(): name for name in _FUNCTIONS} | {
    "m": "mass", "e": "energy", "rapidity": "y", "delta_r": "deltaR", "delta_phi": "deltaphi", "dr": "deltaR",
    "dphi": "deltaphi", "delta_eta": "deltaeta", "met": "missing_pt", "n": "count",
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
}
_ADVICE: dict[type[ast.AST], str] = {
    ast.BitAnd: "write 'and' instead of '&'",
    ast.BitOr: "write 'or' instead of '|'",
    ast.Invert: "write 'not' instead of '~'",
    ast.BitXor: "write '**' for a power",
    ast.FloorDiv: "write '/' for a division",
    ast.IfExp: "write where(condition, a, b)",
    ast.NamedExpr: "write '==' to compare",
}


def _differ(first: Any, second: Any) -> Any:
    # Of an absent object nothing is true, not even that it differs.
    return (first < second) | (first > second)


_COMPARISONS: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: _differ,
}


class _Reader:
    """Translates one expression."""

    def __init__(self, text: str, directory: ObjectDirectory, what: str) -> None:
        self._text, self._directory, self._what = text, directory, what
        # Cards may break a long expression over several lines.
        self._line = "".join(" " if c in "\r\n\t" else c for c in text)
        self._shown = "".join(c if c.isprintable() else "?" for c in self._line)
        self._skipped = len(self._line) - len(self._line.lstrip(" "))
        self._nodes = 0

    def read(self) -> Node:
        source = self._line.strip(" ")
        if not source:
            raise self._error(None, "it is empty; something like pt('j1') is expected")
        if len(source) > MAX_LENGTH:
            shown = self._shown.strip()[:60] + " ..."
            raise UserError(
                f"{self._what} '{shown}': it has {len(source)} characters; at most {MAX_LENGTH} are allowed"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source, mode="eval")
        except SyntaxError as error:
            column = self._skipped + min(error.offset or 1, len(source))
            raise self._error_at(column, f"it cannot be read: {_lower(error.msg)}") from error
        except (ValueError, MemoryError, RecursionError) as error:
            raise self._error(None, f"it cannot be read: {_lower(str(error)) or 'it is nested too deeply'}") from error
        return self._node(tree.body, 1)

    def _error(self, node: ast.expr | None, problem: str) -> UserError:
        if node is None:
            return UserError(f'{self._what} "{self._shown}": {problem}')
        source = self._line.strip(" ").encode()
        # Python counts bytes; a user counts characters.
        column = self._skipped + len(source[: node.col_offset].decode(errors="replace")) + 1
        return self._error_at(column, problem)

    def _error_at(self, column: int, problem: str) -> UserError:
        return UserError(f'{self._what} "{self._shown}", character {column}: {problem}')

    def _node(self, node: ast.expr, depth: int) -> Node:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise self._error(node, f"it is too long; {MAX_NODES} parts and {MAX_DEPTH} levels are allowed")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp():
                return self._unary(node, depth)
            case ast.BinOp():
                return self._binary(node, depth)
            case ast.BoolOp():
                return self._boolean(node, depth)
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Call():
                return self._call(node, depth)
        advice = _ADVICE.get(type(node))
        raise self._error(node, advice or "a number, a function, a comparison or arithmetic is expected here")

    def _number(self, node: ast.expr, depth: int) -> Node:
        found = self._node(node, depth)
        if found.type is ValueType.CONDITION:
            # A condition counts as 0 or 1, so that conditions can be added up.
            return _Operation(_as_number, (found,), ValueType.WHOLE)
        return found

    def _condition(self, node: ast.expr, depth: int, where: str) -> Node:
        found = self._node(node, depth)
        if found.type is not ValueType.CONDITION:
            raise self._error(node, f"{found.type.value} stands {where}; a condition such as pt('j1') > 20 is expected")
        return found

    def _constant(self, node: ast.Constant) -> Node:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            what = f"the text '{value}'" if isinstance(value, str) else f"{value!r}"
            hint = "; an object stands in a function, as in pt('mu-')" if isinstance(value, str) else ""
            raise self._error(node, f"{what} is no number{hint}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        whole = isinstance(value, int) and abs(number) < 2**53
        return _Constant(number, ValueType.WHOLE if whole else ValueType.NUMBER)

    def _name(self, node: ast.Name) -> Node:
        if node.id == "pi":
            return _Constant(math.pi, ValueType.NUMBER)
        if node.id.lower() in _FOLDED:
            name = _FOLDED[node.id.lower()]
            arguments = "()" if name in EVENT_QUANTITIES else "(...)"
            raise self._error(node, f"'{node.id}' is a function; write {node.id}{arguments}")
        hint = nearest(node.id, ["pi", *_FUNCTIONS])
        raise self._error(
            node, f"'{node.id}' is not known{hint or '; an object is written in quotes, as in pt(' + repr('j1') + ')'}"
        )

    def _unary(self, node: ast.UnaryOp, depth: int) -> Node:
        match node.op:
            case ast.Not():
                return _Operation(np.logical_not, (self._condition(node.operand, depth + 1, "after 'not'"),),
                                  ValueType.CONDITION)  # fmt: skip
            case ast.USub():
                operand = self._number(node.operand, depth + 1)
                return _Operation(np.negative, (operand,), operand.type)
            case ast.UAdd():
                return self._number(node.operand, depth + 1)
        raise self._error(node, _ADVICE[type(node.op)])

    def _binary(self, node: ast.BinOp, depth: int) -> Node:
        function = _ARITHMETIC.get(type(node.op))
        if function is None:
            raise self._error(node, _ADVICE.get(type(node.op), "one of + - * / % ** is expected"))
        operands = (self._number(node.left, depth + 1), self._number(node.right, depth + 1))
        whole = isinstance(node.op, ast.Add | ast.Sub | ast.Mult) and all(o.type is ValueType.WHOLE for o in operands)
        return _Operation(function, operands, ValueType.WHOLE if whole else ValueType.NUMBER)

    def _boolean(self, node: ast.BoolOp, depth: int) -> Node:
        word = "and" if isinstance(node.op, ast.And) else "or"
        function = np.logical_and if word == "and" else np.logical_or
        result, *others = (self._condition(value, depth + 1, f"beside '{word}'") for value in node.values)
        for other in others:
            result = _Operation(function, (result, other), ValueType.CONDITION)
        return result

    def _comparison(self, node: ast.Compare, depth: int) -> Node:
        operands = [self._number(operand, depth + 1) for operand in (node.left, *node.comparators)]
        result: Node | None = None
        for operator, left, right in zip(node.ops, operands[:-1], operands[1:], strict=True):
            function = _COMPARISONS.get(type(operator))
            if function is None:
                raise self._error(node, "one of < <= > >= == != is expected")
            link = _Operation(function, (left, right), ValueType.CONDITION)
            result = _Operation(np.logical_and, (result, link), ValueType.CONDITION) if result else link
        if result is None:
            raise self._error(node, "a comparison needs two sides")
        return result

    def _call(self, node: ast.Call, depth: int) -> Node:
        if not isinstance(node.func, ast.Name):
            raise self._error(node, "a function's name is expected before '('")
        if node.keywords:
            raise self._error(node, f"'{node.func.id}' takes no named arguments")
        name = _FOLDED.get(node.func.id.lower())
        if name is None:
            hint = nearest(node.func.id, _FUNCTIONS)
            raise self._error(
                node, f"unknown function '{node.func.id}'{hint or '; there are: ' + ', '.join(_FUNCTIONS)}"
            )
        if name in OBJECT_QUANTITIES:
            return _Quantity(name, self._objects(node, 1, MAX_OBJECTS))
        if name in PAIR_QUANTITIES:
            return _Quantity(name, self._objects(node, 2, 2))
        if name in EVENT_QUANTITIES:
            self._arity(node, 0, 0, "argument")
            if name == "HT" and self._directory.jets_missing:
                raise self._error(node, f"HT is the sum over jets; {INSTALL_ADVICE}")
            return _Quantity(name, (), ValueType.WHOLE if name == "process_id" else ValueType.NUMBER)
        if name == "count":
            return self._count(node)
        if name == "where":
            self._arity(node, 3, 3, "argument")
            condition = self._condition(node.args[0], depth + 1, "as the first argument of where")
            values = tuple(self._number(argument, depth + 1) for argument in node.args[1:])
            return _Operation(np.where, (condition, *values), _joined(values))
        function, least, most = _NUMBERS[name]
        self._arity(node, least, most, "number")
        arguments = tuple(self._number(argument, depth + 1) for argument in node.args)
        kind = _joined(arguments) if name in _KEEP_WHOLE else ValueType.NUMBER
        if most <= 2:
            return _Operation(function, arguments, kind)
        result = arguments[0]
        for argument in arguments[1:]:
            result = _Operation(function, (result, argument), kind)
        return result

    def _arity(self, node: ast.Call, least: int, most: int, what: str) -> None:
        given = len(node.args)
        if not least <= given <= most:
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            expected = f"{least}" if least == most else f"{least} to {most}"
            what += "s" if most != 1 else ""
            raise self._error(node, f"'{name}' takes {expected if most else 'no'} {what}; {given} given")

    def _strings(self, node: ast.Call) -> list[tuple[ast.expr, str]]:
        found: list[tuple[ast.expr, str]] = []
        for argument in node.args:
            if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                raise self._error(argument, "an object in quotes is expected, for instance 'mu-'")
            found.append((argument, argument.value))
        self._nodes += len(found)
        return found

    def _objects(self, node: ast.Call, least: int, most: int) -> tuple[ObjectRef, ...]:
        self._arity(node, least, most, "object")
        result = []
        for argument, name in self._strings(node):
            try:
                result.append(self._directory.object(name))
            except UserError as error:
                raise self._error(argument, str(error)) from error
        return tuple(result)

    def _count(self, node: ast.Call) -> Node:
        self._arity(node, 1, 1, "type of objects")
        ((argument, name),) = self._strings(node)
        if name in COUNTED_SPECIES:
            return _Count(name)
        try:
            found = self._directory.type(name)
        except UserError as error:
            raise self._error(argument, str(error)) from error
        if not found.ids:
            raise self._error(argument, f"'{found.name}' is no type that can be counted")
        return _Count(found)


def _as_number(values: Any) -> Any:
    return np.asarray(values, np.float64)


def _joined(nodes: tuple[Node, ...]) -> ValueType:
    return ValueType.WHOLE if all(node.type is ValueType.WHOLE for node in nodes) else ValueType.NUMBER


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
