"""Finds protected values in JSON, along the plan of its model, and takes them out: of JSON, texts and findings."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel

from .plan import Leaf, Plan, plan_of

__all__ = ["HIDDEN", "ProtectedValue", "Scrubber", "leaves", "redacted", "redacted_finding", "secrets_in", "secrets_of"]

Person = tuple[str, str]


class ProtectedValue(NamedTuple):
    """A protected value that isn't None, and where it is.

    Attributes
    ----------
    holder, name:
        `holder[name]` is the value.
    path:
        A JSON pointer (RFC 6901).
    person:
        Kind and value of the subject that it is about, where the model says so.
    """

    holder: Any
    name: Any
    leaf: Leaf
    path: str
    person: Person | None


def leaves(plan: Plan, parsed: Any, *, spellings: bool = False) -> list[ProtectedValue]:
    """Every protected value in parsed JSON; what doesn't have the form of its plan is passed over.

    Parameters
    ----------
    spellings:
        Also look at fields under the other names that their model takes.
    """
    found: list[ProtectedValue] = []
    _gather(plan, parsed, "", None, spellings, found)
    return found


def _gather(
    plan: Plan, value: Any, path: str, person: Person | None, spellings: bool, found: list[ProtectedValue]
) -> None:
    if isinstance(value, dict):
        if plan.subject is not None:
            named = value.get(plan.subject[0])
            person = None if named is None else (plan.subject[1].kind, str(named))
        for name, child in plan.fields.items():
            if name in value:
                _at(child, value, name, f"{path}/{name}", person, spellings, found)
        if spellings:
            for name in plan.spellings.keys() & value.keys() - plan.fields.keys():
                _at(plan.spellings[name], value, name, f"{path}/{name}", person, spellings, found)
        if plan.values is not None:
            for name in value:
                segment = name.replace("~", "~0").replace("/", "~1")
                _at(plan.values, value, name, f"{path}/{segment}", person, spellings, found)
    elif isinstance(value, list) and plan.items is not None:
        for number in range(len(value)):
            _at(plan.items, value, number, f"{path}/{number}", person, spellings, found)


def _at(
    plan: Plan, holder: Any, name: Any, path: str, person: Person | None, spellings: bool, found: list[ProtectedValue]
) -> None:
    value = holder[name]
    if value is None:
        return
    if plan.leaf is not None:
        found.append(ProtectedValue(holder, name, plan.leaf, path, person))
    else:
        _gather(plan, value, path, person, spellings, found)


HIDDEN = "[redacted]"
"""Stands where a protected value was."""

MAX_SECRETS = 2_000
MAX_CHARACTERS = 256 * 1024
_WITHHELD = "[withheld: the message holds too many protected values to look for]"
_SHORT = 4
"""Shorter values are only found as whole words: every text holds a 7 or an `a`."""
_WORDED = (
    *(
        "missing",
        "extra_forbidden",
        "none_required",
        "string_",
        "int_",
        "float_",
        "decimal_",
        "bool_",
        "list_",
        "dict_",
    ),
    *("model_type", "date_type", "datetime_type", "datetime_parsing", "timezone_", "uuid_type", "bytes_type", "too_"),
    *("greater_than", "less_than", "finite_number"),
)
"""How the kinds of findings begin whose messages never hold the value (pydantic, "Validation errors")."""
_LONG = 32
_BEGINNING = 24
"""A long value may be quoted cut off; its beginning is looked for as well."""


def redacted(plan: Plan, parsed: Any) -> Any:
    """Parsed JSON with every protected value replaced, in place."""
    for found in leaves(plan, parsed, spellings=True):
        found.holder[found.name] = HIDDEN
    return parsed


def secrets_in(plan: Plan, parsed: Any) -> set[str]:
    """The protected texts and numbers in parsed JSON."""
    found = leaves(plan, parsed, spellings=True)
    return {secret for one in found for secret in _scalars(one.holder[one.name])}


def secrets_of(data: BaseModel) -> set[str]:
    """The protected texts and numbers of a model, as JSON and as Python writes them."""
    plan = plan_of(type(data))
    if not plan.protects:
        return set()
    return {
        secret for mode in ("json", "python") for secret in secrets_in(plan, data.model_dump(mode=mode, by_alias=True))
    }


def _scalars(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _scalars(name)
            yield from _scalars(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _scalars(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def redacted_finding(
    plan: Plan, scrub: Callable[[str], str], location: Sequence[str | int], kind: str, message: str
) -> tuple[Sequence[str | int], str]:
    """A finding of validation, redacted: where it is, and what is wrong.

    Within a protected value the place ends at the value, and only messages that pydantic words itself, without the
    value, are passed on; a message of the model's own may quote anything, so known secrets are taken out of it.
    """
    protected = _protected_part(plan, location)
    if protected is None:
        return location, scrub(message)
    return location[:protected], message if kind.startswith(_WORDED) else "is not valid"


def _protected_part(plan: Plan, location: Sequence[str | int], passed: int = 0) -> int | None:
    """How many steps lead to the protected value that a place is in; None where it is in none."""
    if plan.leaf is not None:
        return passed
    if passed == len(location):
        return None
    step = location[passed]
    named = None if isinstance(step, int) else plan.fields.get(step) or plan.spellings.get(step)
    below = [plan.items] if isinstance(step, int) else [named, plan.values]
    found = [child for child in below if child is not None]
    if not found:  # validation also names the member of a union that it tried
        return _protected_part(plan, location, passed + 1)
    return next((part for one in found if (part := _protected_part(one, location, passed + 1)) is not None), None)


class Scrubber:
    """Takes known secrets out of texts, however they are written there: as they are, escaped or quoted for a URL."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {secret for secret in secrets if secret.strip()}
        self._withhold = len(known) > MAX_SECRETS or sum(map(len, known)) > MAX_CHARACTERS
        forms = set() if self._withhold else {form for secret in known for form in _forms(secret)}
        patterns = [_pattern(form) for form in sorted(forms, key=lambda form: (-len(form), form))]
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        if self._withhold:
            return _WITHHELD
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


def _forms(secret: str) -> set[str]:
    parts = {secret, *(word for word in secret.split() if len(word) >= _SHORT)}
    parts |= {part[:_BEGINNING] for part in parts if len(part) > _LONG}
    written = {form for part in parts for form in (part, repr(part)[1:-1], json.dumps(part)[1:-1], quote(part))}
    return {form for form in written if form.strip()}


def _pattern(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"
