"""A bounded load test of a deployment: so many orders at such a pace, then the figures against limits.

    python3 -m infra.delivery.load --url https://HOST --rate 50 --seconds 60 --p95-ms 800 --error-share 0.001

A bearer token with the roles `producer` and `reader` comes from the environment variable `SLUICE_TOKEN`, or an API
key with them from `SLUICE_API_KEY`. Point it at a deployment of your own only; the number of requests is
`rate × seconds`, never more.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from .api import Api, Unreachable
from .azure import AzureFailed
from .deployment import Deployment, add_url
from .smoke import order, signed_in

__all__ = ["Figures", "Limits", "load", "main"]

_MOST_REQUESTS = 1_000_000
_SAMPLE = 20
"""Operations that are asked for at the end: what was accepted must also be processed."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the figures must keep to."""

    p95_ms: float
    error_share: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was seen. `late` are requests that could not start on time: the test machine was too slow, not the app."""

    requests: int
    accepted: int
    throttled: int
    failed: int
    late: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    statuses: dict[str, int]
    sampled: int
    processed: int
    seconds: float

    def broken(self, limits: Limits) -> list[str]:
        """One sentence for each limit that isn't kept."""
        found = []
        share = self.failed / self.requests if self.requests else 1.0
        if self.p95_ms > limits.p95_ms:
            found.append(f"95% of the answers took up to {self.p95_ms:.0f} ms, the limit is {limits.p95_ms:.0f} ms")
        if share > limits.error_share:
            found.append(f"{share:.2%} of the requests failed, the limit is {limits.error_share:.2%}")
        if self.processed < self.sampled:
            found.append(f"{self.sampled - self.processed} of {self.sampled} sampled orders were not processed in time")
        if self.late > self.requests / 10:
            found.append(f"{self.late} requests started late: this machine can't make that load; lower --rate")
        return found


def load(api: Api, *, rate: float, seconds: float, workers: int, process_seconds: float) -> Figures:
    """Post orders at an even pace, then look what became of some.

    The model is open: a slow answer doesn't slow the pace, as it wouldn't slow the users of a real system.
    """
    total = round(rate * seconds)
    if not 1 <= total <= _MOST_REQUESTS:
        raise ValueError(f"rate × seconds is {total} requests; it must be from 1 to {_MOST_REQUESTS:,}")
    run = uuid4().hex[:8]
    began = time.monotonic()
    results: list[tuple[str, float, bool, str | None]] = []

    def one(number: int) -> None:
        due = began + number / rate
        while (left := due - time.monotonic()) > 0:
            time.sleep(left)
        started = time.monotonic()
        try:
            answer = api.call("POST", "api/orders", order(f"load-{run}-{number}"), {"Idempotency-Key": str(uuid4())})
            status, location = str(answer.status), answer.headers.get("location")
        except Unreachable:
            status, location = "none", None
        results.append((status, time.monotonic() - started, started - due > 0.25, location))

    with ThreadPoolExecutor(max_workers=workers) as pool:
        for _ in pool.map(one, range(total)):
            pass
    seconds_taken = time.monotonic() - began
    locations = [location for *_, location in results if location is not None]
    sample = locations[:: max(1, len(locations) // _SAMPLE)][:_SAMPLE]
    processed = _processed(api, sample, process_seconds)
    return _figures(results, len(sample), processed, seconds_taken)


def _figures(
    results: Sequence[tuple[str, float, bool, str | None]], sampled: int, processed: int, seconds: float
) -> Figures:
    statuses = Counter(status for status, *_ in results)
    taken = sorted(duration for _, duration, *_ in results)
    accepted, throttled = statuses["202"], statuses["429"]
    return Figures(
        requests=len(results),
        accepted=accepted,
        throttled=throttled,
        failed=len(results) - accepted - throttled,
        late=sum(late for *_, late, _ in results),
        p50_ms=_percentile(taken, 0.5),
        p95_ms=_percentile(taken, 0.95),
        p99_ms=_percentile(taken, 0.99),
        statuses=dict(sorted(statuses.items())),
        sampled=sampled,
        processed=processed,
        seconds=round(seconds, 1),
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank, in milliseconds."""
    return round(ordered[max(0, math.ceil(len(ordered) * share) - 1)] * 1_000, 1)


def _processed(api: Api, locations: Sequence[str], seconds: float) -> int:
    waiting, until = set(locations), time.monotonic() + seconds
    while waiting and time.monotonic() < until:
        for location in list(waiting):
            try:
                found = api.call("GET", location).json()
            except Unreachable:
                continue
            if isinstance(found, dict) and found.get("status") == "succeeded":
                waiting.discard(location)
        if waiting:
            time.sleep(1.0)
    return len(locations) - len(waiting)


def main(arguments: Sequence[str]) -> int:
    """0 if every limit is kept, 1 if one isn't, 2 for a wrong call."""
    parser = argparse.ArgumentParser(prog="load", description=(__doc__ or "").split("\n", 1)[0])
    add_url(parser)
    parser.add_argument("--rate", type=float, default=20.0, help="orders a second (default: 20)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--workers", type=int, default=64, help="requests under way at once, at most (default: 64)")
    parser.add_argument("--p95-ms", type=float, default=1_000.0)
    parser.add_argument("--error-share", type=float, default=0.001)
    parser.add_argument(
        "--process-seconds", type=float, default=120.0, help="time for the sampled orders to be processed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    given = parser.parse_args(arguments)
    limits = Limits(p95_ms=given.p95_ms, error_share=given.error_share)
    try:
        url = given.url or Deployment.read(given.deployment).url
        api = signed_in(url)
        figures = load(
            api,
            rate=given.rate,
            seconds=given.seconds,
            workers=given.workers,
            process_seconds=given.process_seconds,
        )
    except (ValueError, AzureFailed) as error:
        parser.error(str(error))
    for name, value in asdict(figures).items():
        print(f"{name:<10} {value}")  # noqa: T201
    broken = figures.broken(limits)
    for sentence in broken:
        print(f"FAILED {sentence}", file=sys.stderr)  # noqa: T201
    if given.json:
        given.json.write_text(json.dumps({**asdict(figures), "broken": broken}, indent=2) + "\n", encoding="utf-8")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
