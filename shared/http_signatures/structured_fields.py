"""The part of structured fields (RFC 9651) that signatures need: dictionaries of items and inner lists. No I/O."""

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

from .errors import SignatureRefused

__all__ = ["InnerList", "Item", "Token", "parse_dictionary", "serialize", "serialize_parameters"]

LONGEST = 16_384
MOST_MEMBERS = 64
"""Of a dictionary, an inner list, or parameters."""
_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BYTES = re.compile(r":([A-Za-z0-9+/]*={0,2}):")
_INTEGER = re.compile(r"-?\d{1,15}(?![\d.])")
_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*")


class Token(str):
    """A token, which is written without quotes."""

    __slots__ = ()


Bare = str | int | bytes | bool
Parameters = dict[str, Bare]


@dataclass(frozen=True, slots=True)
class Item:
    """A value with parameters, in the order in which they stand."""

    value: Bare
    parameters: Parameters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InnerList:
    """Items in parentheses, with parameters of the whole."""

    items: tuple[Item, ...]
    parameters: Parameters = field(default_factory=dict)


def parse_dictionary(text: str) -> dict[str, Item | InnerList]:
    """The members of a dictionary.

    Raises
    ------
    SignatureRefused
        It is none, has a member twice, or is longer than anybody needs.
    """
    if len(text) > LONGEST or not text.isascii():
        raise SignatureRefused("a structured field is too long, or not ASCII")
    return _Parser(text.strip(" ")).dictionary()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def dictionary(self) -> dict[str, Item | InnerList]:
        found: dict[str, Item | InnerList] = {}
        while self._at < len(self._text):
            key = self._match(_KEY)
            if key in found or len(found) >= MOST_MEMBERS:
                raise SignatureRefused("a structured field has a member twice, or too many")
            if self._take("="):
                found[key] = self._member()
            else:
                found[key] = Item(True, self._parameters())
            self._skip(" \t")
            if self._at == len(self._text):
                return found
            if not self._take(","):
                raise self._wrong()
            self._skip(" \t")
            if self._at == len(self._text):
                raise self._wrong()
        return found

    def _member(self) -> Item | InnerList:
        if not self._take("("):
            return self._item()
        items: list[Item] = []
        while True:
            self._skip(" ")
            if self._take(")"):
                return InnerList(tuple(items), self._parameters())
            if len(items) >= MOST_MEMBERS or (items and self._text[self._at - 1] != " "):
                raise self._wrong()
            items.append(self._item())

    def _item(self) -> Item:
        return Item(self._bare(), self._parameters())

    def _parameters(self) -> Parameters:
        found: Parameters = {}
        while self._take(";"):
            self._skip(" ")
            key = self._match(_KEY)
            if key in found or len(found) >= MOST_MEMBERS:
                raise SignatureRefused("a structured field has a parameter twice, or too many")
            found[key] = self._bare() if self._take("=") else True
        return found

    def _bare(self) -> Bare:
        start = self._text[self._at : self._at + 1]
        if start == '"':
            return re.sub(r"\\(.)", r"\1", self._match(_STRING)[1:-1])
        if start == ":":
            try:
                return base64.b64decode(self._match(_BYTES)[1:-1], validate=True)
            except binascii.Error:
                raise self._wrong() from None
        if start == "?":
            return self._match(re.compile(r"\?[01]")) == "?1"
        if start == "-" or start.isdigit():
            return int(self._match(_INTEGER))
        return Token(self._match(_TOKEN))

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._wrong()
        self._at = found.end()
        return found[0]

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _skip(self, signs: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in signs:
            self._at += 1

    @staticmethod
    def _wrong() -> SignatureRefused:
        return SignatureRefused("a structured field can't be read")


def serialize(value: Item | InnerList) -> str:
    """As it is written, in the one way that there is."""
    if isinstance(value, InnerList):
        inner = " ".join(serialize(one) for one in value.items)
        return f"({inner}){serialize_parameters(value.parameters)}"
    return _serialize_bare(value.value) + serialize_parameters(value.parameters)


def serialize_parameters(parameters: Parameters) -> str:
    """Parameters with the semicolon before each."""
    return "".join(
        f";{name}" if value is True else f";{name}={_serialize_bare(value)}" for name, value in parameters.items()
    )


def _serialize_bare(value: Any) -> str:
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, Token | int):
        return str(value)
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
