"""Changes to JSON: patches as RFC 6902 and RFC 7396 define them, and the difference of two documents as the former.

Documents are what `parse_strict` returns. Nothing is changed in place, and no error quotes a value.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

__all__ = ["PatchError", "at", "difference", "patched", "pointer", "steps"]

MAX_OPERATIONS = 1_000
MAX_COPIED = 1_000_000
"""Values that the copies of one patch may make: each may double what is there."""
_SHOWN_PATH = 200

_OPERATIONS = frozenset({"add", "remove", "replace", "move", "copy", "test"})
_WITH_VALUE = frozenset({"add", "replace", "test"})
_FROM = frozenset({"move", "copy"})


class PatchError(ValueError):
    """A patch is wrong, or doesn't fit the document; the message says which operation and why."""


def patched(document: Any, patch: Any) -> Any:
    """A document after a patch: a list is an RFC 6902 patch, an object an RFC 7396 merge patch.

    Raises
    ------
    PatchError
        None of its operations is applied.
    """
    if isinstance(patch, dict):
        return _merged(document, patch)
    if not isinstance(patch, list):
        raise PatchError("a patch is a list of operations (RFC 6902) or an object (RFC 7396 merge patch)")
    if len(patch) > MAX_OPERATIONS:
        raise PatchError(f"the patch has {len(patch)} operations, at most {MAX_OPERATIONS} are taken")
    result, left = deepcopy(document), MAX_COPIED
    for number, operation in enumerate(patch, start=1):
        try:
            if isinstance(operation, dict) and operation.get("op") == "copy":
                left -= _size(at(result, steps(_text(operation, "from"))))
                if left < 0:
                    raise PatchError("the patch copies too much")
            result = _applied(result, operation)
        except PatchError as error:
            raise PatchError(f"operation {number}: {error}") from None
        except RecursionError:
            raise PatchError(f"operation {number}: the document gets too deep") from None
    return result


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def _applied(document: Any, operation: Any) -> Any:
    if not isinstance(operation, dict):
        raise PatchError("it isn't an object")
    kind = operation.get("op")
    if kind not in _OPERATIONS:
        raise PatchError(f"op must be one of {', '.join(sorted(_OPERATIONS))}")
    path = steps(_text(operation, "path"))
    if kind in _WITH_VALUE and "value" not in operation:
        raise PatchError(f"{kind} needs a value")
    source = steps(_text(operation, "from")) if kind in _FROM else ()
    match kind:
        case "add":
            return _added(document, path, deepcopy(operation["value"]))
        case "remove":
            return _removed(document, path)
        case "replace":
            return _replaced(document, path, deepcopy(operation["value"]))
        case "move":
            if path[: len(source)] == source and path != source:
                raise PatchError("a value can't be moved into itself")
            moved = at(document, source)
            return document if path == source else _added(_removed(document, source), path, moved)
        case "copy":
            return _added(document, path, deepcopy(at(document, source)))
        case _:
            if not _same(at(document, path), operation["value"]):
                raise PatchError(f"the value at {_shown(path)} isn't the one that the test expects")
            return document


def _text(operation: Mapping[str, Any], name: str) -> str:
    value = operation.get(name)
    if not isinstance(value, str):
        raise PatchError(f"{name} must be a JSON pointer")
    return value


def steps(path: str) -> tuple[str, ...]:
    """The steps of a JSON pointer (RFC 6901); raises PatchError."""
    if not path:
        return ()
    if not path.startswith("/"):
        raise PatchError(f"the path {path[:_SHOWN_PATH]!r} must be empty or begin with a slash")
    if "~" in path.replace("~0", "").replace("~1", ""):
        raise PatchError(f"the path {path[:_SHOWN_PATH]!r} has a ~ that isn't ~0 or ~1")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/"))


def pointer(path: Sequence[str | int]) -> str:
    """Steps as a JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def at(document: Any, path: Sequence[str]) -> Any:
    """The value at a path; raises PatchError where there is none."""
    for done, step in enumerate(path, start=1):
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list):
            document = document[_index(step, len(document) - 1, path[:done])]
        else:
            raise PatchError(f"there is nothing at {_shown(path[:done])}")
    return document


def _added(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    holder, last = at(document, path[:-1]), path[-1]
    if isinstance(holder, dict):
        holder[last] = value
    elif isinstance(holder, list):
        holder.insert(len(holder) if last == "-" else _index(last, len(holder), path), value)
    else:
        raise PatchError(f"nothing can be added at {_shown(path)}")
    return document


def _replaced(document: Any, path: Sequence[str], value: Any) -> Any:
    at(document, path)
    if not path:
        return value
    holder = at(document, path[:-1])
    holder[path[-1] if isinstance(holder, dict) else int(path[-1])] = value
    return document


def _removed(document: Any, path: Sequence[str]) -> Any:
    at(document, path)
    if not path:
        raise PatchError("the whole document can't be removed or moved")
    holder = at(document, path[:-1])
    del holder[path[-1] if isinstance(holder, dict) else int(path[-1])]
    return document


def _index(step: str, last: int, path: Sequence[str]) -> int:
    """RFC 6901, section 4: digits without a leading zero."""
    if not (step.isascii() and step.isdigit()) or (step != "0" and step.startswith("0")) or len(step) > 9:
        raise PatchError(f"{_shown(path)} must end with a number of the list")
    if int(step) > last:
        raise PatchError(f"there is nothing at {_shown(path)}")
    return int(step)


def _shown(path: Sequence[str]) -> str:
    return (pointer(path) or "the root")[:_SHOWN_PATH]


def _size(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))


def _same(one: Any, other: Any) -> bool:
    """RFC 6902, section 4.6: numbers by value, and no number is a boolean."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def difference(before: Any, after: Any) -> list[dict[str, Any]]:
    """What leads from one document to another, as an RFC 6902 patch; empty where they are the same."""
    return list(_difference(before, after, ()))


def _difference(before: Any, after: Any, path: tuple[str | int, ...]) -> Iterator[dict[str, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in (name for name in before if name not in after):
            yield {"op": "remove", "path": pointer((*path, name))}
        for name, value in after.items():
            if name in before:
                yield from _difference(before[name], value, (*path, name))
            else:
                yield {"op": "add", "path": pointer((*path, name)), "value": value}
    elif isinstance(before, list) and isinstance(after, list):
        both = min(len(before), len(after))
        for number in range(both):
            yield from _difference(before[number], after[number], (*path, number))
        for number in reversed(range(both, len(before))):
            yield {"op": "remove", "path": pointer((*path, number))}
        for number in range(both, len(after)):
            yield {"op": "add", "path": pointer((*path, number)), "value": after[number]}
    elif not _same(before, after):
        yield {"op": "replace", "path": pointer(path), "value": after}
