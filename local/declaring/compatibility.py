"""What a changed description of the API breaks for its clients, under the names that oasdiff gives to such changes.

Schemas are compared with every reference resolved. What a client sends must go on being taken, so that the
schema of a request may only widen. What it is sent must go on being what it knows: the schema of an answer may only
narrow, but for values of an `enum` and answers of new statuses, which a client has to expect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Breaking", "breaking", "breaking_messages"]

Schema = Mapping[str, Any]
_METHODS = ("get", "head", "post", "put", "patch", "delete")
_UPPER = {"maximum": "max", "maxLength": "max-length", "maxItems": "max-items"}
_LOWER = {"minimum": "min", "minLength": "min-length", "minItems": "min-items"}
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


class Breaking(NamedTuple):
    """A change that breaks clients: which rule, and where."""

    rule: str
    where: str


def breaking(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Breaking]:
    """What clients of the old description can't rely on any more, in the order of its paths."""
    return list(dict.fromkeys(_Comparison(old, new).findings()))


def breaking_messages(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Breaking]:
    """What senders of commands and readers of events can't rely on any more, of two AsyncAPI documents.

    A command that is brought up by a step needs no model of its own: any object is wider than what was taken.
    """
    return list(dict.fromkeys(_Comparison(old, new).messages()))


class _Comparison:
    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str, bool]] = set()

    def findings(self) -> Iterator[Breaking]:
        paths = {_shape(path): item for path, item in self._new["paths"].items()}
        for path, item in self._old["paths"].items():
            other = paths.get(_shape(path))
            if other is None:
                yield Breaking("api-path-removed-without-deprecation", path)
                continue
            for method in _METHODS:
                if method not in item:
                    continue
                where = f"{method.upper()} {path}"
                if method not in other:
                    yield Breaking("api-removed-without-deprecation", where)
                else:
                    yield from self._operation(item[method], other[method], where)

    def messages(self) -> Iterator[Breaking]:
        """What breaks who sends or reads messages."""
        after = self._new["components"]["messages"]
        for name, message in self._old["components"]["messages"].items():
            if name not in after:
                yield Breaking("message-removed", name)
            else:
                is_taken = name.startswith("command-")
                yield from self._schema(message["payload"], after[name]["payload"], name, "message", is_taken)

    def _operation(self, old: Schema, new: Schema, where: str) -> Iterator[Breaking]:
        yield from self._parameters(old, new, where)
        yield from self._body(self._old_of(old.get("requestBody", {})), self._new_of(new.get("requestBody", {})), where)
        yield from self._answers(old.get("responses", {}), new.get("responses", {}), where)

    def _parameters(self, old: Schema, new: Schema, where: str) -> Iterator[Breaking]:
        before = {_place(one): one for one in map(self._old_of, old.get("parameters", []))}
        after = {_place(one): one for one in map(self._new_of, new.get("parameters", []))}
        for place, one in after.items():
            if place not in before and one.get("required") and one["in"] != "path":
                yield Breaking("new-required-request-parameter", f"{where} {one['name']}")
        for place, one in before.items():
            at = f"{where} {one['name']}"
            if place not in after:
                if one["in"] != "path":  # a path's parameters have their places, and may be called otherwise
                    yield Breaking("request-parameter-removed", at)
                continue
            if after[place].get("required") and not one.get("required"):
                yield Breaking("request-parameter-became-required", at)
            yield from self._schema(
                one.get("schema", {}), after[place].get("schema", {}), at, "request-parameter", True
            )

    def _body(self, old: Schema, new: Schema, where: str) -> Iterator[Breaking]:
        if new.get("required") and not old.get("required"):
            yield Breaking("request-body-became-required" if old else "request-body-added-required", where)
        after = new.get("content", {})
        for kind, one in old.get("content", {}).items():
            if kind not in after and "*/*" not in after:
                yield Breaking("request-body-media-type-removed", f"{where} {kind}")
            elif kind in after:
                yield from self._schema(
                    one.get("schema", {}), after[kind].get("schema", {}), where, "request-body", True
                )

    def _answers(self, old: Schema, new: Schema, where: str) -> Iterator[Breaking]:
        for status, one in old.items():
            at = f"{where} {status}"
            if status not in new:
                if status.startswith("2"):
                    yield Breaking("response-success-status-removed", at)
                continue
            before, after = self._old_of(one), self._new_of(new[status])
            for name in before.get("headers", {}):
                if name not in after.get("headers", {}):
                    yield Breaking("response-header-removed", f"{at} {name}")
            for kind, content in before.get("content", {}).items():
                found = after.get("content", {}).get(kind)
                if found is None:
                    yield Breaking("response-media-type-removed", f"{at} {kind}")
                else:
                    yield from self._schema(content.get("schema", {}), found.get("schema", {}), at, "response", False)

    def _schema(self, old: Any, new: Any, where: str, kind: str, is_request: bool) -> Iterator[Breaking]:
        mark = (str(old), str(new), is_request)
        if (old == new and "$ref" not in str(old)) or mark in self._seen:
            return
        self._seen.add(mark)
        old, new = self._old_of(old), self._new_of(new)
        olds, news = old.get("anyOf") or old.get("oneOf"), new.get("anyOf") or new.get("oneOf")
        if olds or news:
            yield from self._alternatives(olds or [old], news or [new], where, kind, is_request)
            return
        wide, narrow = (new, old) if is_request else (old, new)
        if not _types(narrow) <= _types(wide):
            more = _types(narrow) - _types(wide)
            nullable = "became-not-nullable" if is_request else "became-nullable"
            yield Breaking(f"{kind}-{nullable if more == {'null'} else 'type-changed'}", where)
            return
        yield from _bounds(wide, narrow, where, kind, is_request)
        if is_request:
            yield from _values(old, new, where, kind)
        if "object" in _types(narrow):
            yield from self._properties(old, new, where, kind, is_request)
        if "items" in wide:
            items = (old.get("items", {}), new.get("items", {}))
            yield from self._schema(*items, f"{where}/items", kind, is_request)

    def _alternatives(
        self, olds: list[Any], news: list[Any], where: str, kind: str, is_request: bool
    ) -> Iterator[Breaking]:
        """Each form that may come must be one that was there for who reads it."""
        comes, read = (olds, news) if is_request else (news, olds)
        for number, one in enumerate(comes):
            found = None
            for other in read:
                pair = (one, other) if is_request else (other, one)
                seen = set(self._seen)
                found = list(self._schema(*pair, f"{where}/anyOf/{number}", kind, is_request))
                self._seen = seen
                if not found:
                    break
            if found is None or found:
                if len(comes) == len(read) == 1:
                    yield from found or ()
                else:
                    rule = "any-of-removed" if is_request else "any-of-added"
                    yield Breaking(f"{kind}-{rule}", f"{where}/anyOf/{number}")

    def _properties(self, old: Schema, new: Schema, where: str, kind: str, is_request: bool) -> Iterator[Breaking]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        name_of = "request-property" if is_request else "response-property"
        if is_request:
            for name in needs - needed:
                rule = "request-property-became-required" if name in before else "new-required-request-property"
                yield Breaking(rule, f"{where}/{name}")
            if new.get("additionalProperties", True) is False:
                if old.get("additionalProperties", True) is not False:
                    yield Breaking("request-additional-properties-disallowed", where)
                for name in before.keys() - after.keys():
                    yield Breaking("request-property-removed", f"{where}/{name}")
        else:
            for name in needed - needs:
                became = "response-property-became-optional" if name in after else "response-required-property-removed"
                yield Breaking(became, f"{where}/{name}")
            for name in before.keys() - after.keys() - needed:
                yield Breaking("response-optional-property-removed", f"{where}/{name}")
        for name in before.keys() & after.keys():
            yield from self._schema(before[name], after[name], f"{where}/{name}", name_of, is_request)

    def _old_of(self, node: Any) -> Any:
        return _resolved(self._old, node)

    def _new_of(self, node: Any) -> Any:
        return _resolved(self._new, node)


