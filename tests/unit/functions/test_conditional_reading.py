"""Conditional and cached reads over HTTP."""

from __future__ import annotations

import secrets

from shared.authentication import api_key_entry
from shared.messages import Contract, Integration, Registry
from tests.unit.asgi import ask

from .conftest import ENVIRONMENT, Running
from .samples import order
from .test_api_reading import work_off


class Shelf(Contract):
    """Nothing about anybody."""

    shelf_id: str


async def stored(running: Running, **changed: str) -> None:
    """An order that has become a row."""
    answer = await running.post("/api/orders", order(**changed))
    assert answer.status == 202
    await work_off(running)


async def test_what_has_not_changed_is_304(running: Running) -> None:
    """Without a body, with the headers that caches need; a change brings another ETag."""
    await stored(running)
    first = await running.get("/api/orders/536365")
    etag = first.headers["etag"]
    same = await running.get("/api/orders/536365", **{"If-None-Match": etag})
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert same.headers["cache-control"] == "private, no-cache"
    assert same.headers["vary"] == "Authorization, X-API-Key, Accept, Accept-Encoding"
    assert "content-type" not in same.headers
    running.views.rows["orders", "536365"] = running.views.rows["orders", "536365"].replace("United Kingdom", "Spain")
    running.views.sequences["orders", "536365"] += 1
    changed = await running.get("/api/orders/536365", **{"If-None-Match": etag})
    assert (changed.status, changed.json["country"]) == (200, "Spain")
    assert changed.headers["etag"] != etag


async def test_another_version_than_asked_for_is_412(running: Running) -> None:
    """In the error format."""
    await stored(running)
    etag = (await running.get("/api/orders/536365")).headers["etag"]
    refused = await running.get("/api/orders/536365", **{"If-Match": '"other"'})
    assert (refused.status, refused.json["error"]["code"]) == (412, "PRECONDITION_FAILED")
    assert (await running.get("/api/orders/536365", **{"If-Match": etag})).status == 200


async def test_head_is_get_without_a_body(running: Running) -> None:
    """For every route that is read; its conditions count as well."""
    await stored(running)
    for path, status in (("/api/orders/536365", 200), ("/api/orders/none", 404), ("/api/health", 200)):
        got, head = await ask(running.asgi, "GET", path), await ask(running.asgi, "HEAD", path)
        assert (head.status, head.body, got.status) == (status, b"", status)
        assert head.headers["content-length"] == str(len(got.body))
        assert head.headers.get("etag") == got.headers.get("etag")
    etag = (await running.get("/api/orders/536365")).headers["etag"]
    assert (await ask(running.asgi, "HEAD", "/api/orders/536365", headers={"If-None-Match": etag})).status == 304


async def test_an_error_has_no_etag_and_is_not_stored(running: Running) -> None:
    missing = await running.get("/api/orders/none", **{"If-None-Match": "*"})
    assert (missing.status, missing.headers["cache-control"], missing.headers.get("etag")) == (404, "no-store", None)


async def test_a_cached_row_tells_its_age_and_no_cache_passes_it(registry: Registry) -> None:
    """As old as the setting allows, and newer for who asks."""
    running = Running(registry, {**ENVIRONMENT, "SLUICE_READ_MAX_AGE_SECONDS": "60", "SLUICE_READ_STALE_SECONDS": "30"})
    await stored(running)
    first = await running.get("/api/orders/536365")
    assert first.headers["cache-control"] == "private, max-age=60, stale-while-revalidate=30"
    running.views.rows["orders", "536365"] = running.views.rows["orders", "536365"].replace("United Kingdom", "Spain")
    running.views.sequences["orders", "536365"] += 1
    cached = await running.get("/api/orders/536365")
    assert (cached.json["country"], int(cached.headers["age"]) <= 60) == ("United Kingdom", True)
    asked = await running.get("/api/orders/536365", **{"Cache-Control": "no-cache"})
    assert (asked.json["country"], asked.headers["age"] in ("0", "1")) == ("Spain", True)


async def test_a_shared_cache_may_keep_what_nobody_is_kept_from() -> None:
    """Of a view without protected fields."""
    stock = Integration("stock")

    @stock.projects("shelf.filled", into="shelves")
    def row(shelf: Shelf) -> Shelf:
        return shelf

    running = Running(Registry([stock]), {**ENVIRONMENT, "SLUICE_READ_MAX_AGE_SECONDS": "60"})
    running.views.rows["shelves", "1"] = '{"shelfId":"1"}'
    assert (await running.get("/api/shelves/1")).headers["cache-control"] == "s-maxage=60, max-age=60"


async def test_an_etag_of_what_an_operator_sees_is_not_that_of_a_reader(registry: Registry) -> None:
    """And a reader gets no 304 for it."""
    keys = {role: secrets.token_urlsafe(32) for role in ("producer", "reader", "operator")}
    entries = ",".join(api_key_entry(role, key, [role]) for role, key in keys.items())
    cached = {"SLUICE_READ_MAX_AGE_SECONDS": "60", "SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{entries}]"}
    running = Running(registry, ENVIRONMENT | cached)
    assert (await running.post("/api/orders", order(), {"x-api-key": keys["producer"]})).status == 202
    await work_off(running)
    operator = await running.get("/api/orders/536365", **{"x-api-key": keys["operator"]})
    reader = await running.get(
        "/api/orders/536365", **{"x-api-key": keys["reader"], "If-None-Match": operator.headers["etag"]}
    )
    assert (operator.status, reader.status) == (200, 200)
    assert operator.json["customerId"] is not None
    assert reader.json["customerId"] is None
    assert (await running.get("/api/orders/536365", **{"x-api-key": keys["producer"]})).status == 403
