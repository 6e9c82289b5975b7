"""What the worker or the host would refuse is refused before anything runs, in one line."""

import json
import typing
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from local_azure.host.annotations import read_signature
from local_azure.host.errors import IndexingError, SettingError, StartError
from local_azure.host.functions import Function
from local_azure.host.indexing import index_app, load_app
from local_azure.host.runtime import function_table
from local_azure.host.settings import AppSettings

SETTINGS = AppSettings({"LANE": "lane-high", "ServiceBus": "Endpoint=sb://x/;SharedAccessKeyName=a;SharedAccessKey=b"})


def index(register: Callable[[func.FunctionApp], Any], settings: AppSettings = SETTINGS) -> tuple[Function, ...]:
    app = func.FunctionApp()
    register(app)
    return index_app(app, settings)[0]


def queue(app: func.FunctionApp, handler: Any, **options: Any) -> None:
    arguments = {
        "arg_name": "msgs",
        "queue_name": "%LANE%",
        "connection": "ServiceBus",
        "cardinality": "many",
    } | options
    app.service_bus_queue_trigger(**arguments)(handler)


def test_a_function_is_read_with_its_settings_resolved() -> None:
    async def work(msgs: typing.List[func.ServiceBusMessage], context: func.Context) -> None:  # noqa: UP006
        """Takes many."""

    (function,) = index(lambda app: queue(app, work, data_type="binary"))
    assert function.name == "work"
    assert function.setting("queueName") == "lane-high"
    assert function.setting("dataType") == "BINARY"
    assert (function.is_batch, function.is_async, function.wants_context) == (True, True, True)


async def annotated_list(msgs: list[func.ServiceBusMessage]) -> None: ...
async def annotated_any(msgs: Any) -> None: ...
async def annotated_string(msgs: "typing.Sequence[func.ServiceBusMessage]") -> None: ...
async def not_annotated(msgs): ...  # type: ignore[no-untyped-def]
async def annotated_str(msgs: str) -> None: ...
async def annotated_request(msgs: func.HttpRequest) -> None: ...
async def extra(msgs: func.ServiceBusMessage, more: int = 1) -> None: ...
async def other_name(messages: func.ServiceBusMessage) -> None: ...
async def ctx_annotation(msgs: func.ServiceBusMessage, context: int) -> None: ...
async def unknown_name(msgs: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("handler", [annotated_string, not_annotated, annotated_str])
def test_annotations_that_the_worker_takes(handler: Any) -> None:
    assert len(index(lambda app: queue(app, handler))) == 1


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (annotated_list, r"typing.List\[...\] is taken, list\[...\] and unions are not"),
        (annotated_any, "does not fit its binding serviceBusTrigger"),
        (annotated_request, "does not fit its binding serviceBusTrigger"),
        (extra, "the parameter more belongs to no binding"),
        (other_name, "the parameter messages belongs to no binding"),
        (ctx_annotation, "the parameter context must be annotated"),
        (unknown_name, "its signature cannot be read"),
    ],
)
def test_annotations_that_the_worker_refuses(handler: Any, said: str) -> None:
    with pytest.raises(IndexingError, match=said):
        index(lambda app: queue(app, handler))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"arg_name": "the_messages"}, "refuses the binding name the_messages"),
        ({"queue_name": "%MISSING%"}, "'%MISSING%' does not resolve"),
    ],
)
def test_bindings_that_the_host_refuses(options: dict[str, Any], said: str) -> None:
    with pytest.raises((IndexingError, SettingError), match=said):
        index(lambda app: queue(app, not_annotated, **options))


def http(route: str, annotation: Any = func.HttpResponse, name: str = "f") -> Callable[[func.FunctionApp], Any]:
    def register(app: func.FunctionApp) -> None:
        def handler(req: func.HttpRequest):  # type: ignore[no-untyped-def]
            return None

        if annotation is not None:
            handler.__annotations__["return"] = annotation
        app.function_name(name)(app.route(route)(handler))

    return register


@pytest.mark.parametrize("annotation", [func.HttpResponse, str, None])
def test_return_annotations_that_the_worker_takes(annotation: Any) -> None:
    assert index(http("orders", annotation))[0].returns is not None


@pytest.mark.parametrize("annotation", [dict, bytes, func.HttpResponse | None, typing.Any])
def test_return_annotations_that_the_worker_refuses(annotation: Any) -> None:
    with pytest.raises(IndexingError, match="refuses the return annotation"):
        index(http("orders", annotation))


@pytest.mark.parametrize("route", ["admin/x", "/runtime", "Admin"])
def test_routes_that_belong_to_the_host(route: str) -> None:
    with pytest.raises(IndexingError, match="refuses the route"):
        index(http(route))


@pytest.mark.parametrize("name", ["1st", "a b", "ä"])
def test_function_names_that_the_host_refuses(name: str) -> None:
    with pytest.raises(IndexingError, match="a name must begin with a letter"):
        index(http("orders", name=name))


