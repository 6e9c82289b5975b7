"""Plans: how often a client may call, how much in a day and a month, and what that costs.

The plans of an app are one line of JSON:

    {"default": "standard", "clients": {"acme": "gold"},
     "plans": {"standard": {"rate": 50, "burst": 100, "routes": {"POST /orders": {"rate": 20}},
                            "quotas": {"day": 100000, "month": 2000000},
                            "prices": {"currency": "EUR", "request": "0.0001"}},
               "gold": {"rate": 500, "priority": "high"}}}
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from math import inf
from typing import Any

__all__ = ["Period", "Plan", "Plans", "Prices", "Rate", "WrongPlans"]

MOST_PLANS, MOST_CLIENTS, MOST_ROUTES = 50, 10_000, 50
HIGHEST_RATE, LONGEST_FILL = 100_000, 86_400
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")
_ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/|(/\$?[A-Za-z0-9._~{}-]+)+)")
_CURRENCY = re.compile(r"[A-Z]{3}")
_BURST_SHARE = 0.5
"""Of a second's tokens that a burst holds at least: instances lease tokens in blocks, and need some ahead."""


class WrongPlans(ValueError):
    """The plans can't be read, or can't be kept; the message names every fault."""


class Period(StrEnum):
    """What a quota is for: a day or a month, in UTC."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A token bucket.

    Attributes
    ----------
    rate:
        Tokens a second; a request takes one, unless it is charged with more.
    burst:
        Tokens of a full bucket: in any span of time no more than `burst + rate × seconds` are admitted.
    """

    rate: float
    burst: int


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a request, an accepted message and a gigabyte (10⁹ bytes of bodies, both ways) cost."""

    currency: str = "EUR"
    request: Decimal = Decimal(0)
    message: Decimal = Decimal(0)
    gigabyte: Decimal = Decimal(0)

    def amount(self, *, requests: int, messages: int, size: int) -> Decimal:
        """What so much costs, exact."""
        return self.request * requests + self.message * messages + self.gigabyte * size / 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the clients of a plan may do.

    Attributes
    ----------
    rate:
        Of all requests together; None where only routes are limited.
    routes:
        By method and path such as `POST /orders`: further buckets, of which a request needs a token too.
    quotas:
        Requests in a period.
    is_high:
        Under overload these clients' requests are shed after everybody else's.
    """

    name: str
    rate: Rate | None = None
    routes: Mapping[str, Rate] = field(default_factory=dict)
    quotas: Mapping[Period, int] = field(default_factory=dict)
    prices: Prices = field(default_factory=Prices)
    is_high: bool = False


@dataclass(frozen=True, kw_only=True)
class Plans:
    """All plans, and who has which."""

    plans: Mapping[str, Plan]
    default: str
    clients: Mapping[str, str] = field(default_factory=dict)

    def of(self, client: str) -> Plan:
        """The plan of a client; the default one where none is named for it."""
        return self.plans[self.clients.get(client, self.default)]

    @classmethod
    def parse(cls, text: str) -> "Plans":
        """Read the JSON of all plans.

        Raises
        ------
        WrongPlans
            Names every fault.
        """
        try:
            document = json.loads(text, object_pairs_hook=_once)
        except RecursionError:
            raise WrongPlans("is nested too deep") from None
        except WrongPlans:
            raise
        except ValueError:
            raise WrongPlans("is not valid JSON") from None
        wrong: list[str] = []
        found = _plans(document, wrong)
        if found is None or wrong:
            raise WrongPlans("; ".join(wrong[:20]))
        return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise WrongPlans("names something twice")
    return found


def _plans(document: Any, wrong: list[str]) -> Plans | None:
    if not _keys(document, {"default", "clients", "plans"}, "the document", wrong):
        return None
    given, clients, default = document.get("plans"), document.get("clients", {}), document.get("default")
    if not isinstance(given, dict) or not 1 <= len(given) <= MOST_PLANS:
        wrong.append(f"plans must be an object of 1 to {MOST_PLANS}")
        return None
    plans = {name: _plan(name, one, wrong) for name, one in given.items()}
    if not isinstance(default, str) or default not in plans:
        wrong.append("default must name one of the plans")
    if not isinstance(clients, dict) or len(clients) > MOST_CLIENTS:
        wrong.append(f"clients must be an object of at most {MOST_CLIENTS}")
        return None
    for client, plan in clients.items():
        if not 1 <= len(client) <= 256 or not client.isprintable():
            wrong.append("clients: a name has 1 to 256 printable characters")
        if not isinstance(plan, str) or plan not in plans:
            wrong.append(f"clients: {client[:40]} has a plan that isn't there")
    return Plans(plans=plans, default=str(default), clients=dict(clients))


