"""Events of Event Grid as its extension and the host send them to the worker."""

import json
from typing import Any

from azure.functions.meta import Datum

from local_azure.host.trigger_data import values
from local_azure.host.trigger_data.net_json import parsed
from local_azure.host.trigger_data.values import Metadata, Unbound

__all__ = ["event", "events_of", "started_by_hand"]


def events_of(body: str) -> list[Any]:
    """The events in the body of a delivery: an array of them, or one by itself.

    Raises
    ------
    ValueError
        The body is no JSON, or neither an object nor an array.
    """
    content = parsed(body)
    if not isinstance(content, dict | list):
        raise ValueError("the body must be an event or an array of events")
    return content if isinstance(content, list) else [content]


def event(content: Any) -> tuple[Datum, Metadata]:
    """Data and metadata of one event, whose texts are as `parsed` gives them.

    Raises
    ------
    Unbound
        What came is no JSON object.
    """
    if not isinstance(content, dict):
        raise Unbound(f"an event must be a JSON object, not {json.dumps(content)[:40]}")
    metadata = {"data": values.json_datum(content["data"])} if "data" in content else {}
    return values.json_datum(content), metadata


def started_by_hand(text: str, parameter: str) -> tuple[Datum, Metadata]:
    """Data and metadata of `POST /admin/functions/NAME`.

    Raises
    ------
    Unbound
        The input is no JSON object.
    """
    try:
        data, metadata = event(parsed(text))
    except ValueError as error:
        raise Unbound(f"the input is no JSON: {error}") from None
    return data, {**metadata, parameter: values.text(text)}
