"""Expressions over params, such as `layers * width <= 4096`. They are interpreted, and never run as code."""

from __future__ import annotations

import ast
import difflib
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from smsweep.errors import SpaceError
from smsweep.space.choices import CHOICES, Constant
from smsweep.space.distribution import Distribution, identity, is_number

MAX_TEXT = 500  # characters of an expression
MAX_DEPTH = 40  # nested operations
MAX_LISTED = 64  # values that a span lists; of more values, it has only the bounds
PARAMS = "params"  # params["weight-decay"] names a parameter that is not a Python name
FORMS = "use parameters, numbers, texts, + - * / // % **, comparisons, in [...], and, or, not, min, max and abs"
LITERALS: Mapping[str, Any] = {"true": True, "false": False, "null": None}  # as in YAML

Values: TypeAlias = Mapping[str, Any]  # value of each parameter, by its dotted name


@dataclass(frozen=True, slots=True)
class Span:
    """A set that contains all values of a term: numbers between two bounds, and possibly other values."""

    low: float  # larger than `high` if no value is a number
    high: float
    has_others: bool = False  # the term can be a text or another value, or undefined
    listed: tuple[Any, ...] | None = None  # all values, if they are known and few

    @property
    def has_numbers(self) -> bool:
        return self.low <= self.high


ANYTHING = Span(-math.inf, math.inf, has_others=True)
Spans: TypeAlias = Mapping[str, Span]


def span_of(values: Sequence[Any]) -> Span:
    """Return the smallest span of the values."""
    numbers = [value for value in values if is_number(value)]
    return Span(
        min(numbers, default=math.inf),
        max(numbers, default=-math.inf),
        has_others=len(numbers) < len(values),
        listed=tuple(values) if len(values) <= MAX_LISTED else None,
    )


