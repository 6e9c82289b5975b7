"""The schema: generated from the views and the models of their rows. Nothing of it is written by hand."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
)

from shared.query import Kind, Property

from .connections import MAX_PAGE, PageArguments, connection_type, wrong
from .context import ReadingContext, ResolveInfo, Row, global_id, read_id

__all__ = ["GraphView", "build_schema"]

Text = GraphQLNonNull(GraphQLString)


@dataclass(frozen=True, kw_only=True)
class GraphView:
    """A view as the graph has it.

    Attributes
    ----------
    name:
        What one row is called: `Order`.
    properties:
        Its fields by JSON name; none where any shape is possible.
    protected:
        Whether something in its rows may be masked.
    listed:
        Whether its rows are found by indexes, and so listed.
    """

    view: str
    name: str
    properties: Mapping[str, Property]
    protected: bool = False
    listed: bool = False

    @property
    def plural(self) -> str:
        """The field that lists it: `creditNotes`."""
        return _camel(self.view)

    @property
    def singular(self) -> str:
        """The beginning of the fields that read one: `creditNote`."""
        return _identifier(self.name[:1].lower() + self.name[1:])


def _scalar(name: str, description: str) -> GraphQLScalarType:
    return GraphQLScalarType(name, description=description)


LONG = _scalar("Long", "A whole number that may have more than 32 bits.")
JSON = _scalar("JSON", "Any JSON value.")
_SCALARS: Mapping[Kind, GraphQLScalarType] = {
    Kind.TEXT: GraphQLString,
    Kind.BOOLEAN: GraphQLBoolean,
    Kind.INTEGER: LONG,
    Kind.DECIMAL: _scalar("Decimal", "A decimal number as text, so that no digit is lost."),
    Kind.DOUBLE: GraphQLFloat,
    Kind.MOMENT: _scalar("DateTime", "A time by RFC 3339."),
    Kind.DAY: _scalar("Date", "A day: 2026-01-05."),
    Kind.GUID: _scalar("UUID", "A UUID."),
    Kind.JSON: JSON,
}


class _Types:
    """The types of what rows hold, each made once."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, tuple[tuple[str, str], ...]], GraphQLObjectType] = {}
        self._names: set[str] = set()

    def claim(self, name: str) -> str:
        """A name that no other type has."""
        name = _identifier(name)
        free, number = name, 2
        while free in self._names:
            free, number = f"{name}{number}", number + 1
        self._names.add(free)
        return free

    def fields(self, properties: Mapping[str, Property]) -> dict[str, GraphQLField]:
        return {name: self._field(one) for name, one in properties.items() if not name.startswith("__")}

    def _field(self, field: Property) -> GraphQLField:
        name = field.name
        if field.kind is Kind.OBJECTS and field.fields:

            def items(source: Mapping[str, Any], info: ResolveInfo) -> Any:
                found = source.get(name)
                if not isinstance(found, list):
                    return None
                info.context.charge(len(found), info.field_nodes)
                return [one if isinstance(one, dict) else None for one in found]

            return GraphQLField(GraphQLList(self._object(field)), resolve=items, extensions={"many": "items"})
        if field.kind is Kind.OBJECT and field.fields:

            def inner(source: Mapping[str, Any], _: ResolveInfo) -> Any:
                found = source.get(name)
                return found if isinstance(found, dict) else None

            return GraphQLField(self._object(field), resolve=inner)
        return GraphQLField(_SCALARS.get(field.kind, JSON), resolve=_value_of(field), description=_protection(field))

    def _object(self, field: Property) -> GraphQLObjectType:
        key = (field.model, tuple((name, repr(one)) for name, one in field.fields.items()))
        if key not in self._objects:
            self._objects[key] = GraphQLObjectType(self.claim(field.model), self.fields(field.fields))
        return self._objects[key]


def _value_of(field: Property) -> Any:
    """The resolver of a field: null for what isn't of its type, as the token of a masked number."""
    name = field.name

    def any_value(source: Mapping[str, Any], _: ResolveInfo) -> Any:
        return source.get(name)

    def text(source: Mapping[str, Any], _: ResolveInfo) -> Any:
        found = source.get(name)
        return found if found is None or isinstance(found, str) else str(found)

    def checked(source: Mapping[str, Any], _: ResolveInfo) -> Any:
        found = source.get(name)
        return found if isinstance(found, str | bool) and field.read(found) is not None else None

    def decimal(source: Mapping[str, Any], _: ResolveInfo) -> Any:
        found = source.get(name)
        return str(found) if isinstance(found, str | int | float) and field.read(found) is not None else None

    def whole(source: Mapping[str, Any], _: ResolveInfo) -> Any:
        found = source.get(name)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def number(source: Mapping[str, Any], _: ResolveInfo) -> Any:
        found = source.get(name)
        return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    kinds = {Kind.TEXT: text, Kind.DECIMAL: decimal, Kind.INTEGER: whole, Kind.DOUBLE: number}
    if field.kind in (Kind.MOMENT, Kind.DAY, Kind.GUID, Kind.BOOLEAN):
        return checked
    return kinds.get(field.kind, any_value)


def _protection(field: Property) -> str | None:
    if field.leaf is None:
        return None
    masked = "a token, or null," if field.kind is Kind.TEXT else "null"
    return f"{field.leaf.level.name.capitalize()}: {masked} for who may not see it."


