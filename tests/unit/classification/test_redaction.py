"""What is protected is told nowhere: not by validation, not in log lines, not on spans, not in a failure's reason."""

from __future__ import annotations

import io
import json
import logging
import string
from collections.abc import Iterator
from typing import Annotated
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from shared.classification import HIDDEN, Restricted, Scrubber, secrets_of
from shared.messages import Contract, Integration, InvalidMessage, Reject
from shared.processing import classify
from shared.telemetry import hide, hiding, log_event, redact, span
from shared.telemetry.logs import configure_json, configure_platform
from shared.telemetry.redaction import guard_log_records
from tests.unit.traced import traced

PLANTED = "Ada Planted-7731"
PEOPLE = Integration("people")


class Person(Contract):
    """With a validator that quotes what it refuses."""

    key: str
    name: Annotated[str | None, Restricted] = None
    tags: Annotated[dict[str, int], Restricted] = Field(default={})
    note: str = ""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name.startswith("bad"):
            raise ValueError(f"nobody is called {name}")
        return name

    @model_validator(mode="after")
    def _noted(self) -> Person:
        if self.note == "quote":
            raise ValueError(f"{self.name} may have no note")
        return self


@PEOPLE.handles("person.met", key="key")
async def met(person: Person, work: object) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("data", "field", "message"),
    [
        ({"name": f"bad {PLANTED}"}, "data.name", "is not valid"),
        ({"name": [PLANTED]}, "data.name", "Input should be a valid string"),
        ({"tags": {PLANTED: PLANTED}}, "data.tags", "Input should be a valid integer"),
        ({"name": PLANTED, "note": "quote"}, "data", f"{HIDDEN} may have no note"),
    ],
)
def test_validation_doesnt_quote_a_protected_value(data: dict[str, object], field: str, message: str) -> None:
    """Nor the names within a protected object; what isn't protected is told as ever."""
    body = {
        "messageId": "0d8f6f0a-55e2-4a7d-9a54-5a0b5c6f2a41",
        "timestamp": "2026-01-01T00:00:00Z",
        "source": "/x",
        "eventType": "person.met",
        "version": "1.0",
        "data": {"key": "1", **data},
    }
    with pytest.raises(InvalidMessage) as refused:
        PEOPLE.handlers[0].decode(json.dumps(body).encode())
    assert refused.value.details["errors"][0] == {"field": field, "message": message}
    assert "Planted" not in f"{refused.value} {refused.value.details}"


@given(st.text(string.printable, min_size=4).filter(str.strip), st.text(), st.text())
def test_a_secret_is_found_however_it_is_written(secret: str, before: str, after: str) -> None:
    """As it is, as Python and JSON escape it, quoted for a URL, in another case."""
    scrub = Scrubber({secret})
    for written in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret), secret.upper()):
        assert HIDDEN in scrub(f"{before}<{written}>{after}")
        assert scrub(written).replace(HIDDEN, "").strip() == ""


def test_parts_and_beginnings_of_a_secret_are_found() -> None:
    """A name may be quoted by half, a long value cut off; a short one only counts as a word."""
    scrub = Scrubber({PLANTED, "x" * 100, "7"})
    assert scrub(f"Planted-7731 {'x' * 30} 17 7") == f"{HIDDEN} {HIDDEN}xxxxxx 17 {HIDDEN}"


def test_too_many_secrets_withhold_the_text() -> None:
    """Looking for all of them would take longer than the message itself."""
    assert "planted" not in Scrubber({f"planted-{number}" for number in range(3_000)})("quotes planted-1")


class Other(BaseModel):
    """Refuses what it is given, and quotes it shortened."""

    number: int
    more: dict[str, int]


def refuse(person: Person) -> None:
    """As a handler does that builds a model of its own."""
    Other.model_validate({"number": person.name, "more": {"a": f"{person.name} and much more of it" * 5}})


def test_a_reason_holds_no_protected_value() -> None:
    """Not of a rejection, not of an exception of any kind, not where it is cut in the middle of one."""
    person = Person(key="1", name=PLANTED)
    with hiding(person):
        assert classify(Reject(f"{PLANTED} isn't welcome")).reason == f"{HIDDEN} isn't welcome"
        assert classify(KeyError(PLANTED)).reason == f"KeyError: '{HIDDEN}'"
        assert "Plant" not in classify(ValueError("x" * 1_985 + PLANTED)).reason
        with pytest.raises(ValidationError) as refused:
            refuse(person)
        reason = classify(refused.value).reason
    assert "number" in reason
    assert not any(part in reason for part in ("Ada", "Plant", "7731"))


