"""Recorded exchanges with a partner: a file that holds no secret and nobody's data, and replays what happened.

`{"recording": 1, "partner": …, "exchanges": [{"method", "path", "query", "request", "status", "headers", "answer",
"seconds"}]}`. Bodies are JSON; forms and lines of JSON are text, and what else there is isn't kept unless asked for.
Headers of requests aren't kept, and of answers only those that say what an answer is and when to come again.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

__all__ = ["Exchange", "Redaction", "read_recording", "write_recording"]

VERSION = 1
DROPPED = "(a text that was not kept)"
"""What stands for a body that isn't recorded."""
KEPT_HEADERS = frozenset(
    {
        *("content-type", "etag", "last-modified", "cache-control", "vary", "expires", "date", "age", "link"),
        *("retry-after", "ratelimit", "ratelimit-policy", "ratelimit-remaining", "ratelimit-reset"),
        *("x-ratelimit-remaining", "x-ratelimit-reset", "retry-after-ms", "x-ms-retry-after-ms"),
    }
)
_SENSITIVE = re.compile(
    r"auth|bearer|cookie|credential|csrf|hash|hmac|jwt|key|otp|passw|pin\b|pwd|secret|session|sig(?![a-z])|signature|token"
    r"|account|address|birth|card|city|company|contact|customer|cvv|dob(?![a-z])|email|gender|iban|latitude|longitude|mail|mobile"
    r"|name|passport|person|phone|postal|postcode|recipient|sender|ssn|street|tax|user|vat|zip",
    re.IGNORECASE,
)
"""Parts of the names of fields whose values are somebody's, or open something."""
_TELLING = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,190}"  # an address of mail
    r"|(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JSON Web Token
    r"|(?!\d{4}-\d\d-\d\d)\+?\d[\d ()/-]{8,}\d"  # a phone's number, or a card's
    r"|(?<![\w-])(?P<word>[A-Za-z0-9_-]{15,})"  # a key or an IBAN, perhaps
)
_PARAMETER = re.compile(
    r"([?&][^=&\s<>\"]{0,64}(?:auth|code|hmac|key|passw|pwd|secret|sig|token)[^=&\s<>\"]{0,64}=)([^&\s<>\"]+)", re.I
)
"""What a link's parameter opens."""
_FORM_NAME = re.compile(r"[\w.\[\]-]{1,64}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_KEY_LENGTH = 32
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
"""What is redacted wherever it stands: no date, and no UUID."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")


class WrongRecording(ValueError):
    """A file that is no recording; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer.

    Attributes
    ----------
    seconds:
        Until the answer.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    request: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Any = None
    seconds: float = 0.0


class Redaction:
    """Takes out what is secret or somebody's; a value has one placeholder throughout, so that ids still meet.

    Parameters
    ----------
    also:
        More names of fields.
    texts:
        Bodies that are neither JSON, lines of it, nor a form are kept, without what looks secret or somebody's; unless
        it is asked for, they are dropped: no field's name says what they hold.
    """

    def __init__(self, also: Collection[str] = (), *, texts: bool = False) -> None:
        self._texts = texts
        self._also = frozenset(one.lower() for one in also)
        self._known: dict[str, str] = {}

    def __call__(self, exchange: Exchange) -> Exchange:
        """The exchange as it may be kept."""
        return Exchange(
            method=exchange.method,
            path="/".join(self._text(one) for one in exchange.path.split("/")),
            query={name: self._value(name, text) for name, text in exchange.query.items()},
            request=self._body(exchange.request),
            status=exchange.status,
            headers={
                name.lower(): self._text(text)
                for name, text in exchange.headers.items()
                if name.lower() in KEPT_HEADERS
            },
            answer=self._body(exchange.answer),
            seconds=exchange.seconds,
        )

    def _body(self, body: Any) -> Any:
        if not isinstance(body, str) or not body.strip():
            return self._value("", body)
        if (pairs := _form(body)) is not None:
            return urlencode([(self._text(name), self._value(name, value)) for name, value in pairs])
        if (lines := _lines(body)) is not None:
            return "".join(json.dumps(self._value("", one), ensure_ascii=False) + "\n" for one in lines)
        return self._text(body) if self._texts else DROPPED

    def _value(self, name: str, value: Any, *, inside: bool = False) -> Any:
        """Without what its name hides; `inside` what was hidden everything is."""
        hidden = inside or self._hides(name)
        if isinstance(value, Mapping):
            return {str(one): self._value(str(one), part, inside=hidden) for one, part in value.items()}
        if isinstance(value, list):
            return [self._value(name, one, inside=inside) for one in value]
        if isinstance(value, str):
            return self._placeholder(value) if hidden and value else self._text(value)
        return 0 if hidden and isinstance(value, int | float) and not isinstance(value, bool) else value

    def _hides(self, name: str) -> bool:
        return name.lower() in self._also or _SENSITIVE.search(name) is not None

    def _text(self, text: str) -> str:
        for value in sorted(self._known, key=len, reverse=True):
            if len(value) >= 4:  # what was redacted as a field's value is somewhere else too
                text = text.replace(value, self._known[value])
        text = _PARAMETER.sub(lambda found: found[1] + self._placeholder(found[2]), text)
        return _TELLING.sub(lambda found: self._placeholder(found[0]) if _tells(found) else found[0], text)

    def _placeholder(self, value: str) -> str:
        if value not in self._known and value not in self._known.values():
            number = len(self._known) + 1
            self._known[value] = (
                "2000-01-01" + value[10:]
                if _DATE.match(value)
                else f"redacted-{number}@example.com"
                if _MAIL.fullmatch(value)
                else f"redacted-{number}"
            )
        return self._known.get(value, value)


def _form(text: str) -> list[tuple[str, str]] | None:
    """The fields of a form; None where it is none."""
    pairs = [pair.partition("=") for pair in text.strip().split("&")]
    if any(not equals or not _FORM_NAME.fullmatch(unquote_plus(name)) for name, equals, _ in pairs):
        return None
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def _lines(text: str) -> list[Any] | None:
    """What lines of JSON hold; None where they are none."""
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return None


def _tells(found: re.Match[str]) -> bool:
    """A long word is a key where it has letters and digits, and is no UUID."""
    word = found["word"]
    if word is None or _IBAN.fullmatch(word):
        return True
    is_mixed = any(one.isdigit() for one in word) and any(one.isalpha() for one in word)
    return len(word) >= _KEY_LENGTH and is_mixed and not _UUID.fullmatch(word)


def write_recording(partner: str, exchanges: Iterable[Exchange]) -> str:
    """The text of a file; the exchanges are redacted already."""
    content = {"recording": VERSION, "partner": partner, "exchanges": [asdict(one) for one in exchanges]}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def read_recording(text: str) -> tuple[str, list[Exchange]]:
    """The partner and the exchanges of a file.

    Raises
    ------
    WrongRecording
    """
    try:
        content = json.loads(text)
        if content["recording"] != VERSION:
            raise WrongRecording(f"a recording of version {content['recording']}: this reads {VERSION}")
        exchanges = [Exchange(**one) for one in content["exchanges"]]
        if any(not 100 <= one.status <= 599 for one in exchanges):
            raise WrongRecording("no recording: a status is none")
        return str(content["partner"]), exchanges
    except WrongRecording:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise WrongRecording(f"no recording: {type(error).__name__}") from None
