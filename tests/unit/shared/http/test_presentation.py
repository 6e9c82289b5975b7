"""How answers are presented: compressed by size, type and what the client takes; with links where HAL is asked for."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.presentation import Presented, chosen_encoding
from tests.unit.asgi import Answer, ask

LONG = {"value": [{"orderId": str(number), "country": "United Kingdom"} for number in range(200)]}


async def presented(answer: ASGIApp, headers: Mapping[str, str], *, query: str = "", method: str = "GET") -> Answer:
    """What a client is sent of an answer."""
    return await ask(Presented(answer, public_path="/shop"), method, "/api/orders", headers=headers, query=query)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip;q=1, br;q=0.1", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("*", "br"),
        ("*;q=0", ""),
        ("identity", ""),
        ("", ""),
        ("gzip;q=x", ""),
    ],
)
def test_the_encoding_is_the_one_that_the_client_likes(accepted: str, encoding: str) -> None:
    assert chosen_encoding(accepted) == encoding


@given(st.text())
def test_any_header_chooses_something(text: str) -> None:
    assert chosen_encoding(text) in ("", "br", "gzip")


@pytest.mark.parametrize("encoding", ["gzip", "br"])
@pytest.mark.parametrize("times", [1, 20])
async def test_a_long_answer_is_compressed(encoding: str, times: int) -> None:
    body = json.dumps(LONG["value"] * times).encode()
    whole = Response(body, media_type="application/json", headers={"ETag": '"abc"', "Vary": "Accept"})
    answer = await presented(whole, {"Accept-Encoding": encoding})
    assert answer.headers["content-encoding"] == encoding
    assert int(answer.headers["content-length"]) == len(answer.body) < len(body) / 5
    assert answer.headers["etag"] == 'W/"abc"', "other bytes than those that the strong one names"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert (gzip.decompress if encoding == "gzip" else brotli.decompress)(answer.body) == body


async def test_what_is_not_worth_it_stays_as_it_is() -> None:
    for whole in (
        JSONResponse({"small": True}),
        Response(b"x" * 5_000, media_type="application/octet-stream"),
        Response(b"x" * 5_000, media_type="text/plain", headers={"Content-Encoding": "zstd"}),
        Response(status_code=204),
    ):
        answer = await presented(whole, {"Accept-Encoding": "gzip, br"})
        assert answer.body == whole.body
        assert answer.headers.get("content-encoding") in (None, "zstd")
    plain = await presented(JSONResponse(LONG), {})
    assert plain.json == LONG
    assert plain.headers["vary"] == "Accept-Encoding", "a cache keeps both apart"


async def test_a_stream_passes_piece_by_piece() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d" % number * 2_000

    answer = await presented(StreamingResponse(pieces(), media_type="application/json"), {"Accept-Encoding": "gzip"})
    assert len([one for one in answer.pieces if one]) == 3
    assert "content-encoding" not in answer.headers


async def test_an_answer_with_links_has_an_etag_of_its_own() -> None:
    asked: list[str | None] = []

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        asked.append(headers.get("if-match"))
        is_known = headers.get("if-none-match") in ('"abc"', 'W/"abc"', "*")
        shown = {"ETag": '"abc"', "Vary": "Authorization"}
        whole = Response(status_code=304, headers=shown) if is_known else JSONResponse({"a": 1}, headers=shown)
        await whole(scope, receive, send)

    async def etag(accept: str, method: str = "GET", **conditions: str) -> tuple[int, str]:
        headers = {"Accept": accept, **{name.replace("_", "-"): value for name, value in conditions.items()}}
        found = await presented(answer, headers, method=method)
        return found.status, found.headers["etag"]

    hal, plain = "application/hal+json", "application/json"
    assert await etag(hal) == await etag(hal, "HEAD") == (200, '"abc-hal"')
    assert await etag(hal, if_none_match='"abc-hal"') == await etag(hal, if_none_match="*") == (304, '"abc-hal"')
    assert await etag(hal, if_none_match='W/"abc-hal"') == (304, '"abc-hal"')
    assert await etag(hal, if_none_match='"abc"') == (200, '"abc-hal"')
    assert await etag(plain) == await etag(plain, if_none_match='"abc-hal"') == (200, '"abc"')
    assert await etag(plain, if_none_match='"abc"') == (304, '"abc"')
    await etag(hal, if_match='"abc-hal", "d"')
    assert asked[-1] == '"abc", "d"', "either names the version that is to be changed"
    assert (await presented(answer, {"Accept": hal})).headers["vary"] == "Authorization, Accept"


async def test_links_are_there_for_who_asks_for_hal() -> None:
    page = JSONResponse({"value": [], "nextLink": "/shop/api/orders?after=1"}, headers={"Location": "/shop/api/x"})
    answer = await presented(page, {"Accept": "application/hal+json, application/json;q=0.5"}, query="top=1&a=%22")
    assert answer.headers["content-type"] == "application/hal+json"
    assert answer.json == {
        "_links": {
            "self": {"href": "/shop/api/orders?top=1&a=%22"},
            "next": {"href": "/shop/api/orders?after=1"},
            "operation": {"href": "/shop/api/x"},
        },
        "value": [],
        "nextLink": "/shop/api/orders?after=1",
    }
    assert int(answer.headers["content-length"]) == len(answer.body)
    exact = Response(b' {"total":2.50,"big":12345678901234567890.10}', media_type="application/json")
    assert (await presented(exact, {"Accept": "application/hal+json"})).body.endswith(bytes(exact.body).lstrip()[1:])
    empty = await presented(JSONResponse({}), {"Accept": "application/hal+json"})
    assert empty.json == {"_links": {"self": {"href": "/shop/api/orders"}}}
    for other in (JSONResponse([1]), JSONResponse({"a": 1}, status_code=404), Response("a", media_type="text/plain")):
        assert (await presented(other, {"Accept": "application/hal+json"})).body == other.body