def _plan(name: str, given: Any, wrong: list[str]) -> Plan:
    where = f"plans.{name[:40]}"
    if not _NAME.fullmatch(name):
        wrong.append(f"{where}: a plan's name has 1 to 40 of A-Z a-z 0-9 . _ -")
    if not _keys(given, {"rate", "burst", "routes", "quotas", "prices", "priority"}, where, wrong):
        return Plan(name=name)
    rate = (
        _rate({one: given[one] for one in ("rate", "burst") if one in given}, where, wrong) if "rate" in given else None
    )
    if "burst" in given and "rate" not in given:
        wrong.append(f"{where}: burst without rate")
    routes: dict[str, Rate] = {}
    for route, one in _object(given, "routes", where, wrong).items():
        if not _ROUTE.fullmatch(route) or len(routes) >= MOST_ROUTES:
            wrong.append(f"{where}.routes: a route is like 'POST /orders', and there are {MOST_ROUTES} at most")
        elif (found := _rate(one, f"{where}.routes.{route}", wrong)) is not None:
            routes[route] = found
            if rate is not None and found.rate > rate.rate:
                wrong.append(f"{where}.routes.{route}: {found.rate:g}/s is above the plan's own {rate.rate:g}/s")
    priority = given.get("priority", "normal")
    if priority not in ("normal", "high"):
        wrong.append(f"{where}.priority is normal or high")
    quotas = _quotas(given, where, wrong)
    return Plan(
        name=name,
        rate=rate,
        routes=routes,
        quotas=quotas,
        prices=_prices(_object(given, "prices", where, wrong), where, wrong),
        is_high=priority == "high",
    )


def _rate(given: Any, where: str, wrong: list[str]) -> Rate | None:
    if not _keys(given, {"rate", "burst"}, where, wrong):
        return None
    rate = given.get("rate")
    if not _is_number(rate) or not 0 < rate <= HIGHEST_RATE:
        wrong.append(f"{where}.rate is a number above 0, at most {HIGHEST_RATE}, of tokens a second")
        return None
    least = max(2, int(rate * _BURST_SHARE))
    burst = given.get("burst", max(2, int(rate)))
    if type(burst) is not int or not least <= burst <= rate * LONGEST_FILL + 2:
        wrong.append(f"{where}.burst is a whole number from {least} on that fills within a day")
        return None
    return Rate(rate=float(rate), burst=burst)


def _quotas(given: Mapping[str, Any], where: str, wrong: list[str]) -> dict[Period, int]:
    found: dict[Period, int] = {}
    for period, most in _object(given, "quotas", where, wrong).items():
        if period not in set(Period) or type(most) is not int or not 1 <= most <= 10**12:
            wrong.append(f"{where}.quotas: day and month are whole numbers from 1 to 10^12")
        else:
            found[Period(period)] = most
    if found.get(Period.MONTH, inf) < found.get(Period.DAY, 0):
        wrong.append(f"{where}.quotas: the month's is below the day's")
    return found


def _prices(given: Mapping[str, Any], where: str, wrong: list[str]) -> Prices:
    if not _keys(given, {"currency", "request", "message", "gigabyte"}, f"{where}.prices", wrong):
        return Prices()
    currency = given.get("currency", "EUR")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        wrong.append(f"{where}.prices.currency is three capital letters")
        return Prices()
    amounts: dict[str, Decimal] = {}
    for name in given.keys() - {"currency"}:
        try:
            amounts[name] = Decimal(str(given[name]) if not isinstance(given[name], bool) else "")
            if not 0 <= amounts[name] <= 1_000_000:
                raise InvalidOperation
        except InvalidOperation:
            wrong.append(f"{where}.prices.{name} is a number from 0 to 1000000, better as a text")
            return Prices()
    return Prices(currency=currency, **amounts)


def _keys(given: Any, known: set[str], where: str, wrong: list[str]) -> bool:
    if not isinstance(given, dict):
        wrong.append(f"{where} must be an object")
        return False
    if unknown := given.keys() - known:
        wrong.append(f"{where} has {', '.join(sorted(unknown))[:80]}, which nobody knows")
    return True


def _object(given: Mapping[str, Any], name: str, where: str, wrong: list[str]) -> Mapping[str, Any]:
    found = given.get(name, {})
    if isinstance(found, dict):
        return found
    wrong.append(f"{where}.{name} must be an object")
    return {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < inf