def _resolved(document: Mapping[str, Any], node: Any) -> Any:
    for _ in range(20):
        if not isinstance(node, Mapping):
            return {}
        if not isinstance(reference := node.get("$ref"), str):
            return node
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return {}


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def _place(parameter: Schema) -> tuple[str, str]:
    return parameter["in"], parameter["name"]


def _types(schema: Schema) -> frozenset[str]:
    given = schema.get("type")
    if given is None:
        constant = schema.get("const")
        return frozenset({"string"}) if isinstance(constant, str) else _TYPES
    found = frozenset([given] if isinstance(given, str) else given)
    return found | {"integer"} if "number" in found else found


def _bounds(wide: Schema, narrow: Schema, where: str, kind: str, is_request: bool) -> Iterator[Breaking]:
    """A bound on what is sent may not come closer, one on what is read not go further."""
    for name, rule in _UPPER.items():
        if name in wide and narrow.get(name, float("inf")) > wide[name]:
            yield Breaking(f"{kind}-{rule}-{'decreased' if is_request else 'increased'}", where)
    for name, rule in _LOWER.items():
        if name in wide and narrow.get(name, float("-inf")) < wide[name]:
            yield Breaking(f"{kind}-{rule}-{'increased' if is_request else 'decreased'}", where)
    if is_request and wide.get("pattern") not in (None, narrow.get("pattern")):
        yield Breaking(f"{kind}-pattern-{'changed' if 'pattern' in narrow else 'added'}", where)


def _values(old: Schema, new: Schema, where: str, kind: str) -> Iterator[Breaking]:
    """Of what may be sent nothing is taken away."""
    allowed = new.get("enum") or ([new["const"]] if "const" in new else None)
    if allowed is None:
        return
    sent = old.get("enum") or ([old["const"]] if "const" in old else None)
    if sent is None:
        yield Breaking(f"{kind}-became-enum", where)
    else:
        for value in sent:
            if value not in allowed:
                yield Breaking(f"{kind}-enum-value-removed", f"{where} {value}")
