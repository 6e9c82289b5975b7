"""The classic HTTP binding through the real converters."""

import json
from http.cookies import SimpleCookie
from typing import Any

import azure.functions as func
from azure.functions.http import HttpRequestConverter, HttpResponseConverter

from local_azure.host.http.classic import Answer, answer_of
from local_azure.host.trigger_data.http import request as sent


def decoded(**given: Any) -> Any:
    fields: dict[str, Any] = {
        "method": "POST", "host": "localhost", "path": "/api/x", "query_string": "", "headers": [], "query": [],
        "route_values": {}, "body": b"",
    }  # fmt: skip
    return HttpRequestConverter.decode(sent(**(fields | given)), trigger_metadata={})


def answered(returned: Any) -> Answer:
    return answer_of(HttpResponseConverter.encode(returned, expected_type=None))


def test_headers_and_query_values_as_the_host_passes_them() -> None:
    request = decoded(
        headers=[("X-Source", "a"), ("x-source", "b")],
        query=[("a", "1"), ("a", "2"), ("empty", "")],
        route_values={"id": "7"},
    )
    assert dict(request.headers) == {"x-source": "a,b"}
    assert dict(request.params) == {"a": "1,2"}
    assert dict(request.route_params) == {"id": "7"}


def test_bodies_arrive_as_bytes() -> None:
    assert decoded(body=b"\xff").get_body() == b"\xff"
    assert decoded(body=b'{"a": 1}').get_json() == {"a": 1}
    assert decoded().get_body() == b""


def test_a_response_with_headers_and_cookies() -> None:
    response = func.HttpResponse("ok", status_code=201, headers={"X-A": "1"})
    response.headers.add("Set-Cookie", "a=1; Path=/")
    response.headers.add("Set-Cookie", "b=2")
    answer = answered(response)
    assert (answer.status, answer.body) == (201, b"ok")
    assert ("X-A", "1") in answer.headers
    cookies = [value for name, value in answer.headers if name == "Set-Cookie"]
    assert [next(iter(SimpleCookie(each))) for each in cookies] == ["a", "b"]


def test_a_text_is_the_body_unless_it_describes_a_response() -> None:
    assert answered("hello") == Answer(200, [("Content-Type", "text/plain; charset=utf-8")], b"hello")
    assert answered('{"greeting": "hello"}').body == b'{\n  "greeting": "hello"\n}'
    whole = answered(json.dumps({"status": 418, "body": {"a": 1}, "headers": {"X-A": "b"}}))
    assert (whole.status, whole.body) == (418, b'{"a":1}')
    assert ("X-A", "b") in whole.headers