@pytest.fixture(params=["json", "platform"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What the process logs, in either form; its own logging comes back."""
    logger, factory = logging.getLogger("sluice"), logging.getLogRecordFactory()
    before = (logger.level, logger.propagate, list(logger.handlers), list(logger.filters))
    stream = io.StringIO()
    if request.param == "json":
        configure_json(stream)
    else:
        configure_platform()
        logger.propagate = False
        logger.handlers = [logging.StreamHandler(stream)]
    guard_log_records()
    yield stream
    logging.setLogRecordFactory(factory)
    logger.level, logger.propagate, logger.handlers, logger.filters = before


def test_log_lines_hold_no_protected_value(log: io.StringIO) -> None:
    """A field that is a model or quotes one, a stack, a line of anybody's logger, an error that is told later."""
    person = Person(key="1", name=PLANTED, tags={"planted": 4711})
    log_event("met", person=person)
    others = logging.getLogger("sluice.somebody")
    caught: Exception | None = None
    try:
        with hiding(person):
            log_event("met", name=person.name, listed=[person.name], number=4711, other=12, nothing=None)
            others.info("met %s", person.name)
            others.info("%d", person.name)
            try:
                refuse(person)
            except ValidationError as error:
                log_event("failed", level=logging.ERROR, error=error)
                others.exception("failed")
                raise LookupError(f"nobody is called {person.name}") from error
    except LookupError as error:
        caught = error
    log_event("failed", level=logging.ERROR, error=ExceptionGroup("several", [RuntimeError("x"), caught or OSError()]))
    written = log.getvalue()
    assert not any(part in written for part in ("Ada", "Planted", "7731", "4711"))
    assert written.count(HIDDEN) >= 10
    assert '"other": 12' in written
    assert "LookupError: nobody is called" in written


def test_spans_hold_no_protected_value() -> None:
    """Attributes, recorded errors and the status, also where the error leaves the message's own part."""
    person = Person(key="1", name=PLANTED)

    def fail() -> None:
        with span("outer"), hiding(person), span("inner", attributes={"who": PLANTED, "n": 1}) as inner:
            inner.set_attribute("also", PLANTED)
            inner.add_event("seen", {"who": PLANTED})
            raise LookupError(f"nobody is called {person.name}")

    with traced() as kept, pytest.raises(LookupError):
        fail()
    told = kept.written()
    assert [one.name for one in kept.spans] == ["inner", "outer"]
    assert "Planted" not in told
    assert told.count(f"nobody is called {HIDDEN}") >= 4


def test_a_model_without_protected_fields_hides_nothing() -> None:
    """And costs nothing: its values aren't even gathered."""
    with hiding(Other(number=1, more={})):
        assert classify(ValueError("1")).reason == "ValueError: 1"
    assert secrets_of(Other(number=1, more={})) == set()


def test_a_value_that_is_hidden_later_is_kept_out_too(log: io.StringIO) -> None:
    """Where the model protects nothing and where it does; beyond the message by what the error tells, and not else."""
    key = "k3y/of=the partner"
    for model in (Other(number=1, more={}), Person(key="1", name=PLANTED)):
        caught: Exception | None = None
        try:
            with hiding(model):
                log_event("before", text="k3y/of")
                hide(key)
                hide(key)
                log_event("after", url=f"https://partner.example/?key={quote(key)}")
                assert classify(ValueError(f"401 for {key}")).reason == f"ValueError: 401 for {HIDDEN}"
                raise LookupError(f"no {key}")
        except LookupError as error:
            caught = error
        log_event("later", level=logging.ERROR, error=caught or OSError())
    log_event("elsewhere", text=key)
    lines = log.getvalue().splitlines()
    assert [line for line in lines if key in line] == [line for line in lines if "elsewhere" in line]
    assert not any(quote(key) in line for line in lines)
    assert sum("LookupError: no" in line and HIDDEN in line for line in lines) >= 2
    hide("outside of a message there is nothing to do")
    assert redact("outside of a message there is nothing to do").startswith("outside")
