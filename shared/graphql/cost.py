"""What a query costs, before it runs: each field counts 1, and what is in a list as often as the list may be long.

A connection costs 50 more, 100 with a filter. A page is as long as `first` or `last` says, `nodes` as long as its
`ids`, from variables too; a list inside a row, whose length nobody knows before, counts 10 and is charged by its true
length when it is resolved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    VariableNode,
    get_named_type,
    is_list_type,
)

from .connections import MAX_PAGE, PAGE

__all__ = ["Cost", "Limits", "check_size", "measure"]

ITEMS = 10
CONNECTION = 50
"""What a connection costs at least, and twice with a filter, which looks at more rows than it shows."""
DESCRIBED = 3
"""How often what is in a list of the introspection counts."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a query may be.

    Attributes
    ----------
    cost:
        The most that it may cost by `measure`; ten times as much may be resolved, where lists are longer than expected.
    depth:
        Fields within fields, fragments among them.
    fields, aliases, tokens, characters:
        Of the document, used or not.
    """

    cost: int = 10_000
    depth: int = 20
    fields: int = 500
    aliases: int = 50
    tokens: int = 3_000
    characters: int = 65_536


@dataclass
class Cost:
    """What a query costs, and by identity of a list's node what each of its items does."""

    total: int = 0
    each: dict[int, int] = field(default_factory=dict)


def too_much(message: str) -> GraphQLError:
    """An error for a query that asks too much."""
    return GraphQLError(message, extensions={"code": "COST_EXCEEDED"})


def check_size(document: DocumentNode, limits: Limits) -> None:
    """Raise GraphQLError for more fields, aliases or levels than may be: validation takes the square of them."""
    fields = aliases = introspections = 0
    found = (getattr(one, "selection_set", None) for one in document.definitions)
    waiting: list[tuple[SelectionSetNode, int]] = [(one, 1) for one in found if one is not None]
    while waiting:
        chosen, depth = waiting.pop()
        if depth > limits.depth:
            raise too_much(f"A query is at most {limits.depth} fields deep.")
        for one in chosen.selections:
            fields += 1
            aliases += isinstance(one, FieldNode) and one.alias is not None
            if fields > limits.fields:
                raise too_much(f"A query has at most {limits.fields} fields.")
            if aliases > limits.aliases:
                raise too_much(f"A query has at most {limits.aliases} aliases.")
            introspections += isinstance(one, FieldNode) and one.name.value == "__schema"
            if introspections > 1:
                raise too_much("A query asks for the schema once.")
            if (inner := getattr(one, "selection_set", None)) is not None:
                waiting.append((inner, depth + 1))


def measure(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    limits: Limits,
) -> Cost:
    """The cost of one operation of a valid document.

    Raises
    ------
    GraphQLError
        It is too deep, or costs too much.
    """
    walk = _Walk(schema, document, operation, variables, limits)
    root = schema.get_root_type(operation.operation)
    total, _ = walk.selection(operation.selection_set, root, 1)
    if total > limits.cost:
        raise too_much(f"The query costs {total}, at most {limits.cost} is allowed: ask for fewer rows or fields.")
    return Cost(total, walk.each)


class _Walk:
    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: Mapping[str, Any],
        limits: Limits,
    ) -> None:
        self.each: dict[int, int] = {}
        self._schema = schema
        self._limits = limits
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._variables = variables
        self._defaults = {one.variable.name.value: one.default_value for one in operation.variable_definitions or ()}
        self._known: dict[str, tuple[int, int]] = {}

    def selection(self, chosen: SelectionSetNode, parent: Any, depth: int) -> tuple[int, int]:
        """Cost of what is selected, and how deep it goes below here."""
        if depth > self._limits.depth:
            raise too_much(f"A query is at most {self._limits.depth} fields deep.")
        total = height = 0
        for one in chosen.selections:
            if isinstance(one, FieldNode):
                cost, below = self._field(one, parent, depth)
            elif isinstance(one, FragmentSpreadNode):
                cost, below = self._fragment(one.name.value, depth)
            else:
                condition = one.type_condition  # type: ignore[attr-defined]
                inner = parent if condition is None else self._schema.get_type(condition.name.value)
                cost, below = self.selection(one.selection_set, inner, depth + 1)  # type: ignore[attr-defined]
                below += 1
            total, height = total + cost, max(height, below)
        return total, height

    def _fragment(self, name: str, depth: int) -> tuple[int, int]:
        if name not in self._known:
            fragment = self._fragments[name]
            on = self._schema.get_type(fragment.type_condition.name.value)
            cost, height = self.selection(fragment.selection_set, on, depth + 1)
            self._known[name] = cost, height + 1
        cost, height = self._known[name]
        if depth + height > self._limits.depth:
            raise too_much(f"A query is at most {self._limits.depth} fields deep.")
        return cost, height

    def _field(self, node: FieldNode, parent: Any, depth: int) -> tuple[int, int]:
        if node.selection_set is None:
            return 1, 0
        definition = self._definition(parent, node.name.value)
        kind: GraphQLNamedType | None = None if definition is None else get_named_type(definition.type)
        cost, height = self.selection(node.selection_set, kind, depth + 1)
        self.each[id(node)] = cost
        return 1 + self._store(node, definition) + self._times(node, definition) * cost, height + 1

    def _store(self, node: FieldNode, definition: GraphQLField | None) -> int:
        """What a connection costs the store, however few rows it has: it asks each partition."""
        if definition is None or (definition.extensions or {}).get("many") != "page":
            return 0
        return CONNECTION if self._argument(node, "filter") is None else 2 * CONNECTION

    @staticmethod
    def _definition(parent: Any, name: str) -> GraphQLField | None:
        meta = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}
        found: GraphQLField | None = meta.get(name) or getattr(parent, "fields", {}).get(name)
        return found

    def _times(self, node: FieldNode, definition: GraphQLField | None) -> int:
        """How many of what it selects a field may have."""
        many = None if definition is None else (definition.extensions or {}).get("many")
        if many == "page":
            return max(self._number(node, "first", PAGE), self._number(node, "last", 0))
        if many == "ids":
            return max(1, self._length(node, "ids"))
        if many == "items":
            return ITEMS
        named = None if definition is None else get_named_type(definition.type).name
        introspects = named is not None and named.startswith("__")
        bare = None if definition is None else getattr(definition.type, "of_type", definition.type)
        return DESCRIBED if introspects and (is_list_type(bare) or is_list_type(definition.type)) else 1  # type: ignore[union-attr]

    def _number(self, node: FieldNode, name: str, default: int) -> int:
        """An argument's number as it may be at most: what isn't one is refused when it is used."""
        value = self._argument(node, name)
        if isinstance(value, IntValueNode):
            value = int(value.value) if len(value.value) < 10 else MAX_PAGE
        return min(max(value, 1), MAX_PAGE) if isinstance(value, int) else default

    def _length(self, node: FieldNode, name: str) -> int:
        value = self._argument(node, name)
        if isinstance(value, ListValueNode):
            return len(value.values)
        return len(value) if isinstance(value, list | tuple) else 1

    def _argument(self, node: FieldNode, name: str) -> Any:
        for one in node.arguments or ():
            if one.name.value == name:
                if isinstance(one.value, VariableNode):
                    variable = one.value.name.value
                    return self._variables.get(variable, self._defaults.get(variable))
                return one.value
        return None
