"""What a view's rows consist of, as a query sees it: each field by its JSON name, and its type, from the rows' models.

Types are those of OData ("CSDL JSON/XML 4.01", 3.3): a value in a row's JSON is read as its type before it is
compared, so that a decimal, which JSON has as text here, is a number.
"""

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from shared.classification import Leaf, Plan, plan_of

__all__ = ["Kind", "Property", "Value", "properties_of"]

Value = str | bool | Decimal | datetime | date | None
"""A value that can be compared; a UUID is its text."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class Kind(StrEnum):
    """The type of a property; OBJECT and OBJECTS hold fields of their own, JSON is anything else."""

    TEXT = "Edm.String"
    BOOLEAN = "Edm.Boolean"
    INTEGER = "Edm.Int64"
    DECIMAL = "Edm.Decimal"
    DOUBLE = "Edm.Double"
    MOMENT = "Edm.DateTimeOffset"
    DAY = "Edm.Date"
    GUID = "Edm.Guid"
    OBJECT = "object"
    OBJECTS = "objects"
    JSON = "Edm.Untyped"

    @property
    def numeric(self) -> bool:
        """Its values are numbers."""
        return self in (Kind.INTEGER, Kind.DECIMAL, Kind.DOUBLE)

    @property
    def comparable(self) -> bool:
        """It can be filtered and sorted by."""
        return self not in (Kind.OBJECT, Kind.OBJECTS, Kind.JSON)


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """A field of a row.

    Attributes
    ----------
    leaf:
        How it is protected, where it is.
    fields:
        What is in the object, or in each of the objects, that it holds.
    model:
        The name of that object's model.
    """

    name: str
    kind: Kind
    leaf: Leaf | None = None
    fields: Mapping[str, "Property"] = field(default_factory=dict)
    model: str = ""

    def read(self, found: Any) -> Value:
        """A value of a row's JSON as one that can be compared; None for null, and for what isn't of its type."""
        if found is None:
            return None
        try:
            return self._read(found)
        except (
            ValueError,
            InvalidOperation,
            OverflowError,
            TypeError,
            AttributeError,
        ):  # of a list, UUID raises the last
            return None

    def _read(self, found: Any) -> Value:
        match self.kind:
            case Kind.BOOLEAN:
                return found if isinstance(found, bool) else None
            case Kind.MOMENT:
                moment = datetime.fromisoformat(found)
                return None if moment.tzinfo is None else moment.astimezone(UTC)
            case Kind.DAY:
                return date.fromisoformat(found)
            case Kind.GUID:
                return str(UUID(found))
            case Kind.TEXT:
                return found if isinstance(found, str) else None
            case kind if kind.numeric:
                number = None if isinstance(found, bool) else Decimal(str(found))
                return number if number is not None and number.is_finite() else None
            case _:
                return None


def properties_of(models: Sequence[type[BaseModel]]) -> dict[str, Property]:
    """The fields of rows that have the shape of one of some models; one whose types differ is JSON.

    A field that no query could name, since its name isn't an identifier, is left out.
    """
    found: dict[str, Property] = {}
    for model in models:
        for name, one in _properties(model, frozenset()).items():
            known = found.get(name)
            found[name] = one if known is None or known == one else Property(name=name, kind=Kind.JSON, leaf=one.leaf)
    return found


def _properties(model: type[BaseModel], within: frozenset[type[BaseModel]]) -> dict[str, Property]:
    plan = plan_of(model)
    schema = TypeAdapter(model).json_schema(mode="serialization", by_alias=True)
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    fields: dict[str, Any] = {
        info.serialization_alias or info.alias or name: info.annotation for name, info in model.model_fields.items()
    }
    fields |= {one.alias or name: one.return_type for name, one in model.model_computed_fields.items()}
    return {
        name: _property(name, annotation, schema.get("properties", {}).get(name, {}), plan, within | {model})
        for name, annotation in fields.items()
        if _NAME.fullmatch(name)
    }


def _property(
    name: str, annotation: Any, schema: Mapping[str, Any], plan: Plan, within: frozenset[type[BaseModel]]
) -> Property:
    below = plan.fields.get(name)
    leaf = None if below is None else below.leaf
    bare, many = _bare(annotation)
    if isinstance(bare, type) and issubclass(bare, BaseModel) and bare not in within:
        kind = Kind.OBJECTS if many else Kind.OBJECT
        return Property(name=name, kind=kind, leaf=leaf, fields=_properties(bare, within), model=bare.__name__)
    kind = Kind.JSON if many else _kind(bare, schema)
    return Property(name=name, kind=kind, leaf=leaf)


def _bare(annotation: Any) -> tuple[Any, bool]:
    """A type without its markers and without None, and whether there is a list of it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bare(arguments[0])
    if origin in (Union, types.UnionType):
        members = [one for one in arguments if one is not type(None)]
        return _bare(members[0]) if len(members) == 1 else (None, False)
    if origin in (list, tuple, set, frozenset) and arguments:
        return _bare(arguments[0])[0], True
    return annotation, False


_KINDS: Mapping[type, Kind] = {
    bool: Kind.BOOLEAN,
    int: Kind.INTEGER,
    float: Kind.DOUBLE,
    Decimal: Kind.DECIMAL,
    datetime: Kind.MOMENT,
    date: Kind.DAY,
    UUID: Kind.GUID,
    str: Kind.TEXT,
}


def _kind(bare: Any, schema: Mapping[str, Any]) -> Kind:
    if get_origin(bare) is Literal:
        kinds = {type(one) for one in get_args(bare)}
        return _KINDS.get(kinds.pop(), Kind.JSON) if len(kinds) == 1 else Kind.JSON
    if not isinstance(bare, type):
        return Kind.JSON
    if issubclass(bare, Enum):
        kinds = {type(one.value) for one in bare}
        return _KINDS.get(kinds.pop(), Kind.JSON) if len(kinds) == 1 else Kind.JSON
    kind = next((_KINDS[base] for base in bare.__mro__ if base in _KINDS), Kind.JSON)
    if kind is Kind.TEXT and (form := _format(schema)) is not None:
        return form
    return kind


def _format(schema: Mapping[str, Any]) -> Kind | None:
    """A text may say that it is a time: by the format of its JSON schema."""
    forms = {"date-time": Kind.MOMENT, "date": Kind.DAY, "uuid": Kind.GUID}
    for one in (schema, *schema.get("anyOf", ())):
        if one.get("format") in forms:
            return forms[one["format"]]
    return None
