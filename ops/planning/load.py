"""The load that is planned for: amounts with their units, read strictly, each refused by its name."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["LANES", "Load", "WrongLoad", "bytes_of", "factor_of", "rate_of", "seconds_of", "share_of", "shares_of"]

LANES = ("high", "normal", "low", "ordered")
_NUMBER = r"(\d{1,15}(?:\.\d{1,9})?)"
_SIZES = {"B": 1, "KB": 1_000, "MB": 1_000_000, "KIB": 1_024, "MIB": 1_048_576}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
MOST_RATE = 10_000_000.0
"""Messages a second: no deployment of one region comes near; a larger number is a slip."""
MOST_SIZE = 100_000_000
"""Bytes: the largest message of Service Bus Premium is 100 MB."""


class WrongLoad(ValueError):
    """An amount that can't be, or whose unit isn't known; the message names the option."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What comes, on average unless it says otherwise; times in seconds, sizes in bytes, shares from 0 to 1.

    Attributes
    ----------
    peak:
        How many times the average the busiest seconds are: units are bought for those.
    lanes:
        Share of each lane; they add up to 1.
    events, event_size, groups:
        Events of each message, and consumer groups that read them.
    batch, batch_time, event_batch, event_batch_time:
        Messages of a batch, or events, and how long it takes on one instance.
    retries:
        Share of messages that are tried again.
    retry_budget:
        `SLUICE_RETRY_BUDGET_SHARE`: retries are never more than this share of what succeeds.
    notifications, subscribers:
        Event Grid: events a second, and subscriptions of their topic.
    database_connections, operations_per_request:
        What a database of your own allows in all, and what one request asks of it side by side.
    """

    rate: float
    size: int
    peak: float = 1.0
    lanes: Mapping[str, float] = field(default_factory=lambda: {"normal": 1.0})
    retention: float = 7 * 86_400.0
    events: float = 1.0
    event_size: int = 1_000
    groups: int = 1
    batch: int = 64
    batch_time: float = 0.5
    event_batch: int = 200
    event_batch_time: float = 0.5
    request_time: float = 0.03
    concurrency: int = 16
    cores: float = 1.0
    claim_threshold: int = 65_536
    secrets: int = 10
    secret_time: float = 300.0
    retries: float = 0.01
    retry_budget: float = 0.2
    notifications: float = 0.0
    subscribers: int = 1
    database_connections: int = 1_600
    operations_per_request: float = 1.0

    @property
    def peak_rate(self) -> float:
        """Messages a second in the busiest seconds."""
        return self.rate * self.peak

    @property
    def claimed(self) -> bool:
        """Whether a message travels as a claim."""
        return self.size > self.claim_threshold

    @property
    def bus_size(self) -> int:
        """Bytes of a message on Service Bus: of one with a claim only its properties."""
        return 1_000 if self.claimed else self.size


def _amount(name: str, text: str, pattern: str, what: str) -> re.Match[str]:
    found = re.fullmatch(pattern, text.strip(), re.IGNORECASE | re.ASCII)
    if found is None:
        raise WrongLoad(f"{name}: {text[:40]!r} is not {what}")
    return found


def _within(name: str, value: float, least: float, most: float, unit: str) -> float:
    if not math.isfinite(value) or not least <= value <= most:
        raise WrongLoad(f"{name}: {value:g} {unit} must be from {least:g} to {most:g}")
    return value


def rate_of(name: str, text: str, *, least: float = 0.001) -> float:
    """A rate such as 5000/s, 300/min, 2e6/d, in messages a second; a bare number isn't one."""
    pattern = r"(\d{1,15}(?:\.\d{1,9})?(?:e\d{1,2})?)\s*/\s*(s|min|m|h|d)"
    found = _amount(name, text, pattern, "a rate: write 5000/s, 300/min or 1000000/d")
    return _within(name, float(found[1]) / _SECONDS[found[2].lower()], least, MOST_RATE, "/s")


def bytes_of(name: str, text: str) -> int:
    """A size such as 2KB, 64KiB, 1MB, in bytes; KB are 1,000."""
    found = _amount(name, text, _NUMBER + r"\s*(B|KB|MB|KiB|MiB)", "a size: write 500B, 2KB, 64KiB or 1MB")
    return round(_within(name, float(found[1]) * _SIZES[found[2].upper()], 1, MOST_SIZE, "bytes"))


def seconds_of(name: str, text: str, *, most: float = 366 * 86_400.0) -> float:
    """A time such as 30ms, 5m, 7d, in seconds."""
    found = _amount(name, text, _NUMBER + r"\s*(ms|s|min|m|h|d)", "a time: write 30ms, 5m, 12h or 7d")
    return _within(name, float(found[1]) * _SECONDS[found[2].lower()], 0.001, most, "s")


def factor_of(name: str, text: str) -> float:
    """A factor such as 3x."""
    found = _amount(name, text, _NUMBER + r"\s*x", "a factor: write 3x")
    return _within(name, float(found[1]), 1, 1_000, "x")


def share_of(name: str, text: str) -> float:
    """A share such as 20%, from 0 to 1."""
    found = _amount(name, text, _NUMBER + r"\s*%", "a share: write 20%")
    return _within(name, float(found[1]) / 100, 0, 1, "of all")


def shares_of(name: str, text: str) -> dict[str, float]:
    """Lanes with their shares, such as high=10%,normal=70%,low=20%; together 100%."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        lane, given, share = part.strip().partition("=")
        if lane not in LANES or not given:
            raise WrongLoad(f"{name}: {part.strip()[:40]!r} is not LANE=SHARE; lanes are {', '.join(LANES)}")
        if lane in shares:
            raise WrongLoad(f"{name}: {lane} is named twice")
        shares[lane] = share_of(f"{name} {lane}", share)
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise WrongLoad(f"{name}: the shares add up to {sum(shares.values()):.1%}, and must be 100%")
    return shares
