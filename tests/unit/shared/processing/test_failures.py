"""The failure matrix and the retry plan: what an exception means and when the next try comes."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.claim_check import ClaimMissing
from shared.messages import InvalidMessage, MalformedJson, Reject, Retry, UnknownVersion
from shared.processing import Category, RetryPlan, classify
from shared.state import TooLarge


class Response:
    """A partner's answer."""

    def __init__(self, status: object, headers: Any = None) -> None:
        self.status_code = status
        self.headers = headers


def partner(status: object, headers: Any = None) -> Exception:
    """An error with a response, as httpx raises it."""
    error = RuntimeError(f"status {status}")
    error.response = Response(status, headers)  # type: ignore[attr-defined]
    return error


def by_status(status: int) -> HttpResponseError:
    """An error of an Azure SDK."""
    error = HttpResponseError("no")
    error.status_code = status
    return error


def invalid() -> ValidationError:
    """A model that refuses a handler's own data."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("x")
    return caught.value


@pytest.mark.parametrize(
    ("error", "category", "code"),
    [
        (Reject("no"), Category.PERMANENT, "REJECTED"),
        (Reject("no", code="BLOCKED"), Category.PERMANENT, "BLOCKED"),
        (Retry(), Category.TRANSIENT, "HANDLER_ERROR"),
        (MalformedJson("x"), Category.INVALID, "MALFORMED_JSON"),
        (InvalidMessage("x"), Category.INVALID, "VALIDATION_ERROR"),
        (UnknownVersion("x"), Category.INVALID, "UNKNOWN_VERSION"),
        (ClaimMissing("x"), Category.INVALID, "CLAIM_MISSING"),
        (invalid(), Category.INVALID, "VALIDATION_ERROR"),
        (TooLarge("x"), Category.PERMANENT, "STATE_TOO_LARGE"),
        (TimeoutError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (ConnectionResetError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (OSError(5, "x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceRequestError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceResponseError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (AzureError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (by_status(429), Category.THROTTLED, "HANDLER_ERROR"),
        (by_status(408), Category.TRANSIENT, "HANDLER_ERROR"),
        (by_status(503), Category.TRANSIENT, "HANDLER_ERROR"),
        (by_status(400), Category.PERMANENT, "HANDLER_ERROR"),
        (ResourceNotFoundError("x"), Category.TRANSIENT, "HANDLER_ERROR"),  # no answer, so no status
        (ClientAuthenticationError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (partner(429), Category.THROTTLED, "HANDLER_ERROR"),
        (partner(502), Category.TRANSIENT, "HANDLER_ERROR"),
        (partner(422), Category.PERMANENT, "HANDLER_ERROR"),
        (partner(None), Category.TRANSIENT, "HANDLER_ERROR"),
        (partner("500"), Category.TRANSIENT, "HANDLER_ERROR"),
        (KeyError("sku"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ExceptionGroup("many", [ValueError()]), Category.TRANSIENT, "HANDLER_ERROR"),
        (SystemExit(1), Category.PERMANENT, "HANDLER_ERROR"),
        (KeyboardInterrupt(), Category.PERMANENT, "HANDLER_ERROR"),
    ],
    ids=lambda value: f"{type(value).__name__}-{value!s:.20}" if isinstance(value, BaseException) else str(value),
)
def test_an_exception_is_sorted(error: BaseException, category: Category, code: str) -> None:
    """Only what another try may help is tried again."""
    failure = classify(error)
    assert (failure.category, str(failure.code)) == (category, code)
    assert failure.retryable is (category in (Category.TRANSIENT, Category.THROTTLED))
    assert failure.reason


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("30", 30.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        (30, 30.0),
        ("999999999", 3_600.0),
        ("nan", None),
        ("inf", None),
        ("-5", None),
        ("1e5", None),
        ("9" * 400, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_believed_in_seconds_and_within_an_hour(header: object, after: float | None) -> None:
    """Everything else is left to the plan."""
    assert classify(partner(429, {"Retry-After": header})).after == after


@pytest.mark.parametrize("headers", [None, [], [("Retry-After", "5")], 7, "x"])
def test_headers_of_any_kind_do_no_harm(headers: object) -> None:
    """Clients differ in what they call headers."""
    assert classify(partner(429, headers)).retryable


def test_a_reason_is_short_whatever_the_exception_says() -> None:
    """It becomes a column."""
    assert len(classify(ValueError("x" * 100_000)).reason) == 2_000


@given(
    attempt=st.integers(1, 200),
    attempts=st.integers(1, 100),
    base=st.floats(0.001, 3_600),
    factor=st.floats(1, 100),
    drawn=st.floats(0, 1),
)
def test_a_delay_is_within_the_plan_and_ends(
    attempt: int, attempts: int, base: float, factor: float, drawn: float
) -> None:
    """Zero to the cap; None from the last attempt on."""
    plan = RetryPlan(max_attempts=attempts, base=base, cap=base * factor)
    delay = plan.delay(attempt, asked=None, random=lambda: drawn)
    if attempt >= attempts:
        assert delay is None
    else:
        assert delay is not None
        assert 0 <= delay <= plan.cap


def test_delays_double_up_to_the_cap() -> None:
    """At full jitter's upper end."""
    plan = RetryPlan(max_attempts=10, base=2, cap=30)
    assert [plan.delay(attempt, asked=None, random=lambda: 1.0) for attempt in range(1, 7)] == [2, 4, 8, 16, 30, 30]


def test_what_was_asked_for_wins_but_not_over_the_end() -> None:
    """Zero is an answer too."""
    plan = RetryPlan(max_attempts=3, base=2, cap=30)
    assert plan.delay(1, asked=100.0, random=lambda: 1.0) == 100.0
    assert plan.delay(1, asked=0.0, random=lambda: 1.0) == 0.0
    assert plan.delay(3, asked=0.0, random=lambda: 1.0) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0, "base": 1, "cap": 1},
        {"max_attempts": 1, "base": 0, "cap": 1},
        {"max_attempts": 1, "base": 2, "cap": 1},
        {"max_attempts": 1, "base": float("nan"), "cap": 1},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """When the app starts."""
    with pytest.raises(ValueError, match="must be"):
        RetryPlan(**wrong)


@pytest.mark.parametrize("after", [-1, 604_801, float("nan"), float("inf")])
def test_a_handler_can_not_ask_for_a_senseless_delay(after: float) -> None:
    """Up to seven days, or none."""
    with pytest.raises(ValueError, match="7 days"):
        Retry(after=after)
