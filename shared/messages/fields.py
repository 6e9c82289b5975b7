"""The fields of models by the names that they go by."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["fields_to", "second_names"]


def fields_to(model: type[BaseModel], path: str) -> Iterator[tuple[type[BaseModel], str]]:
    """Each model on the way to a field, with the Python name of its field; raises LookupError where there is none."""
    whole = next((name for name, info in model.model_fields.items() if path in (name, info.alias)), None)
    if whole is not None:
        yield model, whole
        return
    first, _, rest = path.partition(".")
    name = next((name for name, info in model.model_fields.items() if first in (name, info.alias)), None)
    below = None if name is None or not rest else model.model_fields[name].annotation
    if name is None or not (isinstance(below, type) and issubclass(below, BaseModel)):
        raise LookupError(path)
    yield model, name
    yield from fields_to(below, rest)


def second_names(self) -> frozenset[bytes]:
        """The Python names of all fields that JSON spells otherwise, in quotes."""
        return frozenset(f'"{name}"'.encode() for name in second_names(self.envelope.core_schema))

    @cached_property
    def _plainsecond_names(self) -> bool:
        return any(b"_" not in name for name in self.second_names)

    @cached_property
    def plan(self) -> Plan:
        """What the markers of the model that a message was sent by ask for."""
        return plan_of((self.described or self.model) if self.upcasters else self.model)

    def _redact(self, body: bytes) -> Redact | None:
        """How findings of validation are redacted, where the model has protected fields."""
        plan = plan_of(self.model)  # of what was brought up
        if not plan.protects:
            return None
        try:
            secrets = secrets_in(plan, json.loads(body)["data"])
            secrets |= secrets_in(plan, json.loads(body, parse_float=Decimal)["data"])  # as they were written
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
            secrets = set()  # not even JSON with data: validation quotes none of it
        scrub = Scrubber(secrets)

        def tell(location: Sequence[str | int], kind: str, message: str) -> tuple[Sequence[str | int], str]:
            if location[:1] != ("data",):
                return location, scrub(message)
            below, message = redacted_finding(plan, scrub, location[1:], kind, message)
            return ("data", *below), message

        return tell

    def key_of(self, data: BaseModel) -> str:
        """The aggregate that a message belongs to: decides order, partition and transaction."""
        value: Any = data
        for name in self._key_path:
            value = getattr(value, name, None)
        key = "" if value is None else str(value)
        if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
            raise InvalidMessage(
                f"data.{self.key}: must be 1 to {MAX_KEY} printable characters",
                details={"errors": [{"field": f"data.{self.key}", "message": "must name the aggregate"}]},
            )
        return key

    @property
    def refuses_unknown_fields(self) -> bool:
        """Whether the API refuses fields that the contract doesn't have: those of its first version got 202."""
        return self.version != FIRST_VERSION

    def new_key_of(self, data: BaseModel) -> str:
        """The key of a command that comes from outside: one that its own address finds again, on every road.

        The platform and what stands before it decode, clean and cut paths, each in its own way: `/` and `%2F` can't be
        distinguished, nor `A` and `%41`, and `..` never arrives. What was accepted before that was known is still
        processed and read.

        Raises
        ------
        InvalidMessage
        """
        key = self.key_of(data)
        if _IN_NO_PATH & set(key) or key in (".", "..") or key != key.strip():
            message = "must have none of / \\ % ? #, no blank around it, and not be . or .."
            raise InvalidMessage(
                f"data.{self.key}: {message}",
                details={"errors": [{"field": f"data.{self.key}", "message": message}], "count": 1},
            )
        return key

    def lane_of(self, data: BaseModel) -> Lane:
        """The lane a message waits in."""
        return self.priority if isinstance(self.priority, Lane) else Lane(self.priority(data))
