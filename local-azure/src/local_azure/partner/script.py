"""What the simulated partner does to a request: rules that are read from JSON, and chosen without I/O.

A script is `{"rules": [...]}`; the first rule that fits a request and still has times left decides. A rule may say:

- `method`, `path`: which requests it is for; the path may hold `*` as file names do. All of them without.
- `unless`: headers that a request has for which it isn't: `{"X-API-Key": "the right one"}` with a `status` of 401.
- `times`: for how many requests. `chance`: for which share of them. `from`, `until`: seconds since the start.
- `status`, `headers`, `json` or `text`: the answer. Without a status the partner does what it was asked.
- `delay`: seconds before the answer, a number or `[least, most]`.
- `drip`: seconds between the pieces of the body.
- `size`: the body is so many bytes instead; with `gzip: true` it is compressed.
- `reset`: the connection breaks, "before" anything is done or "after" it was done.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, Self

__all__ = ["Behaviour", "Rule", "Script", "WrongScript"]

_KNOWN: Final = frozenset(
    {
        *("method", "path", "unless", "times", "chance", "from", "until"),
        *("status", "headers", "json", "text", "delay", "drip", "size", "gzip", "reset"),
    }
)


class WrongScript(ValueError):
    """A script that can't be followed; the message says which rule, and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What happens to one request. Without a status the partner does what it was asked."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay: tuple[float, float] = (0.0, 0.0)
    drip: float = 0.0
    size: int | None = None
    gzip: bool = False
    reset: Literal["", "before", "after"] = ""


@dataclass(slots=True, kw_only=True)
class Rule:
    """A behaviour, and which requests it is for; `times` is how often it will still be chosen."""

    behaviour: Behaviour
    method: str = "*"
    path: str = "*"
    unless: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None
    chance: float = 1.0
    begins: float = 0.0
    ends: float | None = None

    @classmethod
    def of(cls, content: Any) -> Self:
        """Read a rule.

        Raises
        ------
        WrongScript
        """
        if not isinstance(content, Mapping):
            raise WrongScript("a rule is an object")
        unknown = sorted(set(content) - _KNOWN)
        if unknown:
            raise WrongScript(f"a rule has no {', '.join(unknown)}")
        try:
            return cls(
                behaviour=_behaviour(content),
                method=str(content.get("method", "*")).upper(),
                path=str(content.get("path", "*")),
                unless={str(name).lower(): str(value) for name, value in dict(content.get("unless", {})).items()},
                times=None if content.get("times") is None else int(content["times"]),
                chance=float(content.get("chance", 1.0)),
                begins=float(content.get("from", 0.0)),
                ends=None if content.get("until") is None else float(content["until"]),
            )
        except (TypeError, ValueError) as error:
            raise WrongScript(f"the rule {json.dumps(content)[:200]}: {error}") from None

    def fits(self, method: str, path: str, seconds: float, headers: Mapping[str, str]) -> bool:
        """Whether it is for this request, made so many seconds after the start; header names are in lower case."""
        if self.times == 0 or seconds < self.begins or (self.ends is not None and seconds >= self.ends):
            return False
        if self.unless and all(headers.get(name) == value for name, value in self.unless.items()):
            return False
        return self.method in ("*", method) and fnmatchcase(path, self.path)


class Script:
    """The rules, in order.

    Parameters
    ----------
    random:
        Returns 0 … 1, for chances and delays.
    """

    def __init__(self, rules: list[Rule] | None = None, *, random: Callable[[], float]) -> None:
        self.rules = rules or []
        self.random = random

    def read(self, text: str | bytes) -> None:
        """Take the rules of a script in JSON in place of those that are there.

        What else a script holds is read by others, see `local_azure.partner.webhooks`.

        Raises
        ------
        WrongScript
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise WrongScript(f"no JSON: {error}") from None
        if not isinstance(content, dict) or not isinstance(content.get("rules"), list):
            raise WrongScript('a script is {"rules": [...]}')
        self.rules = [Rule.of(one) for one in content["rules"]]

    def behaviour(self, method: str, path: str, seconds: float, headers: Mapping[str, str] | None = None) -> Behaviour:
        """What happens to a request that comes so many seconds after the start; it is counted."""
        for rule in self.rules:
            if rule.fits(method, path, seconds, headers or {}) and (rule.chance >= 1 or self.random() < rule.chance):
                if rule.times is not None:
                    rule.times -= 1
                return rule.behaviour
        return Behaviour()

    def delay(self, behaviour: Behaviour) -> float:
        """Seconds to wait before the answer."""
        least, most = behaviour.delay
        return least + (most - least) * self.random()


def _behaviour(content: Mapping[str, Any]) -> Behaviour:
    status = content.get("status")
    if status is not None and not 200 <= int(status) <= 599:
        raise ValueError("status is 200 to 599")
    headers = {str(name): str(value) for name, value in dict(content.get("headers", {})).items()}
    body = None
    if "json" in content:
        body = json.dumps(content["json"]).encode()
        headers.setdefault("Content-Type", "application/json")
    elif "text" in content:
        body = str(content["text"]).encode()
    reset = content.get("reset", "")
    if reset not in ("", "before", "after"):
        raise ValueError('reset is "before" or "after"')
    delay = content.get("delay", 0.0)
    least, most = delay if isinstance(delay, list) else (delay, delay)
    return Behaviour(
        status=None if status is None else int(status),
        headers=headers,
        body=body,
        delay=(float(least), float(most)),
        drip=float(content.get("drip", 0.0)),
        size=None if content.get("size") is None else int(content["size"]),
        gzip=bool(content.get("gzip", False)),
        reset=reset,
    )
