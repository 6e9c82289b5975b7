"""GET /usage: what a client used, day by day, with its amount by the prices of its plan."""

import csv
import io
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.authentication import Role
from shared.http import EVERY_ROLE, Route, caller_of, error
from shared.limits import Plans, UsageStore, invoiced
from shared.messages import ErrorCode

from .schemas import Named, reference

__all__ = ["usage_route"]

MOST_DAYS = 92
MOST_ROWS = 50_000
_COLUMNS = ("day", "client", "plan", "requests", "messages", "bytes", "amount", "currency")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def usage_route(store: Callable[[], UsageStore], plans: Plans, *, now: Callable[[], datetime]) -> Route:
    """A client reads its own usage; an operator everybody's, or that of `client`."""

    async def usage(request: Request) -> Response:
        given = request.query_params
        try:
            first, last = _days(given.get("from"), given.get("to"), now().date())
        except ValueError as wrong:
            return error(ErrorCode.BAD_REQUEST, str(wrong), now=now())
        caller = caller_of(request)
        client: str | None = given.get("client")
        if caller is not None and Role.OPERATOR not in caller.roles:
            if client not in (None, caller.client):
                return error(ErrorCode.FORBIDDEN, "Another client's usage is for operators.", now=now())
            client = caller.client
        found = []
        async for one in store().read(first, last, client):
            found.append(one)
            if len(found) > MOST_ROWS:
                return error(ErrorCode.BAD_REQUEST, "That is too much: ask for fewer days, or a client.", now=now())
        rows = [
            {
                "day": one.day.isoformat(),
                "client": one.client,
                "plan": one.plan,
                "requests": one.counts.requests,
                "messages": one.counts.messages,
                "bytes": one.counts.size,
                "amount": f"{amount:f}",
                "currency": currency,
            }
            for one, amount, currency in invoiced(found, plans)
        ]
        if "text/csv" in request.headers.get("accept", ""):
            return Response(_csv(rows), media_type="text/csv; charset=utf-8; header=present")
        return JSONResponse({"from": first.isoformat(), "to": last.isoformat(), "value": rows, "count": len(rows)})

    return Route(
        method="GET",
        path="usage",
        endpoint=usage,
        access=EVERY_ROLE,
        query=frozenset({"from", "to", "client"}),
        docs=_docs(),
    )


def _days(first: str | None, last: str | None, today: date) -> tuple[date, date]:
    """From the first of the month to today by default; both are included."""
    ends = _day("to", last, today)
    begins = _day("from", first, ends.replace(day=1))
    if begins > ends:
        raise ValueError("from: is after to")
    if ends - begins >= timedelta(days=MOST_DAYS):
        raise ValueError(f"from, to: ask for {MOST_DAYS} days at most")
    return begins, ends


def _day(name: str, text: str | None, otherwise: date) -> date:
    if text is None:
        return otherwise
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: must be a day like 2026-01-31") from None
    if len(text) != 10 or not date(2000, 1, 1) <= found <= date(9000, 1, 1):
        raise ValueError(f"{name}: must be a day like 2026-01-31")
    return found


def _csv(rows: list[dict[str, Any]]) -> str:
    """RFC 4180; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    for row in rows:
        safe = {
            name: f"'{one}" if isinstance(one, str) and one.startswith(_FORMULA) else one for name, one in row.items()
        }
        writer.writerow(safe)
    return text.getvalue()


def _docs() -> dict[str, Any]:
    """What clients used."""
    day = {"type": "string", "format": "date"}
    row = {
        "type": "object",
        "required": ["day", "client", "plan", "requests", "messages", "bytes", "amount", "currency"],
        "properties": {
            "day": day,
            "client": {"type": "string"},
            "plan": {"type": "string"},
            **{name: {"type": "integer", "minimum": 0} for name in ("requests", "messages", "bytes")},
            "amount": {"type": "string", "description": "Exact, by the plan's prices."},
            "currency": {"type": "string"},
        },
    }
    page = {
        "type": "object",
        "required": ["from", "to", "value", "count"],
        "properties": {
            "from": day,
            "to": day,
            "value": {"type": "array", "items": Named("UsageOfDay", row)},
            "count": {"type": "integer"},
        },
    }
    answer = {
        "description": "Day by day.",
        "headers": {"X-Correlation-ID": reference("headers", "CorrelationId")},
        "content": {"application/json": {"schema": Named("Usage", page)}, "text/csv": {"schema": {"type": "string"}}},
    }
    asked = {
        "from": (day, "The first day; the month's first without it."),
        "to": (day, "The last day, included; today without it."),
        "client": ({"type": "string"}, "For operators: of this client alone."),
    }
    return {
        "operationId": "getUsage",
        "summary": "What was used",
        "tags": ["usage"],
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
            for name, (schema, text) in asked.items()
        ],
        "responses": {"200": answer},
    }
