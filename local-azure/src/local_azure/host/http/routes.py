"""Matches request paths with ASP.NET route templates, in the order in which the Functions host tries them."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

__all__ = ["RouteTable", "RouteTemplate"]

_T = TypeVar("_T")
_PARAMETER = re.compile(r"\{(?P<star>\*{0,2})(?P<name>[A-Za-z_][\w-]*)(?P<rest>(?:\{\{|\}\}|[^{}])*)\}")


def _accepts(read: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return check


def _between(low: float, high: float) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return low <= int(text) <= high
        except ValueError:
            return False

    return check


_INFINITY = float("inf")
_PLAIN_CONSTRAINTS: Mapping[str, Callable[[str], bool]] = {
    "int": _between(-(2**31), 2**31 - 1),
    "long": _between(-(2**63), 2**63 - 1),
    "bool": lambda text: text.lower() in ("true", "false"),
    "guid": _accepts(UUID),
    "decimal": _accepts(float),
    "double": _accepts(float),
    "float": _accepts(float),
    "datetime": _accepts(datetime.fromisoformat),
    "alpha": lambda text: bool(re.fullmatch(r"[A-Za-z]*", text)),
    "required": bool,
}


def _constraint(text: str) -> Callable[[str], bool]:
    """The check behind one inline constraint, such as `int` or `length(2,4)`."""
    name, parenthesis, rest = text.partition("(")
    argument = rest.removesuffix(")")
    if not parenthesis and name.lower() in _PLAIN_CONSTRAINTS:
        return _PLAIN_CONSTRAINTS[name.lower()]
    if parenthesis and rest.endswith(")"):
        if name.lower() == "regex":
            pattern = re.compile(argument.replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
            return lambda value: bool(pattern.search(value))
        numbers = [int(number) for number in argument.split(",")]
        if check := _numeric_constraint(name.lower(), numbers):
            return check
    raise ValueError(f"the route constraint {text!r} is not known")


def _numeric_constraint(name: str, numbers: list[int]) -> Callable[[str], bool] | None:
    match name, numbers:
        case "min", [low]:
            return _between(low, _INFINITY)
        case "max", [high]:
            return _between(-_INFINITY, high)
        case "range", [low, high]:
            return _between(low, high)
        case "minlength", [low]:
            return lambda text: len(text) >= low
        case "maxlength", [high]:
            return lambda text: len(text) <= high
        case "length", [exact]:
            return lambda text: len(text) == exact
        case "length", [low, high]:
            return lambda text: low <= len(text) <= high
    return None


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    catch_all: bool
    optional: bool
    default: str | None
    constraints: tuple[Callable[[str], bool], ...]


class RouteTemplate:
    """One template, such as `orders/{id:int}/lines/{line?}` or `files/{*path}`.

    Literal text matches without case; a trailing slash does not count. Values are decoded.

    Raises
    ------
    ValueError
        The template is malformed or names an unknown constraint.
    """

    def __init__(self, template: str) -> None:
        self.template = template.strip("/")
        self._parameters: list[_Parameter] = []
        segments = self.template.split("/") if self.template else []
        pattern = "".join(self._segment(segment, last=segment is segments[-1]) for segment in segments)
        self._pattern = re.compile(f"^{pattern}/?$", re.IGNORECASE | re.DOTALL)

    def _segment(self, segment: str, *, last: bool) -> str:
        pattern, position = "", 0
        parameters = list(_PARAMETER.finditer(segment))
        for match in parameters:
            pattern += self._literal(segment[position : match.start()])
            pattern += self._placeholder(match, alone=match[0] == segment, last=last)
            position = match.end()
        pattern += self._literal(segment[position:])
        if len(parameters) == 1 and parameters[0][0] == segment and self._may_be_absent(self._parameters[-1]):
            return f"(?:/{pattern})?"
        return f"/{pattern}"

    @staticmethod
    def _may_be_absent(parameter: _Parameter) -> bool:
        return parameter.optional or parameter.catch_all or parameter.default is not None

    def _literal(self, text: str) -> str:
        if "{" in text.replace("{{", "") or "}" in text.replace("}}", ""):
            raise ValueError(f"the route {self.template!r} has a brace that belongs to no parameter")
        return re.escape(text.replace("{{", "{").replace("}}", "}"))

    def _placeholder(self, match: re.Match[str], *, alone: bool, last: bool) -> str:
        rest, optional = match["rest"], match["rest"].endswith("?")
        rest = rest.removesuffix("?")
        constraints, has_default, default = rest.partition("=") if "regex(" not in rest else (rest, "", "")
        if constraints and not constraints.startswith(":"):
            raise ValueError(f"the route {self.template!r} has a malformed parameter {match[0]!r}")
        catch_all = bool(match["star"])
        if catch_all and not (alone and last):
            raise ValueError(f"the route {self.template!r}: a catch-all must be its last segment, alone")
        if any(match["name"].lower() == known.name.lower() for known in self._parameters):
            raise ValueError(f"the route {self.template!r} names the parameter {match['name']!r} twice")
        checks = tuple(_constraint(each) for each in _split_constraints(constraints))
        self._parameters.append(
            _Parameter(match["name"], catch_all, optional, default if has_default else None, checks)
        )
        return f"(?P<p{len(self._parameters) - 1}>{'.*' if catch_all else '[^/]+?' if not alone else '[^/]+'})"

    def match(self, path: str) -> dict[str, str] | None:
        """The route parameters of a decoded path that begins with a slash, or None if it does not match."""
        found = self._pattern.match(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for index, parameter in enumerate(self._parameters):
            value = found[f"p{index}"]
            if not value:
                if parameter.default is not None:
                    values[parameter.name] = parameter.default
                continue
            if not all(check(value) for check in parameter.constraints):
                return None
            values[parameter.name] = value
        return values


def _split_constraints(text: str) -> list[str]:
    """`:int:regex(^a:b$)` in its parts: a colon inside parentheses does not split."""
    parts, depth = [""], 0
    for character in text.removeprefix(":"):
        depth += (character == "(") - (character == ")")
        if character == ":" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part]


class RouteTable(Generic[_T]):
    """Routes in the order in which they are tried; the first that fits path and method wins.

    The platform tries functions by name, not by how specific their routes are (azure-functions-host #9876),
    and answers a known path with another method by 404, not 405 (#10098): give the entries in that order.
    """

    def __init__(self, routes: Iterable[tuple[RouteTemplate, frozenset[str] | None, _T]]) -> None:
        self._routes = tuple(routes)

    def find(self, method: str, path: str) -> tuple[_T, dict[str, str]] | None:
        """The first fit for a method in upper case and a decoded path, with its route parameters.

        An empty segment fits nothing, not even a catch-all; one slash at the end does not count.
        """
        if "//" in path:
            return None
        for template, methods, target in self._routes:
            if methods is not None and method not in methods:
                continue
            values = template.match(path)
            if values is not None:
                return target, values
        return None