def interval(low: float, high: float, *, has_others: bool = False) -> Span:
    """Return the span of the numbers between two bounds; ANYTHING if a bound is NaN."""
    if math.isnan(low) or math.isnan(high):
        return ANYTHING
    return Span(low, high, has_others, (low,) if low == high and not has_others else None)


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of an expression that has a value."""

    value: Callable[[Values], Any]
    span: Callable[[Spans], Span]
    is_number: bool = True  # a value can be a number
    is_truth: bool = False  # a value can be true or false
    choices: tuple[Any, ...] | None = None  # all values of a listed parameter
    name: str = ""  # of a parameter
    literal: tuple[Any, ...] = ()  # the value of a literal


@dataclass(frozen=True, slots=True)
class _Test:
    """A part of an expression that is true or false."""

    holds: Callable[[Values], bool]
    verdict: Callable[[Spans], bool | None]  # None if both are possible


@dataclass(frozen=True, slots=True)
class Expression:
    """A condition on params.

    A division by zero, and arithmetic or an ordering with a value that is not a number, have no result.
    A comparison with no result is false. Equality is W&B's: 1 equals 1.0, but not true or "1".

    Attributes:
        text: The expression as the user wrote it.
        names: The dotted names of its parameters.
        holds: Return True if the expression is true for the values of its parameters.
        verdict: Return True if the expression is true for all values of the spans, False if it is false for all of
            them, and None if neither is certain.
    """

    text: str
    names: tuple[str, ...]
    holds: Callable[[Values], bool]
    verdict: Callable[[Spans], bool | None]


def parse_expression(text: str, leaves: Mapping[str, Distribution] | None = None) -> Expression:
    """Parse a constraint.

    Args:
        text: A Python expression with the operators of FORMS.
        leaves: The parameters by their dotted names. None checks only the syntax.

    Raises:
        SpaceError: The text is not a valid expression, or does not fit the parameters.
    """
    shown = repr(text if len(text) <= MAX_TEXT else f"{text[:60]}...")
    if len(text) > MAX_TEXT:
        raise SpaceError(f"{shown} is longer than {MAX_TEXT} characters; write several constraints")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's hints about literals
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        problem = getattr(err, "msg", None) or str(err)
        raise SpaceError(f"{shown} is not a valid expression ({problem}); {FORMS}") from err
    compiler = _Compiler(leaves)
    try:
        test = compiler.test(tree.body)
    except SpaceError as err:
        raise SpaceError(f"{shown}: {err}") from err
    if not compiler.names:
        raise SpaceError(f"{shown} names no parameter; name at least one")
    return Expression(text, tuple(sorted(compiler.names)), test.holds, test.verdict)


class _Compiler:
    """Converts a syntax tree to tests and terms, and checks it."""

    def __init__(self, leaves: Mapping[str, Distribution] | None) -> None:
        self._leaves = leaves
        self._depth = 0
        self.names: set[str] = set()

    def test(self, node: ast.expr) -> _Test:
        """Return a part that must be true or false. Raises SpaceError."""
        self._enter()
        try:
            return self._test(node)
        finally:
            self._depth -= 1

    def term(self, node: ast.expr) -> _Term:
        """Return a part that must have a value. Raises SpaceError."""
        self._enter()
        try:
            return self._term(node)
        finally:
            self._depth -= 1

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SpaceError(f"more than {MAX_DEPTH} nested operations; write several constraints")

    def _test(self, node: ast.expr) -> _Test:
        if isinstance(node, ast.BoolOp):
            parts = [self.test(value) for value in node.values]
            return _all(parts) if isinstance(node.op, ast.And) else _negated(_all([_negated(p) for p in parts]))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _negated(self.test(node.operand))
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        term = self.term(node)
        if not term.is_truth:
            raise SpaceError(f"{ast.unparse(node)} is not true or false; compare it with a value")
        return _Test(
            lambda values: term.value(values) is True,
            lambda spans: _equality(term.span(spans), span_of((True,))),
        )

    def _comparison(self, node: ast.Compare) -> _Test:
        tests = []
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            tests.append(self._pair(op, left, right))
            left = right
        return tests[0] if len(tests) == 1 else _all(tests)

    def _pair(self, op: ast.cmpop, left: ast.expr, right: ast.expr) -> _Test:
        if isinstance(op, (ast.In, ast.NotIn)):
            found = self._membership(left, right)
            return _negated(found) if isinstance(op, ast.NotIn) else found
        a, b = self.term(left), self.term(right)
        if isinstance(op, (ast.Eq, ast.NotEq)):
            _check_choice(a, b)
            _check_choice(b, a)
            same = _equal(a, b)
            return _negated(same) if isinstance(op, ast.NotEq) else same
        for part, term in ((left, a), (right, b)):
            if not term.is_number:
                raise SpaceError(f"{ast.unparse(part)} is not a number; compare it with == or in")
        if isinstance(op, (ast.Gt, ast.GtE)):
            a, b = b, a
        if isinstance(op, (ast.Lt, ast.Gt)):
            return _ordered(a, b, operator.lt, operator.ge)
        if isinstance(op, (ast.LtE, ast.GtE)):
            return _ordered(a, b, operator.le, operator.gt)
        raise SpaceError(f"the operator of {ast.unparse(ast.Compare(left, [op], [right]))} is not known; use ==")

    def _membership(self, left: ast.expr, right: ast.expr) -> _Test:
        if not isinstance(right, (ast.List, ast.Tuple, ast.Set)):
            raise SpaceError(f"{ast.unparse(right)} is not a list; write {ast.unparse(left)} in [a, b]")
        a = self.term(left)
        items = [self.term(item) for item in right.elts]
        for item in items:
            _check_choice(a, item)
        return _negated(_all([_negated(_equal(a, item)) for item in items]))

    def _term(self, node: ast.expr) -> _Term:
        if isinstance(node, ast.Constant):
            return self._literal(node)
        if (name := _name(node)) is not None:
            return self._parameter(name)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            return (
                _negative(self._number(node.operand)) if isinstance(node.op, ast.USub) else self.term(node.operand)
            )
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            exact, ranged = _ARITHMETIC[type(node.op)]
            return _applied(exact, ranged, [self._number(node.left), self._number(node.right)])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            return self._call(node, node.func.id)
        raise SpaceError(f"{ast.unparse(node)} is not allowed; {FORMS}")

    def _call(self, node: ast.Call, name: str) -> _Term:
        exact, ranged, least, most = _FUNCTIONS[name]
        if node.keywords or not least <= len(node.args) <= most:
            wanted = "one value" if most == 1 else "two values or more"
            raise SpaceError(f"{ast.unparse(node)} is not allowed; {name} accepts {wanted}")
        return _applied(exact, ranged, [self._number(argument) for argument in node.args])

    def _number(self, node: ast.expr) -> _Term:
        term = self.term(node)
        if not term.is_number:
            raise SpaceError(f"{ast.unparse(node)} is not a number; compare it with == or in")
        return term

    def _literal(self, node: ast.Constant) -> _Term:
        value = node.value
        if not (is_number(value) or isinstance(value, (str, bool)) or value is None):
            raise SpaceError(
                f"{ast.unparse(node)} is not allowed; write a finite number, a text, true, false or null"
            )
        return _literal(value)

    def _parameter(self, name: str) -> _Term:
        if self._leaves is None:
            if name not in LITERALS:
                self.names.add(name)
            return _Term(lambda values: values[name], lambda spans: spans[name], is_truth=True, name=name)
        if name not in self._leaves:
            if name in LITERALS:
                return _literal(LITERALS[name])
            raise SpaceError(f"{name} is not a parameter; {suggestion(name, self._leaves)}")
        self.names.add(name)
        choices = choices_of(self._leaves[name])
        return _Term(
            lambda values: values[name],
            lambda spans: spans[name],
            is_number=choices is None or any(map(is_number, choices)),
            is_truth=choices is not None and any(isinstance(value, bool) for value in choices),
            choices=choices,
            name=name,
        )


def choices_of(leaf: Distribution) -> tuple[Any, ...] | None:
    """Return all values of a listed parameter or a constant; None for a range of numbers."""
    if isinstance(leaf, CHOICES):
        return tuple(leaf.value_at(i) for i in range(leaf.size))
    return (leaf.value,) if isinstance(leaf, Constant) else None


def suggestion(name: object, names: Iterable[str]) -> str:
    """Return `did you mean x?` for a likely misspelling, otherwise a list of the names."""
    known = sorted(names)
    near = difflib.get_close_matches(str(name), known, n=1)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(known)}"


def _name(node: ast.expr) -> str | None:
    """Return the dotted name of a parameter; None if the node is not a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _name(node.value)
        return f"{owner}.{node.attr}" if owner is not None else None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == PARAMS:
        key = node.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
    return None


