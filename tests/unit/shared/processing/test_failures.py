"""The failure matrix: what an exception means for the message that met it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib import import_module
from typing import Any, cast

import aiohttp
import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
)
from azure.eventhub.exceptions import ConnectError, EventHubError
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    ServiceBusAuthorizationError,
    ServiceBusConnectionError,
    ServiceBusError,
    ServiceBusServerBusyError,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from shared.claim_check import ClaimMissing
from shared.messages import Category, InvalidMessage, MalformedJson, Partial, Reject, Retry, UnknownVersion
from shared.processing import classify
from shared.processing.failures import MATRIX
from shared.sending import NotSent
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


def answered(status: int, headers: dict[str, str] | None = None) -> aiohttp.ClientResponseError:
    """An error of aiohttp's `raise_for_status`."""
    url = URL("http://partner.example/")
    request = aiohttp.RequestInfo(url, "GET", headers={}, real_url=url)  # type: ignore[arg-type]
    return aiohttp.ClientResponseError(request, (), status=status, headers=headers)  # type: ignore[arg-type]


def invalid() -> ValidationError:
    """A model that refuses a handler's own data."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python("x")
    return caught.value


def named(module: str, *names: str) -> BaseException:
    """An exception of a library that may not be installed: its last class, each one a subclass of the one before."""
    kind: type[Exception] = Exception
    for name in names:
        kind = type(name, (kind,), {"__module__": module})
    return kind("x")


def test_every_exception_named_in_the_matrix_exists() -> None:
    """A row with a misspelt name would never fit; what isn't installed can't be asked."""
    missing = []
    for row, _ in MATRIX:
        module, _, name = row.rpartition(".")
        try:
            found = import_module(module)
        except ModuleNotFoundError:
            assert module == "httpx"
            continue
        if not (isinstance(kind := getattr(found, name, None), type) and issubclass(kind, BaseException)):
            missing.append(row)
    assert missing == []


@pytest.mark.parametrize(("row", "category"), MATRIX)
def test_every_row_of_the_matrix_decides(row: str, category: Category) -> None:
    """By module and name, for the class itself and for what is derived from it."""
    module, _, name = row.rpartition(".")
    for error in (named(module, name), named(module, name, "Derived")):
        assert classify(error).category is category


def test_every_status_of_an_answer_decides() -> None:
    """A status that is no failure leaves it to the exception."""
    special = {408: "transient", 409: "transient", 425: "transient", 429: "throttled", 503: "throttled"}
    for status in range(100, 700):
        wanted = special.get(status, "permanent" if 400 <= status < 500 else "transient")
        assert classify(partner(status)).category == wanted


@pytest.mark.parametrize(
    ("error", "category", "code"),
    [
        (Reject("no"), Category.BUSINESS, "REJECTED"),
        (Reject("no", code="BLOCKED"), Category.BUSINESS, "BLOCKED"),
        (Retry(), Category.TRANSIENT, "HANDLER_ERROR"),
        (Partial("half"), Category.PARTIAL, "HANDLER_ERROR"),
        (MalformedJson("x"), Category.INVALID, "MALFORMED_JSON"),
        (InvalidMessage("x"), Category.INVALID, "VALIDATION_ERROR"),
        (UnknownVersion("x"), Category.INVALID, "UNKNOWN_VERSION"),
        (ClaimMissing("x"), Category.INVALID, "CLAIM_MISSING"),
        (invalid(), Category.INVALID, "VALIDATION_ERROR"),
        (TooLarge("x"), Category.PERMANENT, "STATE_TOO_LARGE"),
        (TimeoutError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (ConnectionResetError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (ConnectionRefusedError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (OSError(5, "x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (NotSent("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceRequestError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceRequestTimeoutError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceResponseError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (AzureError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceBusError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceBusConnectionError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (ServiceBusServerBusyError(), Category.THROTTLED, "HANDLER_ERROR"),
        (ServiceBusAuthorizationError(), Category.PERMANENT, "HANDLER_ERROR"),
        (MessageSizeExceededError(), Category.PERMANENT, "HANDLER_ERROR"),
        (EventHubError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (ConnectError("x"), Category.TRANSIENT, "HANDLER_ERROR"),
        (by_status(429), Category.THROTTLED, "HANDLER_ERROR"),
        (by_status(408), Category.TRANSIENT, "HANDLER_ERROR"),
        (by_status(503), Category.THROTTLED, "HANDLER_ERROR"),
        (by_status(500), Category.TRANSIENT, "HANDLER_ERROR"),
        (by_status(400), Category.PERMANENT, "HANDLER_ERROR"),
        (ResourceNotFoundError("x"), Category.TRANSIENT, "HANDLER_ERROR"),  # no answer, so no status
        (ClientAuthenticationError("x"), Category.PERMANENT, "HANDLER_ERROR"),
        (aiohttp.ServerTimeoutError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (aiohttp.ServerDisconnectedError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (aiohttp.ClientOSError(111, "refused"), Category.TRANSIENT, "HANDLER_ERROR"),
        (aiohttp.ClientPayloadError(), Category.TRANSIENT, "HANDLER_ERROR"),
        (aiohttp.InvalidURL("nowhere"), Category.PERMANENT, "HANDLER_ERROR"),
        (aiohttp.NonHttpUrlClientError("ftp://x"), Category.PERMANENT, "HANDLER_ERROR"),
        (answered(404), Category.PERMANENT, "HANDLER_ERROR"),
        (answered(429), Category.THROTTLED, "HANDLER_ERROR"),
        (answered(502), Category.TRANSIENT, "HANDLER_ERROR"),
        (answered(0), Category.TRANSIENT, "HANDLER_ERROR"),
        (partner(None), Category.TRANSIENT, "HANDLER_ERROR"),
        (partner("500"), Category.TRANSIENT, "HANDLER_ERROR"),
        (partner(True), Category.TRANSIENT, "HANDLER_ERROR"),
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
    assert failure.retryable is (category in (Category.TRANSIENT, Category.THROTTLED, Category.PARTIAL))
    assert failure.reason


@pytest.mark.parametrize(
    ("names", "category"),
    [
        (("HTTPError", "RequestError", "TransportError", "TimeoutException", "ReadTimeout"), Category.TRANSIENT),
        (("HTTPError", "RequestError", "TransportError", "TimeoutException", "PoolTimeout"), Category.TRANSIENT),
        (("HTTPError", "RequestError", "TransportError", "NetworkError", "ConnectError"), Category.TRANSIENT),
        (("HTTPError", "RequestError", "TransportError", "ProtocolError", "RemoteProtocolError"), Category.TRANSIENT),
        (("HTTPError", "RequestError", "TransportError", "UnsupportedProtocol"), Category.PERMANENT),
        (("InvalidURL",), Category.PERMANENT),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else str(value),
)
def test_httpx_is_known_by_its_names(names: tuple[str, ...], category: Category) -> None:
    """It says `httpx` of its classes, and older releases `httpx._exceptions`; nothing is imported to know them."""
    assert classify(named("httpx", *names)).category is category
    assert classify(named("httpx._exceptions", *names)).category is category


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("30", 30.0),
        (" 1.5 ", 1.5),
        (30, 30.0),
        ("999999999", 3_600.0),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("-5", None),
        ("9" * 400, None),
        (10**400, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 3_600.0),
        ("Wed, 21 Oct 9999 07:28:00 -0000", None),
        ("soon", None),
        ("", None),
        (None, None),
        ([], None),
    ],
    ids=lambda value: f"{value!s:.32}",
)
def test_retry_after_is_believed_within_an_hour(header: object, after: float | None) -> None:
    """Everything that isn't a time to come is left to the plan."""
    assert classify(partner(429, {"Retry-After": header})).after == after
    assert classify(partner(429, {"retry-after": header})).after == after