def test_names_differing_in_case_only_are_the_same() -> None:
    def register(app: func.FunctionApp) -> None:
        http("a", name="Work")(app)
        http("b", name="work")(app)

    with pytest.raises(IndexingError, match="taken twice"):
        index(register)


def test_unsupported_bindings_are_refused_not_ignored() -> None:
    def output(app: func.FunctionApp) -> None:
        @app.route("x")
        @app.queue_output(arg_name="out", queue_name="q", connection="ServiceBus")
        def work(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
            raise NotImplementedError

    def trigger(app: func.FunctionApp) -> None:
        @app.queue_trigger(arg_name="msg", queue_name="q", connection="ServiceBus")
        def work(msg: func.QueueMessage) -> None: ...

    def source(app: func.FunctionApp) -> None:
        @app.route("x")
        @app.blob_input(arg_name="blob", path="a/b", connection="ServiceBus")
        def work(req: func.HttpRequest, blob: str) -> func.HttpResponse:
            raise NotImplementedError

    for register in (output, trigger, source):
        with pytest.raises(IndexingError, match="not supported by this host"):
            index(register)


def test_callables_without_a_file_or_annotations_are_refused() -> None:
    with pytest.raises((IndexingError, AttributeError)):
        index(lambda app: queue(app, partial(not_annotated)))


def test_a_retry_policy_is_read_and_warned_of_where_it_has_no_effect() -> None:
    def work(msgs: func.ServiceBusMessage) -> None: ...

    app = func.FunctionApp()
    decorated = app.retry(strategy="exponential_backoff", max_retry_count="-1", minimum_interval="00:00:01",
                          maximum_interval="00:00:10")(work)  # fmt: skip
    app.service_bus_queue_trigger(arg_name="msgs", queue_name="q", connection="ServiceBus")(decorated)
    functions, warnings = index_app(app, SETTINGS)
    policy = functions[0].retry
    assert policy is not None
    assert [policy.delay_before(attempt) for attempt in (1, 2, 3, 4, 5, 1000)] == [1, 2, 4, 8, 10, 10]
    assert warnings == ("function work: a retry policy has no effect on serviceBusTrigger",)


def test_functions_read_by_the_app_itself_cannot_be_indexed() -> None:
    app = func.FunctionApp()
    http("a")(app)
    app.get_functions()
    with pytest.raises(IndexingError, match="the functions cannot be read"):
        index_app(app, SETTINGS)


def script(folder: Path, name: str, text: str) -> AppSettings:
    (folder / f"{name}.py").write_text(text)
    return AppSettings({"PYTHON_SCRIPT_FILE_NAME": f"{name}.py"})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("app_none", "x = 1", "it has none"),
        (
            "app_two",
            "import azure.functions as f\na = f.FunctionApp()\nb = f.FunctionApp()",
            "it has 2, under the names a, b",
        ),
        ("app_alias", "import azure.functions as f\na = f.FunctionApp()\nb = a", "under the names a, b"),
        ("app_import", "import json\nimport no_such_module", r"app_import.py:2: ModuleNotFoundError"),
        ("app_syntax", "def f(:", "SyntaxError"),
    ],
)
def test_an_app_that_cannot_be_loaded(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(IndexingError, match=said):
        load_app(tmp_path, script(tmp_path, name, text))


def test_a_folder_without_an_app(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"function_app.py is missing"):
        load_app(tmp_path, {})


def test_the_table_lists_http_functions_first_with_methods_and_urls() -> None:
    def register(app: func.FunctionApp) -> None:
        queue(app, not_annotated)
        http("orders/{id}", name="get_order")(app)

    lines = function_table(
        index(register), base_url="http://localhost:7071", prefix="api", disabled=frozenset({"get_order"})
    )
    assert lines == [
        "Functions:", "",
        "\tget_order (disabled): http://localhost:7071/api/orders/{id}", "",
        "\tnot_annotated: serviceBusTrigger", "",
    ]  # fmt: skip


def test_descriptions_survive_json() -> None:
    json.dumps(dict(index(lambda app: queue(app, not_annotated))[0].trigger.binding))


def test_a_request_of_the_other_kind_is_told_the_one_to_use() -> None:
    """An app that imports the streams extension hands every HTTP function its Request, and no other."""
    import azurefunctions.extensions.http.fastapi as streams

    def classic(req: func.HttpRequest) -> None: ...
    def streaming(req: streams.Request) -> None: ...

    bindings: list[dict[str, Any]] = [{"name": "req", "type": "httpTrigger", "direction": "IN"}]
    read_signature("f", streaming, bindings, http_streams=True)
    with pytest.raises(IndexingError, match=r"from azurefunctions\.extensions\.http\.fastapi import Request"):
        read_signature("f", classic, bindings, http_streams=True)
    with pytest.raises(IndexingError, match=r"use azure\.functions\.HttpRequest"):
        read_signature("f", streaming, bindings, http_streams=False)
