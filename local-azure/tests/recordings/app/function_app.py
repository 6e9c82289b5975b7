"""The function app that was recorded: the same functions, bindings and answers, with a recorder."""

import json
from collections.abc import Callable
from typing import Any, List  # noqa: UP035 - the worker refuses list[...] in a trigger's annotation

import azure.functions as func
from recorder import called, record  # type: ignore[import-not-found]

record()
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route("items/{category}/{id:int?}", methods=["GET", "POST", "PUT"])
def http_items(req: func.HttpRequest) -> func.HttpResponse:
    seen = {
        "method": req.method,
        "url": req.url,
        "route": dict(req.route_params),
        "params": dict(req.params),
        "len": len(req.get_body()),
    }
    return func.HttpResponse(json.dumps(seen), mimetype="application/json")


@app.route("catch/{*path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def http_catch(req: func.HttpRequest) -> func.HttpResponse:
    text = f"path={req.route_params.get('path')} len={len(req.get_body())}"
    return func.HttpResponse(text, headers={"X-One": "1"})


@app.route("fail")
def http_fail(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("boom: secret detail")


@app.route("none")
def http_none(req: func.HttpRequest) -> func.HttpResponse:
    return None  # type: ignore[return-value]


@app.route("text")
def http_text(req: func.HttpRequest) -> str:
    return "plain text"


@app.route("jsontext")
def http_jsontext(req: func.HttpRequest) -> str:
    return '{"a": 1}'


@app.route("ret")
def http_ret(req: func.HttpRequest) -> str:
    return req.get_body().decode()


ANSWERS: dict[str | None, Callable[[], func.HttpResponse]] = {
    "cookie": lambda: func.HttpResponse("c", headers={"Set-Cookie": "a=b; Path=/; HttpOnly"}),
    "ctype": lambda: func.HttpResponse(
        "{}", headers={"Content-Type": "application/problem+json"}, mimetype="text/html"
    ),
    "bytes": lambda: func.HttpResponse(b"\x00\xff", mimetype="application/octet-stream"),
    "badheader": lambda: func.HttpResponse("x", headers={"X-Bad": "a\nb"}),
    "utf8header": lambda: func.HttpResponse("x", headers={"X-Uni": "h\u00e9"}),
    "empty": lambda: func.HttpResponse(),
    "charset": lambda: func.HttpResponse("h\u00e9", mimetype="text/plain", charset="latin-1"),
}


@app.route("resp")
def http_resp(req: func.HttpRequest) -> func.HttpResponse:
    return ANSWERS[req.params.get("kind")]()


@app.route("ctx")
def http_ctx(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    called(context)
    return func.HttpResponse("")


@app.route("status")
def http_status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=int(req.params.get("code", "204")))


@app.route("secured", auth_level=func.AuthLevel.FUNCTION)
def http_secured(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("ok")


def service_bus(name: str, queue: str, *, many: bool = False, data_type: str = "", sessions: bool = False) -> None:
    options: dict[str, Any] = {"arg_name": "messages" if many else "message", "connection": "ServiceBus"}
    options |= {"data_type": data_type} if data_type else {}
    options |= {"cardinality": "many"} if many else {}
    options |= {"is_sessions_enabled": True} if sessions else {}

    def batch(messages: List[func.ServiceBusMessage], context: func.Context) -> None:  # noqa: UP006
        called(context)

    def single(message: func.ServiceBusMessage, context: func.Context) -> None:
        called(context)

    function = batch if many else single
    function.__name__ = name
    app.service_bus_queue_trigger(queue_name=queue, **options)(function)


service_bus("sb_single_binary", "rec-single-binary", data_type="binary")
service_bus("sb_single_plain", "rec-single-plain")
service_bus("sb_single_string", "rec-single-string", data_type="string")
service_bus("sb_batch_binary", "rec-batch-binary", many=True, data_type="binary")
service_bus("sb_batch_plain", "rec-batch-plain", many=True)
service_bus("sb_session_batch", "rec-session-batch", many=True, data_type="binary", sessions=True)
service_bus("sb_session_single", "rec-session-single", data_type="binary", sessions=True)


@app.service_bus_topic_trigger(
    arg_name="message", connection="ServiceBus", topic_name="rec-topic", subscription_name="sub1", data_type="binary"
)
def sb_topic(message: func.ServiceBusMessage, context: func.Context) -> None:
    called(context)


def event_hub(name: str, hub: str, *, many: bool, data_type: str = "") -> None:
    options: dict[str, Any] = {"arg_name": "events" if many else "event", "connection": "EventHubs"}
    options |= {"data_type": data_type} if data_type else {}

    def batch(events: List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
        called(context)

    def single(event: func.EventHubEvent, context: func.Context) -> None:
        called(context)

    function = batch if many else single
    function.__name__ = name
    app.event_hub_message_trigger(event_hub_name=hub, cardinality="many" if many else "one", **options)(function)


event_hub("eh_batch", "rec-hub-batch", many=True, data_type="binary")
event_hub("eh_batch_plain", "rec-hub-plain", many=True)
event_hub("eh_single", "rec-hub-single", many=False, data_type="binary")
event_hub("eh_single_plain", "rec-hub-single-plain", many=False)


@app.retry(
    strategy="exponential_backoff", max_retry_count="2", minimum_interval="00:00:01", maximum_interval="00:00:05"
)
@app.event_hub_message_trigger(
    arg_name="events", connection="EventHubs", event_hub_name="rec-hub-retry", data_type="binary", cardinality="many"
)
def eh_retry(events: List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
    called(context)
    raise RuntimeError("failing on purpose")


@app.event_grid_trigger(arg_name="event")
def eg(event: func.EventGridEvent, context: func.Context) -> None:
    called(context)
    if event.subject == "fail":
        raise RuntimeError("failing on purpose")


@app.blob_trigger(arg_name="blob", path="rec-in/{name}.{ext}", connection="AzureWebJobsStorage")
def blob_plain(blob: func.InputStream, context: func.Context) -> None:
    called(context)


@app.blob_trigger(
    arg_name="blob", path="rec-str/{name}", connection="AzureWebJobsStorage", data_type=func.DataType.STRING
)
def blob_string(blob: func.InputStream, context: func.Context) -> None:
    called(context)


@app.timer_trigger(arg_name="timer", schedule="*/20 * * * * *")
def timer_20s(timer: func.TimerRequest, context: func.Context) -> None:
    called(context)


@app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
def timer_minute(timer: func.TimerRequest, context: func.Context) -> None:
    called(context)


@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *", run_on_startup=True)
def timer_startup(timer: func.TimerRequest, context: func.Context) -> None:
    called(context)
