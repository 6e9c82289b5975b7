"""OData 4.01's own formats: its JSON, its metadata in CSDL XML, its service document.

"JSON Format 4.01", "CSDL XML 4.01" and "Protocol 4.01" of OASIS.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from shared.query import Kind, Options, Property, ViewIndexes

__all__ = [
    "NAMESPACE",
    "ODATA_PAGE",
    "PLAIN",
    "Dialect",
    "EntitySet",
    "context",
    "metadata",
    "odata_json",
    "service_document",
    "set_name",
]

NAMESPACE = "Sluice"
ODATA_PAGE = 200
"""Rows of a page where the reader prefers nothing: it follows the links anyway."""
_EDMX, _EDM = "http://docs.oasis-open.org/odata/ns/edmx", "http://docs.oasis-open.org/odata/ns/edm"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a reader of OData wants its JSON.

    Attributes
    ----------
    annotated:
        With the control information that tells what it is: not for `odata.metadata=none`.
    exact:
        Numbers that a double can't hold are texts (`IEEE754Compatible=true`): decimals and 64-bit integers.
    version:
        The protocol's: the newest that the reader knows.
    """

    annotated: bool
    exact: bool
    version: str

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Dialect | None":
        """What a request's headers ask for; None where they say nothing of OData."""
        accept = headers.get("accept", "").lower().replace(" ", "")
        newest = headers.get("odata-maxversion") or headers.get("odata-version") or ""
        if "odata.metadata=" not in accept and "ieee754compatible=" not in accept and not newest:
            return None
        return cls(
            annotated="odata.metadata=none" not in accept,
            exact="ieee754compatible=true" in accept,
            version="4.01" if newest in ("", "4.01") else "4.0",
        )

    @property
    def media_type(self) -> str:
        """The content type of the answer."""
        exact = ";IEEE754Compatible=true" if self.exact else ""
        return f"application/json;odata.metadata={'minimal' if self.annotated else 'none'}{exact}"

    @property
    def headers(self) -> dict[str, str]:
        """What every answer of the protocol has."""
        return {"OData-Version": self.version}

    def row(self, row: Mapping[str, Any], properties: Mapping[str, Property]) -> dict[str, Any]:
        """A row with its values as their types are written; notes on it are annotations."""
        shown: dict[str, Any] = {}
        for name, value in row.items():
            if name.startswith("$"):
                shown[f"@{NAMESPACE}.{name[1:]}"] = value
            else:
                shown[name] = self._value(value, properties.get(name))
        return shown

    def _value(self, value: Any, prop: Property | None) -> Any:
        if prop is None or value is None:
            return value
        if isinstance(value, list):
            return [self._value(one, prop) for one in value]
        if isinstance(value, dict):
            return {name: self._value(one, prop.fields.get(name)) for name, one in value.items()}
        if prop.kind in (Kind.DECIMAL, Kind.INTEGER) and isinstance(number := prop.read(value), Decimal):
            return f"{number:f}" if self.exact else number
        return value


PLAIN = Dialect(annotated=True, exact=False, version="4.01")
"""For what is OData whoever asks."""


def odata_json(value: Any) -> str:
    """JSON in which a decimal keeps every digit, which the library has no way to say."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{odata_json(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(odata_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def set_name(view: str) -> str:
    """A view's name as an entity set: an identifier has no hyphens."""
    return view.replace("-", "_")


def context(declared: ViewIndexes, options: Options) -> str:
    """The context URL of a page, below the service's root."""
    shown = [*options.select, *(f"{name}({','.join(one.select)})" for name, one in options.expand.items())]
    return f"$metadata#{set_name(declared.view)}" + (f"({','.join(shown)})" if shown else "")


def service_document(names: Iterable[str], root: str) -> dict[str, Any]:
    """What there is to read, below a root."""
    return {
        "@odata.context": f"{root}$metadata",
        "value": [{"name": name, "kind": "EntitySet", "url": name} for name in names],
    }


class EntitySet(NamedTuple):
    """Rows of one shape; without a key they are found by no address of their own."""

    name: str
    properties: Mapping[str, Property]
    key: str = ""


def metadata(sets: Iterable[EntitySet]) -> bytes:
    """The types of all rows, and the sets of them, as CSDL XML."""
    root = Element("edmx:Edmx", {"Version": "4.0", "xmlns:edmx": _EDMX})
    schema = SubElement(SubElement(root, "edmx:DataServices"), "Schema", {"Namespace": NAMESPACE, "xmlns": _EDM})
    container = Element("EntityContainer", {"Name": "Container"})
    for name, properties, key in sets:
        entity = SubElement(schema, "EntityType", {"Name": f"{name}_row"})
        if key:
            SubElement(SubElement(entity, "Key"), "PropertyRef", {"Name": key})
        _properties(schema, entity, f"{name}_row", properties, key=key)
        SubElement(container, "EntitySet", {"Name": name, "EntityType": f"{NAMESPACE}.{name}_row"})
    schema.append(container)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _properties(
    schema: Element, element: Element, owner: str, properties: Mapping[str, Property], *, key: str = ""
) -> None:
    for prop in properties.values():
        attributes = {"Name": prop.name, "Type": _type(schema, owner, prop)}
        if prop.name == key:
            attributes["Nullable"] = "false"
        if prop.kind is Kind.DECIMAL:
            attributes["Scale"] = "variable"
        if prop.kind is Kind.MOMENT:
            attributes["Precision"] = "6"
        SubElement(element, "Property", attributes)


def _type(schema: Element, owner: str, prop: Property) -> str:
    """The name of a property's type; that of objects is written before the type that holds them."""
    if prop.kind not in (Kind.OBJECT, Kind.OBJECTS):
        return prop.kind.value
    name = f"{owner}_{prop.name}"
    inner = Element("ComplexType", {"Name": name})
    _properties(schema, inner, name, prop.fields)
    schema.append(inner)
    return f"Collection({NAMESPACE}.{name})" if prop.kind is Kind.OBJECTS else f"{NAMESPACE}.{name}"
