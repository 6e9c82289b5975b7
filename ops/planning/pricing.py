"""What a plan costs, by a table of prices that is a file: a wrong one is refused by its line."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sizing import Plan

__all__ = ["Cost", "Prices", "WrongPrices", "cost_of", "read_prices"]

_MONTH_SECONDS = 30 * 86_400
_METERS = (
    "serviceBus Standard",
    "serviceBus Premium",
    "throughputUnit",
    "processingUnit",
    "alwaysReadyRunGbSecond",
    "millionRuns",
    "millionTableOperations",
    "millionBlobReads",
    "millionBlobWrites",
    "millionBusOperations",
    "millionEvents",
    "millionVaultReads",
    "storageGb",
)
_GB_A_CORE = 2.048


class WrongPrices(ValueError):
    """The file is no table of prices; the message names its line."""


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars by meter, and where each price is from."""

    usd: Mapping[str, float]
    sources: Mapping[str, str]
    file: str


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars of 30 days: by part, and what retries may add at most.

    Attributes
    ----------
    retries:
        What the planned share of retries adds.
    ceiling:
        What the retry budget lets through at most, whatever fails: more retries than that wait.
    """

    parts: Mapping[str, float]
    retries: float
    ceiling: float

    @property
    def planned(self) -> float:
        """With the planned share of retries."""
        return sum(self.parts.values()) + self.retries

    @property
    def most(self) -> float:
        """What retries can't break."""
        return sum(self.parts.values()) + self.ceiling


def read_prices(file: Path) -> Prices:
    """The prices of a file like `infra/prices.json`.

    Raises
    ------
    WrongPrices
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongPrices(f"{file}: can't be read: {error}") from None
    try:
        document: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise WrongPrices(f"{file}, line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise WrongPrices(f"{file}: nested too deep") from None
    meters = document.get("meters") if isinstance(document, dict) else None
    if not isinstance(meters, dict):
        raise WrongPrices(f"{file}, line 1: there is no object meters")
    for name, meter in meters.items():
        if (wrong := _wrong(meter)) is not None:
            raise WrongPrices(f"{file}, line {_line_of(text, name)}: {name[:60]}: {wrong}")
    if missing := [name for name in _METERS if name not in meters]:
        raise WrongPrices(f"{file}, line {_line_of(text, 'meters')}: there is no price of {', '.join(missing)}")
    return Prices(
        {name: float(meter["usd"]) for name, meter in meters.items()},
        {name: str(meter["source"]) for name, meter in meters.items()},
        str(file),
    )


def _wrong(meter: Any) -> str | None:
    if not isinstance(meter, dict):
        return "a price is an object with usd and source"
    usd = meter.get("usd")
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd < 1e9:
        return f"usd must be a number of dollars from 0 on, and is {str(usd)[:20]}"
    if not isinstance(meter.get("source"), str) or not meter["source"].strip():
        return "source must say where the price is from, and when"
    return None


def _line_of(text: str, name: str) -> int:
    found = re.search(rf"{re.escape(json.dumps(name))}\s*:", text)
    return 1 if found is None else text.count("\n", 0, found.start()) + 1


def cost_of(plan: Plan, prices: Prices, retried: Mapping[str, int]) -> Cost:
    """What 30 days cost.

    Parameters
    ----------
    retried:
        Operations of a message that is tried twice.
    """
    usd = prices.usd
    parts = {
        "Service Bus": usd["serviceBus Premium"] * plan.value("messaging units")
        if plan.premium
        else usd["serviceBus Standard"] + _operations(plan.monthly, usd, "bus"),
        "Event Hubs": usd["processingUnit"] * plan.processing_units
        if plan.hub_premium
        else usd["throughputUnit"] * plan.value("throughput units") + _operations(plan.monthly, usd, "events"),
        "tables": _operations(plan.monthly, usd, "table"),
        "claims": _operations(plan.monthly, usd, "blob"),
        "storage": usd["storageGb"] * (plan.value("state kept") + plan.value("claims kept")),
        "Functions": _functions(plan, usd),
        "Key Vault": plan.value("vault reads in 10 s") / 10 * _MONTH_SECONDS / 1e6 * usd["millionVaultReads"],
    }
    again = {name: max(0, retried.get(name, 0) - count) for name, count in _a_message(plan).items()}
    one = _retry(plan, again, usd)
    messages = plan.load.rate * _MONTH_SECONDS
    budget = max(plan.load.retry_budget, plan.load.retries)
    return Cost(parts, messages * plan.load.retries * one, messages * budget * one)


def _a_message(plan: Plan) -> dict[str, int]:
    messages = plan.load.rate * _MONTH_SECONDS
    return {name: round(count / messages) for name, count in plan.monthly.items()}


def _retry(plan: Plan, again: Mapping[str, int], usd: Mapping[str, float]) -> float:
    """Dollars of one more try: its operations, and its share of a run."""
    parts = ("table", "blob", *(() if plan.premium else ("bus",)))
    return sum(_operations(again, usd, part) for part in parts) + _run(plan, usd)


_PRICED = {
    "table point reads": "millionTableOperations",
    "table queries": "millionTableOperations",
    "table entities written": "millionTableOperations",
    "blob reads": "millionBlobReads",
    "blob writes": "millionBlobWrites",
    "bus messages sent": "millionBusOperations",
    "bus messages scheduled": "millionBusOperations",
    "bus messages received": "millionBusOperations",
    "bus settlements": "millionBusOperations",
    "events sent": "millionEvents",
}


def _operations(counts: Mapping[str, float], usd: Mapping[str, float], kind: str) -> float:
    return sum(
        count / 1e6 * usd[_PRICED[name]] for name, count in counts.items() if name in _PRICED and name.startswith(kind)
    )


def _run(plan: Plan, usd: Mapping[str, float]) -> float:
    """Dollars of a message's share of a batch on a lane."""
    load = plan.load
    seconds = load.batch_time / load.batch
    return seconds * load.cores * _GB_A_CORE * usd["alwaysReadyRunGbSecond"] + usd["millionRuns"] / 1e6 / load.batch


def _functions(plan: Plan, usd: Mapping[str, float]) -> float:
    """Batches of the lanes and of the readers, and requests: seconds of memory and executions."""
    load = plan.load
    messages = load.rate * _MONTH_SECONDS
    request = load.request_time / load.concurrency * load.cores * _GB_A_CORE * usd["alwaysReadyRunGbSecond"]
    return messages * ((1 + load.events) * _run(plan, usd) + request + usd["millionRuns"] / 1e6)