def _check_choice(term: _Term, other: _Term) -> None:
    """Raise SpaceError if a listed parameter is compared with a literal that is not among its values."""
    if term.choices is None or not other.literal:
        return
    value = other.literal[0]
    if identity(value) not in map(identity, term.choices):
        fix = suggestion(value, map(str, term.choices))
        raise SpaceError(f"{term.name} cannot be {value!r}; {fix}")


def _literal(value: Any) -> _Term:
    span = span_of((value,))
    return _Term(
        lambda _: value,
        lambda _: span,
        is_number=is_number(value),
        is_truth=isinstance(value, bool),
        literal=(value,),
    )


def _all(tests: Sequence[_Test]) -> _Test:
    holds, verdicts = [test.holds for test in tests], [test.verdict for test in tests]

    def verdict(spans: Spans) -> bool | None:
        found = [each(spans) for each in verdicts]
        return False if False in found else None if None in found else True

    return _Test(lambda values: all(each(values) for each in holds), verdict)


def _negated(test: _Test) -> _Test:
    def verdict(spans: Spans) -> bool | None:
        known = test.verdict(spans)
        return None if known is None else not known

    return _Test(lambda values: not test.holds(values), verdict)


def _ordered(
    a: _Term, b: _Term, holds: Callable[[float, float], bool], fails: Callable[[float, float], bool]
) -> _Test:
    """Return the test of an order. fails: the opposite order."""

    def verdict(spans: Spans) -> bool | None:
        left, right = a.span(spans), b.span(spans)
        if not (left.has_numbers and right.has_numbers) or fails(left.low, right.high):
            return False
        is_certain = holds(left.high, right.low) and not (left.has_others or right.has_others)
        return True if is_certain else None

    return _Test(lambda values: holds(_as_number(a.value(values)), _as_number(b.value(values))), verdict)


def _equal(a: _Term, b: _Term) -> _Test:
    def holds(values: Values) -> bool:
        left, right = a.value(values), b.value(values)
        return left == left and identity(left) == identity(right)

    return _Test(holds, lambda spans: _equality(a.span(spans), b.span(spans)))


def _equality(left: Span, right: Span) -> bool | None:
    if left.listed is not None and right.listed is not None:
        a, b = set(map(identity, left.listed)), set(map(identity, right.listed))
        return False if not a & b else True if len(a) == len(b) == 1 else None
    if left.has_others and right.has_others:
        return None
    return None if max(left.low, right.low) <= min(left.high, right.high) else False


def _as_number(value: Any) -> float:
    return value if is_number(value) else math.nan


