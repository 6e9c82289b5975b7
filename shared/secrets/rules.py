"""Which key to use: a small table of rules from facts such as region, tier and customer to the name of a secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from shared.settings import is_secret_name

from .errors import NoKeyRule

__all__ = ["KeyRule", "KeyRules"]


@dataclass(frozen=True, slots=True)
class KeyRule:
    """Selects a secret where all of its facts hold.

    Parameters
    ----------
    secret:
        The secret's name; `{fact}` stands for a fact's value, for example `carrier-{region}`. Only letters and digits
        are put in: with a hyphen a fact could reach the key of another rule.
    when:
        Facts that must have these values; none always holds.
    """

    secret: str
    when: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(isinstance(item, str) and item for pair in self.when.items() for item in pair):
            raise ValueError(f"rule for {self.secret!r}: facts and their values are texts, not empty")
        object.__setattr__(self, "when", MappingProxyType(dict(self.when)))
        text = _parts(self.secret)
        if not is_secret_name("".join(part or "x" for part, _ in text)):
            raise ValueError(f"rule for {self.secret!r}: a secret's name has 1 to 127 letters, digits and hyphens")

    def select(self, facts: Mapping[str, str]) -> str | None:
        """The secret's name, or None where the rule doesn't hold or a fact that its name needs is missing.

        Raises
        ------
        NoKeyRule
            A fact that is part of the name has more than letters and digits, or makes it too long.
        """
        if any(facts.get(name) != value for name, value in self.when.items()):
            return None
        parts = []
        for part, fact in _parts(self.secret):
            if fact is None:
                parts.append(part)
                continue
            value = facts.get(fact)
            if not value:
                return None
            if not (value.isascii() and value.isalnum()):
                raise NoKeyRule(self.secret, f"{fact} may have letters and digits only")
            parts.append(value)
        name = "".join(parts)
        if not is_secret_name(name):
            raise NoKeyRule(self.secret, f"these facts make too long a name: {', '.join(sorted(facts))}")
        return name


class KeyRules:
    """The first rule that holds decides, so the special ones come first.

    Example
    -------
    >>> rules = KeyRules(
    ...     KeyRule("carrier-acme", {"customer": "acme"}),
    ...     KeyRule("carrier-{region}-premium", {"tier": "premium"}),
    ...     KeyRule("carrier-{region}"),
    ... )
    >>> rules.select(region="eu", tier="premium")
    'carrier-eu-premium'
    >>> rules.select(region="us", customer="acme")
    'carrier-acme'
    """

    def __init__(self, *rules: KeyRule) -> None:
        if not rules:
            raise ValueError("give at least one rule")
        self._rules: Sequence[KeyRule] = rules

    def select(self, **facts: str) -> str:
        """The name of the secret for these facts.

        Raises
        ------
        NoKeyRule
            No rule holds, or a fact can't be part of a name. The names of the facts are told, their values are not: a
            customer may be among them.
        """
        for rule in self._rules:
            name = rule.select(facts)
            if name is not None:
                return name
        raise NoKeyRule("", f"no rule selects a key by {', '.join(sorted(facts)) or 'nothing'}")


def _parts(template: str) -> list[tuple[str, str | None]]:
    """Pieces of a template: text, or the name of a fact (text then empty)."""
    parts: list[tuple[str, str | None]] = []
    rest = template
    while rest:
        text, brace, after = rest.partition("{")
        if text:
            parts.append((text, None))
        if not brace:
            break
        fact, closed, rest = after.partition("}")
        if not closed or not fact.isidentifier():
            raise ValueError(f"rule for {template!r}: write a fact as {{name}}")
        parts.append(("", fact))
    return parts
