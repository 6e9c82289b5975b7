"""The smoke test after a deployment: is it up, does it refuse strangers, does one order go all the way through?

    python3 -m infra.delivery.smoke --url https://HOST | --deployment NAME  [--timeout 180] [--json FILE]

A bearer token with the roles `producer` and `reader` comes from the environment variable `SLUICE_TOKEN`, or an API key
with them from `SLUICE_API_KEY`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from .api import Answer, Api, Unreachable
from .azure import AzureFailed
from .deployment import Deployment, add_url

__all__ = ["Finding", "main", "order", "signed_in", "smoke"]

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it holds, and what was seen."""

    check: str
    passed: bool
    seen: str
    seconds: float


@dataclass(frozen=True)
class Clock:
    """Time, handed in so that a test need not wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def order(order_id: str, *, lines: int = 2) -> dict[str, Any]:
    """An order that any deployment takes, and whose id tells that it was a trial."""
    return {
        "orderId": order_id,
        "placedAt": datetime.now(UTC).isoformat(timespec="seconds"),
        "country": "United Kingdom",
        "lines": [{"sku": f"TRIAL-{n}", "quantity": n, "unitPrice": 1.25} for n in range(1, lines + 1)],
    }


def smoke(api: Api, *, timeout: float, clock: Clock | None = None) -> Iterator[Finding]:
    """Check one after the other; a later check is left out where it can't hold without an earlier one.

    Parameters
    ----------
    timeout:
        Seconds for the app to become ready, and again for the order to come through: the first call after a
        deployment meets a cold start.
    """
    clock = clock or Clock()
    ready = _until(clock, timeout, "ready", lambda: _status(api.anonymous(), "api/health/ready", 200))
    yield ready
    if not ready.passed:
        return
    yield _once(clock, "alive", lambda: _status(api.anonymous(), "api/health", 200))
    yield _once(clock, "strangers are refused", lambda: _refused(api.anonymous()))
    message_id = str(uuid4())  # the same at every try: an answer that was lost doesn't make two orders
    order_id = f"smoke-{message_id[:8]}"
    location: list[str] = []
    taken = _until(clock, timeout, "an order is taken", lambda: _post(api, message_id, order_id, location))
    yield taken
    if not taken.passed:
        return
    done = _until(clock, timeout, "it is processed", lambda: _succeeded(api, location[0]))
    yield done
    if done.passed:
        yield _until(clock, timeout, "it can be read", lambda: _status(api, f"api/orders/{order_id}", 200))


Look = Callable[[], tuple[bool, str]]


def _status(api: Api, path: str, wanted: int) -> tuple[bool, str]:
    answer = api.call("GET", path)
    return answer.status == wanted, _told(answer)


def _refused(api: Api) -> tuple[bool, str]:
    answer = api.call("POST", "api/orders", order("smoke-stranger"))
    return answer.status == 401, _told(answer)


def _post(api: Api, message_id: str, order_id: str, location: list[str]) -> tuple[bool, str]:
    answer = api.call("POST", "api/orders", order(order_id), {"Idempotency-Key": message_id})
    if answer.status == 202 and "location" in answer.headers:
        location.append(answer.headers["location"])
        return True, _told(answer)
    return False, _told(answer)


def _succeeded(api: Api, location: str) -> tuple[bool, str]:
    answer = api.call("GET", location)
    found = answer.json()
    status = found.get("status") if isinstance(found, dict) else None
    return answer.status == 200 and status == "succeeded", f"{answer.status} {status}"


def _told(answer: Answer) -> str:
    found = answer.json()
    problem = found.get("error") if isinstance(found, dict) else None
    code = problem.get("code") if isinstance(problem, dict) else None
    return f"{answer.status}" + (f" {code}" if code else "")


def signed_in(url: str) -> Api:
    """The API at an address, called with the credentials of the environment.

    Raises
    ------
    ValueError
        It is no address of an app.
    """
    return Api(url, os.environ.get("SLUICE_TOKEN") or None, key=os.environ.get("SLUICE_API_KEY") or None)


def _once(clock: Clock, check: str, look: Look) -> Finding:
    began = clock.now()
    try:
        passed, seen = look()
    except Unreachable as error:
        passed, seen = False, str(error)
    return Finding(check, passed, seen, round(clock.now() - began, 2))


def _until(clock: Clock, timeout: float, check: str, look: Look) -> Finding:
    """Look again until it holds or the time is over; the last thing seen is reported."""
    began = clock.now()
    while True:
        found = _once(clock, check, look)
        spent = clock.now() - began
        if found.passed or spent + _POLL_SECONDS > timeout:
            return Finding(check, found.passed, found.seen, round(spent, 2))
        clock.sleep(_POLL_SECONDS)


def main(arguments: Sequence[str]) -> int:
    """0 if every check holds, 1 if one doesn't, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="smoke", description=(__doc__ or "").split("\n", 1)[0])
    add_url(parser)
    parser.add_argument("--timeout", type=float, default=180.0, help="seconds to become ready, and to process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings")
    given = parser.parse_args(arguments)
    try:
        url = given.url or Deployment.read(given.deployment).url
        api = signed_in(url)
    except (ValueError, AzureFailed) as error:
        parser.error(str(error))
    findings = []
    for found in smoke(api, timeout=given.timeout):
        findings.append(found)
        mark = "ok    " if found.passed else "FAILED"
        print(f"{mark} {found.check:<22} {found.seen}  ({found.seconds:.1f} s)", flush=True)  # noqa: T201
    if given.json:
        given.json.write_text(json.dumps([asdict(found) for found in findings], indent=2) + "\n", encoding="utf-8")
    return 0 if findings and all(found.passed for found in findings) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