def _applied(exact: Callable[..., float], ranged: Callable[..., Span], terms: Sequence[_Term]) -> _Term:
    values, spans = [term.value for term in terms], [term.span for term in terms]

    def value(at: Values) -> float:
        numbers = [each(at) for each in values]
        if not all(map(is_number, numbers)):
            return math.nan
        try:
            result: Any = exact(*numbers)
        except (ArithmeticError, ValueError):
            return math.nan
        return result if isinstance(result, (int, float)) else math.nan  # complex: a root of a negative number

    def span(at: Spans) -> Span:
        found = [each(at) for each in spans]
        if not all(each.has_numbers for each in found):
            return Span(math.inf, -math.inf, has_others=True)
        try:
            result: Span = ranged(*found)
        except (ArithmeticError, ValueError):
            return ANYTHING
        has_others = result.has_others or any(each.has_others for each in found)
        return interval(result.low, result.high, has_others=has_others)

    return _Term(value, span)


def _negative(term: _Term) -> _Term:
    if term.literal:
        return _literal(-term.literal[0])
    return _applied(operator.neg, lambda a: Span(-a.high, -a.low), [term])


def _corners(function: Callable[[float, float], float]) -> Callable[[Span, Span], Span]:
    """Return the interval form of a function that is monotone in each argument. Rounding keeps the order."""

    def ranged(a: Span, b: Span) -> Span:
        found = [function(x, y) for x in {a.low, a.high} for y in {b.low, b.high}]
        return ANYTHING if any(map(math.isnan, found)) else Span(min(found), max(found))

    return ranged


def _is_away_from_zero(span: Span) -> bool:
    return span.low > 0 or span.high < 0


def _quotient(a: Span, b: Span) -> Span:
    return _corners(operator.truediv)(a, b) if _is_away_from_zero(b) else ANYTHING


def _floor(a: Span, b: Span) -> Span:
    if not _is_away_from_zero(b):
        return ANYTHING
    found = _corners(operator.floordiv)(a, b)
    is_whole = all(isinstance(number, int) for number in (a.low, a.high, b.low, b.high))
    return found if is_whole else Span(found.low - 1, found.high + 1)  # floats are rounded


def _remainder(a: Span, b: Span) -> Span:
    if b.low != b.high or not b.low:
        return ANYTHING
    m = b.low
    is_whole = all(isinstance(number, int) for number in (a.low, a.high, m))
    if is_whole and a.low // m == a.high // m:
        return Span(min(a.low % m, a.high % m), max(a.low % m, a.high % m))
    return Span(min(m, 0), max(m, 0))


def _power(a: float, b: float) -> float:
    result: float = float(a) ** float(b)  # floats limit the size of the result
    return result


def _powers(a: Span, b: Span) -> Span:
    is_whole = b.low == b.high and float(b.low).is_integer()
    if a.low < 0 and not (is_whole and (b.low >= 0 or a.high < 0)):
        return ANYTHING
    found = _corners(_power)(a, b)
    low = min(found.low, 0.0) if a.low < 0 < a.high else found.low
    margin = 1e-12  # powers are not rounded exactly
    return Span(low - abs(low) * margin, found.high + abs(found.high) * margin)


def _absolute(a: Span) -> Span:
    return Span(0 if a.low < 0 < a.high else min(abs(a.low), abs(a.high)), max(abs(a.low), abs(a.high)))


_ARITHMETIC: Mapping[type[ast.operator], tuple[Callable[..., float], Callable[..., Span]]] = {
    ast.Add: (operator.add, _corners(operator.add)),
    ast.Sub: (operator.sub, _corners(operator.sub)),
    ast.Mult: (operator.mul, _corners(operator.mul)),
    ast.Div: (operator.truediv, _quotient),
    ast.FloorDiv: (operator.floordiv, _floor),
    ast.Mod: (operator.mod, _remainder),
    ast.Pow: (_power, _powers),
}
# name -> exact and interval form, smallest and largest number of arguments
_FUNCTIONS: Mapping[str, tuple[Callable[..., float], Callable[..., Span], int, int]] = {
    "min": (min, lambda *a: Span(min(s.low for s in a), min(s.high for s in a)), 2, MAX_TEXT),
    "max": (max, lambda *a: Span(max(s.low for s in a), max(s.high for s in a)), 2, MAX_TEXT),
    "abs": (abs, _absolute, 1, 1),
}