def build_schema(views: Sequence[GraphView]) -> GraphQLSchema:
    """The schema of some views. The context of its resolvers is a `ReadingContext`."""
    types = _Types()
    for reserved in ("Query", "Subscription", "Node", "PageInfo", *(one.name for one in _SCALARS.values())):
        types.claim(reserved)
    node = GraphQLInterfaceType(
        "Node", {"id": GraphQLField(GraphQLNonNull(GraphQLID))}, description="What has an id in the graph."
    )
    rows: dict[str, GraphQLObjectType] = {}
    for one in views:
        rows[one.view] = _row_type(one, types, node)
    node.resolve_type = lambda row, *_: rows[row.view].name
    query = {"node": _node_field(node, rows), "nodes": _nodes_field(node, rows)}
    changed: dict[str, GraphQLField] = {}
    for one in views:
        query[_free(f"{one.singular}ByKey", query)] = _by_key(one, rows[one.view])
        changed[_free(f"{one.singular}Changed", changed)] = _changed(one, rows[one.view])
        if one.listed:
            query[_free(one.plural, query)] = _listed(one, connection_type(rows[one.view], types.claim))
    subscription = GraphQLObjectType("Subscription", changed) if changed else None
    return GraphQLSchema(GraphQLObjectType("Query", query), subscription=subscription, types=list(rows.values()))


def _free(name: str, taken: Mapping[str, GraphQLField]) -> str:
    return _free(f"{name}_", taken) if name in taken else name


def _row_type(one: GraphView, types: _Types, node: GraphQLInterfaceType) -> GraphQLObjectType:
    def identity(row: Row, _: ResolveInfo) -> str:
        return global_id(row.view, row.key)

    fields = {"id": GraphQLField(GraphQLNonNull(GraphQLID), resolve=identity)}
    own = types.fields(one.properties)
    if "id" in own:
        own = {"databaseId" if name == "id" else name: field for name, field in own.items()}
    if not own:
        own = {"json": GraphQLField(JSON, resolve=lambda row, _: dict(row), description="The whole row.")}
    fields |= own
    if one.protected:
        for name, meaning in (("masked", "the caller may not see"), ("erased", "was erased")):
            fields[f"_{name}"] = GraphQLField(
                GraphQLNonNull(GraphQLList(Text)),
                resolve=_noted(f"${name}"),
                description=f"JSON pointers to what {meaning}.",
            )
    return GraphQLObjectType(types.claim(one.name), fields, interfaces=[node], description=f"A row of {one.view}.")


def _noted(name: str) -> Any:
    def noted(row: Row, _: ResolveInfo) -> Any:
        return row.get(name, [])

    return noted


def _node_field(node: GraphQLInterfaceType, rows: Mapping[str, Any]) -> GraphQLField:
    async def found(_: Any, info: ResolveInfo, id: str) -> Row | None:
        return await _of_id(info.context, rows, id)

    return GraphQLField(node, {"id": GraphQLArgument(GraphQLNonNull(GraphQLID))}, resolve=found)


def _nodes_field(node: GraphQLInterfaceType, rows: Mapping[str, Any]) -> GraphQLField:
    async def one(context: ReadingContext, identity: str) -> Row | None:
        return await _of_id(context, rows, identity)

    def found(_: Any, info: ResolveInfo, ids: list[str]) -> Any:
        if len(ids) > MAX_PAGE:  # each is a read of its own
            raise wrong(f"`ids` are at most {MAX_PAGE}.")
        return [one(info.context, each) for each in ids]

    arguments = {"ids": GraphQLArgument(GraphQLNonNull(GraphQLList(GraphQLNonNull(GraphQLID))))}
    return GraphQLField(GraphQLNonNull(GraphQLList(node)), arguments, resolve=found, extensions={"many": "ids"})


async def _of_id(context: ReadingContext, rows: Mapping[str, Any], identity: str) -> Row | None:
    place = read_id(identity)
    return None if place is None or place[0] not in rows else await context.row(*place)


def _by_key(one: GraphView, row_type: GraphQLObjectType) -> GraphQLField:
    async def found(_: Any, info: ResolveInfo, key: str) -> Row | None:
        context: ReadingContext = info.context
        return await context.row(one.view, key)

    return GraphQLField(row_type, {"key": GraphQLArgument(Text)}, resolve=found)


def _changed(one: GraphView, row_type: GraphQLObjectType) -> GraphQLField:
    def events(_: Any, info: ResolveInfo, keys: list[str]) -> Any:
        return info.context.changes(one.view, keys)

    arguments = {"keys": GraphQLArgument(GraphQLNonNull(GraphQLList(Text)))}
    return GraphQLField(
        row_type,
        arguments,
        resolve=lambda row, _, **__: row,
        subscribe=events,
        description="Each of some rows as it is, and then whenever it has changed.",
    )


def _listed(one: GraphView, connection: GraphQLObjectType) -> GraphQLField:
    async def found(_: Any, info: ResolveInfo, **given: Any) -> Any:
        context: ReadingContext = info.context
        return await context.page(one.view, PageArguments.of(given, info))

    arguments = {
        "first": GraphQLArgument(GraphQLInt),
        "after": GraphQLArgument(GraphQLString),
        "last": GraphQLArgument(GraphQLInt),
        "before": GraphQLArgument(GraphQLString),
        "filter": GraphQLArgument(GraphQLString, description="As `$filter` of the REST API has it."),
        "orderBy": GraphQLArgument(GraphQLString, description="As `$orderby` of the REST API has it."),
    }
    return GraphQLField(GraphQLNonNull(connection), arguments, resolve=found, extensions={"many": "page"})


def _camel(view: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", view) if word]
    name = words[0][:1].lower() + words[0][1:] + "".join(word[:1].upper() + word[1:] for word in words[1:])
    return _identifier(name)


def _identifier(name: str) -> str:
    """A name as GraphQL takes them: letters, digits and underscores, no digit first."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{name}" if name[:1].isdigit() else name