def test_retry_after_zero_is_an_answer() -> None:
    """At once, whatever the plan says."""
    assert classify(answered(503, {"Retry-After": "0"})).after == 0.0


def test_retry_after_may_be_a_date() -> None:
    """Seconds until then."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    after = classify(answered(429, {"Retry-After": date})).after
    assert after is not None
    assert 500 < after <= 600


@pytest.mark.parametrize("headers", [None, [], [("Retry-After", "5")], 7, "x"])
@pytest.mark.parametrize(("status", "category"), [(429, Category.THROTTLED), (400, Category.PERMANENT)])
def test_headers_of_any_kind_do_no_harm(headers: object, status: int, category: Category) -> None:
    """Clients differ in what they call headers; the status counts all the same."""
    assert classify(partner(status, headers)).category is category


@given(header=st.one_of(st.text(), st.integers(), st.floats(), st.binary()))
def test_no_header_asks_for_a_senseless_delay(header: object) -> None:
    """Nothing, or zero to an hour."""
    after = classify(partner(503, {"Retry-After": header})).after
    assert after is None or 0 <= after <= 3_600


def test_what_a_handler_asks_for_is_kept() -> None:
    """Of a retry and of a partial failure."""
    assert classify(Retry("later", after=7)).after == 7
    assert classify(Partial("half", after=timedelta(minutes=2))).after == 120
    assert classify(Retry()).after is None


def test_a_reason_is_short_whatever_the_exception_says() -> None:
    """It becomes a column."""
    assert len(classify(ValueError("x" * 100_000)).reason) == 2_000


@pytest.mark.parametrize(
    "error",
    [
        Reject("\ud800" * 5_000, code="\udfff" * 5_000),
        Reject(cast("str", None), code=cast("str", 7)),
        Retry("\ud800" * 5_000),
        Partial("\ud800" * 5_000),
        InvalidMessage("\ud800" * 5_000),
        ValueError("\ud800" * 5_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_failure_says_fits_a_column(error: Exception) -> None:
    """Short, and no half characters: its record must not fail its batch."""
    failure = classify(error)
    assert failure.category is not Category.TRANSIENT or isinstance(error, Retry | ValueError)
    assert len(failure.reason.encode()) <= 4_000
    assert len(failure.code.encode()) <= 128


class Silent(Exception):
    """An exception that can't be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Evasive(Exception):
    """An exception that can't be asked."""

    @property
    def response(self) -> object:
        raise RuntimeError("no answer")


@pytest.mark.parametrize("error", [Silent(), Evasive()])
def test_a_broken_exception_is_worth_another_try(error: Exception) -> None:
    """It must not fail its batch."""
    failure = classify(error)
    assert (failure.category, failure.reason[:7]) == (Category.TRANSIENT, type(error).__name__[:7])


@pytest.mark.parametrize("after", [-1, 604_801, float("nan"), float("inf")])
def test_a_handler_can_not_ask_for_a_senseless_delay(after: float) -> None:
    """Up to seven days, or none."""
    with pytest.raises(ValueError, match="7 days"):
        Retry(after=after)
