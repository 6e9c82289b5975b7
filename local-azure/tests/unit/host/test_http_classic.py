"""The classic HTTP binding through the real converters."""

import json
from http.cookies import SimpleCookie
from typing import Any

import azure.functions as func
import pytest
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


def test_a_cookie_as_asp_net_writes_it() -> None:
    response = func.HttpResponse("ok")
    given = "a=b/c; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Max-Age=60; Domain=x; Path=/p; Secure; SameSite=Lax"
    response.headers.add("Set-Cookie", given)
    (cookie,) = [value for name, value in answered(response).headers if name == "Set-Cookie"]
    assert cookie == (
        "a=b%2Fc; expires=Wed, 21 Oct 2026 07:28:00 GMT; max-age=60; domain=x; path=/p; secure; samesite=lax"
    )


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ('{"body": null}', 200, b""),
        ('{"BODY": [1]}', 200, b"System.Collections.Generic.List`1[System.Object]"),
        ('{"body": true, "statusCode": " 201 ", "status": 400}', 201, b"True"),
        ('{"body": "x", "status": 99999999999}', 500, b""),
        ('{"body": "x", "headers": {"X-A": null}}', 500, b""),
        ('{"body": "x", "headers": {"X-A": "a\\nb"}}', 500, b""),
        ('"2024-05-06T07:08:09Z"', 200, b"05/06/2024 07:08:09"),
        ("1e20", 200, b"1E+20"),
        ("{}", 200, b"{}"),
    ],
)
def test_texts_that_are_json(text: str, status: int, body: bytes) -> None:
    answer = answered(text)
    assert (answer.status, answer.body) == (status, body)
