"""Prints what the host hands to the worker's converters, and what the context says."""

import base64
import json
import logging
from typing import Any

import azure.functions as func

TRIGGERS = (
    "httpTrigger", "serviceBusTrigger", "eventHubTrigger", "timerTrigger", "blobTrigger", "eventGridTrigger",
)  # fmt: skip


def shown(datum: Any) -> Any:
    """A value with its kind, in the form of the recordings."""
    if datum is None:
        return None
    match datum.type:
        case "bytes":
            return {"bytes_base64": base64.b64encode(datum.value).decode()}
        case "json":
            return {"json_text": datum.value}
        case "collection_bytes":
            return {"collection_bytes_base64": [base64.b64encode(each).decode() for each in datum.value.bytes]}
        case "collection_string":
            return {"collection_string": list(datum.value.string)}
        case "collection_sint64":
            return {"collection_sint64": list(datum.value.sint64)}
        case "http":
            return {"http": {name: http_part(each) for name, each in datum.value.items()}}
    return {datum.type: datum.value}


def http_part(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: each.value for name, each in value.items()}
    return shown(value) if value.type == "bytes" else value.value


def tell(event: str, **facts: Any) -> None:
    logging.info(json.dumps({"event": event, **facts}))


def record() -> None:
    """Listen in on the converter of each trigger."""
    for name in TRIGGERS:
        converter = func.get_binding_registry().get(name)
        converter.decode = listening(converter.decode)


def listening(decode: Any) -> Any:
    def listened(datum: Any, *, trigger_metadata: Any) -> Any:
        tell("handed", input=shown(datum), metadata={name: shown(each) for name, each in trigger_metadata.items()})
        return decode(datum, trigger_metadata=trigger_metadata)

    return listened


def called(context: func.Context) -> None:
    """What the context of this invocation says."""
    trace, retry = context.trace_context, context.retry_context
    error = retry.exception
    tell(
        "called",
        function=context.function_name,
        trace={"trace_parent": trace.trace_parent, "attributes": dict(trace.attributes)},
        retry={
            "retry_count": retry.retry_count,
            "max_retry_count": retry.max_retry_count,
            "exception": {"message": error.message, "source": error.source, "stack_trace": error.stack_trace},
        },
    )
