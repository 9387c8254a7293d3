"""Rows chosen by an expression on columns, as ``z < 0.1 and label in ("spiral", "edge_on")``.

Parsed by Python and computed here, node by node: nothing else of Python is reachable.
"""

import ast
import operator
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt

from galmorph.errors import OptionError

MAX_LENGTH = 2000  # longer ones would only try the parser
_COMPARE: dict[type[ast.AST], Any] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_COMPUTE: dict[type[ast.AST], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.BitAnd: operator.and_,
}
_BACKTICKS = re.compile("`([^`]+)`")


class Where:
    """An expression; `names` are the columns that it needs, ``OptionError`` what is wrong."""

    def __init__(self, text: str) -> None:
        self.text = text
        quoted = _BACKTICKS.findall(text)
        self._quoted = {f"_column_{n}": name for n, name in enumerate(quoted)}
        places = iter(self._quoted)
        try:
            if len(text) > MAX_LENGTH:
                raise ValueError(f"longer than {MAX_LENGTH} characters")
            spelled = _BACKTICKS.sub(lambda _: next(places), text).strip()
            self._tree = ast.parse(spelled, mode="eval").body
            nodes = list(ast.walk(self._tree))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refuse(getattr(error, "msg", None) or str(error)) from error
        found = [node.id for node in nodes if isinstance(node, ast.Name)]
        self.names = list(dict.fromkeys(self._quoted.get(name, name) for name in found))

    def _refuse(self, reason: str) -> OptionError:
        return OptionError(f"--where {self.text!r}: {reason}")

    def check(self, columns: Mapping[str, Any]) -> None:
        """Refuse names that are no columns."""
        for name in self.names:
            if name not in columns:
                near = get_close_matches(name, columns, 1)
                advice = f"; {near[0]} is one" if near else ""
                raise self._refuse(f"there is no column {name!r}{advice}")

    def choose(self, columns: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Rows for which it holds, (n,)."""
        self.check(columns)
        arrays = {name: _to_array(columns[name]) for name in self.names}
        try:
            with np.errstate(all="ignore"):
                chosen = np.asarray(self._compute(self._tree, arrays))
        except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise self._refuse(f"cannot be computed ({error})") from error
        if chosen.dtype.kind != "b" or chosen.ndim != 1:
            raise self._refuse('is no condition on a column, as "confidence < 0.5" is')
        return chosen

    def _compute(self, node: ast.AST, arrays: Mapping[str, Any]) -> Any:
        match node:
            case ast.Name(id=name):
                return arrays[self._quoted.get(name, name)]
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return [self._compute(part, arrays) for part in parts]
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self._compute(inner, arrays)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return ~_to_truth(self._compute(inner, arrays))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _COMPUTE:
                return _COMPUTE[type(op)](self._compute(left, arrays), self._compute(right, arrays))
            case ast.BoolOp(op=op, values=parts):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return join.reduce([_to_truth(self._compute(part, arrays)) for part in parts])
            case ast.Compare(left=left, ops=ops, comparators=others):
                values = [self._compute(part, arrays) for part in (left, *others)]
                pairs = zip(ops, values, values[1:], strict=False)
                return np.logical_and.reduce([_compare(type(op), a, b) for op, a, b in pairs])
        raise self._refuse(f"{ast.unparse(node)!r} is not understood")


def _compare(kind: type[ast.AST], left: Any, right: Any) -> Any:
    if kind in (ast.In, ast.NotIn):
        if not isinstance(right, list):
            raise TypeError("what stands after in is a list")
        found = np.logical_or.reduce([_compare(ast.Eq, left, item) for item in right])
        return found if kind is ast.In else ~found
    if kind not in _COMPARE:
        raise TypeError("this comparison is not known")
    if _is_text(left) != _is_text(right):
        raise TypeError("text is compared with a number")
    return _COMPARE[kind](left, right)


def _to_truth(value: Any) -> npt.NDArray[np.bool_]:
    array = np.asarray(value)
    if array.dtype.kind != "b" or array.ndim != 1:
        raise TypeError("and, or, not take conditions")
    return array


def _is_text(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "US"


def _to_array(values: Any) -> npt.NDArray[Any]:
    """Whole numbers with gaps as floats with NaN; undefined truth as false."""
    if isinstance(values, np.ma.MaskedArray):
        if values.dtype.kind == "b":
            return np.asarray(values.filled(False))
        return np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values))
    return np.asarray(values)
