"""From the body of an event to the changes in it, whichever of the known forms it has."""

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from .change import CapturedChange, Origin, UnreadableChange
from .cosmos import is_cosmos, read_cosmos
from .debezium import DeclaredTypes, Handled, every_table, read_debezium
from .sql_server import STREAMED, read_change_table, read_streamed

__all__ = ["is_tombstone", "read_changes"]

_TOMBSTONES = frozenset({b"", b"null", b"default", b'"default"'})
_ATTRIBUTES = ("ce_", "ce-", "cloudEvents:", "cloudEvents_")


def is_tombstone(body: bytes) -> bool:
    """Whether a body says only that a key is gone, as a Kafka topic wants it; the change itself came before it.

    An event of Event Hubs can't have no body at all: connectors send an empty one, or a word in its place.
    """
    return body.strip() in _TOMBSTONES


def read_changes(
    document: Any, properties: Mapping[str, Any], types: DeclaredTypes, handled: Handled = every_table
) -> Sequence[CapturedChange]:
    """The changes in an event, in their order; none in what tells of no row.

    Parameters
    ----------
    document:
        The body as parsed JSON.
    properties:
        Of the event; values that came by the Kafka protocol are bytes, or base64 of them.
    types:
        Column types of tables, for events that don't bring their schema.
    handled:
        Decides where the properties can be read in two ways, since a word such as `city` is base64 too.

    Raises
    ------
    UnreadableChange
    """
    plain = {str(name): _plain(value) for name, value in properties.items()}
    decoded = {str(name): _decoded(value) for name, value in properties.items()}
    if decoded == plain:
        return _read(document, plain, types, handled)
    wrong: UnreadableChange | None = None
    changes: Sequence[CapturedChange] = ()
    try:
        changes = _read(document, decoded, types, handled)
    except UnreadableChange as error:
        wrong = error
    if not any(handled(change.origin.tables) for change in changes):
        with suppress(UnreadableChange):
            as_they_are = _read(document, plain, types, handled)
            if any(handled(change.origin.tables) for change in as_they_are):
                return as_they_are
    if wrong is not None:
        raise wrong
    return changes


def _read(document: Any, texts: Mapping[str, Any], types: DeclaredTypes, handled: Handled) -> Sequence[CapturedChange]:
    attributes = {
        name[len(start) :]: value for name, value in texts.items() for start in _ATTRIBUTES if name.startswith(start)
    }
    if str(attributes.get("type", "")).startswith(STREAMED):
        return [read_streamed({"finalsegment": True, **_flags(attributes), "data": document})]
    container = str(texts.get("container") or "")
    if isinstance(document, list):
        if not document or not all(isinstance(one, Mapping) for one in document):
            raise UnreadableChange("a list of changes holds something else than objects")
        if all("__$start_lsn" in one for one in document):
            return _of_change_table(document, texts)
        return [change for one in document for change in _read(one, texts, types, handled)]
    if isinstance(document, Mapping):
        if str(document.get("type", "")).startswith(STREAMED):
            return [read_streamed(document)]
        if "__$start_lsn" in document:
            return _of_change_table([document], texts)
        if is_cosmos(document):
            return [read_cosmos(document, container or "documents")]
        found = read_debezium(document, texts, types, handled)
    elif "id" in texts:
        found = read_debezium({"schema": None, "payload": document}, texts, types, handled)
    else:
        raise UnreadableChange("it is no object")
    return [] if found is None else [found]


def _of_change_table(rows: Sequence[Mapping[str, Any]], texts: Mapping[str, Any]) -> Sequence[CapturedChange]:
    if not texts.get("table"):
        raise UnreadableChange("rows of a change table say their table in the property table, such as dbo.customers")
    schema, _, table = str(texts["table"]).rpartition(".")
    return list(read_change_table(rows, Origin(connector="sqlserver", schema=schema, table=table)))


def _flags(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes that came as headers, all of them texts, in their types."""
    final = attributes.get("finalsegment")
    known = {} if final is None else {"finalsegment": str(final).lower() == "true"}
    return {**attributes, **known}


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _decoded(value: Any) -> Any:
    """A property as text. The Kafka protocol makes all of them bytes, which the host hands over as base64."""
    if isinstance(value, bytes):
        return _plain(value)
    if isinstance(value, str) and value and len(value) % 4 == 0:
        try:
            text = base64.b64decode(value, validate=True).decode("ascii")
        except ValueError:
            return value
        return text if text.isprintable() else value
    return value
