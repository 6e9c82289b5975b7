"""Cuts SQL text into tokens."""

import re
from dataclasses import dataclass
from typing import Any

from local_azure.broker.rules.errors import RuleSyntaxError

__all__ = ["Token", "tokenize"]

_MAX_LONG = 2**63 - 1
_KEYWORDS = frozenset(
    {"AND", "OR", "NOT", "IN", "LIKE", "ESCAPE", "IS", "NULL", "EXISTS", "TRUE", "FALSE", "SET", "REMOVE"}
)
_RESERVED = frozenset(
    {
        "AS",
        "BEGIN",
        "BETWEEN",
        "BREAK",
        "CATCH",
        "COALESCE",
        "CONTINUE",
        "CONVERT",
        "DECLARE",
        "ELSE",
        "END",
        "GOTO",
        "IF",
        "NULLIF",
        "TRY",
        "WHILE",
    }
)
"""Kept for later: no names unless delimited. Of the language as WindowsAzure.ServiceBus, Microsoft's older .NET client,
carries it (compatibility level 20)."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
    | (?P<real>(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
    | (?P<whole>[0-9]+)
    | '(?P<string>(?:[^']|'')*)'
    | \[(?P<delimited>(?:[^\]]|\]\])+)\]
    | "(?P<quoted>(?:[^"]|"")+)"
    | @(?P<parameter>\w+)
    | (?P<word>[^\W\d_]\w*)
    | (?P<symbol><>|!=|<=|>=|[=<>+\-*/%(),.;])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its kind (`name`, `word`, `keyword`, `constant`, `parameter`, `symbol`, `end`), value, place.

    A `word` is a name that was not delimited, so that it may also be a scope or a function.
    """

    kind: str
    value: Any
    position: int


def tokenize(text: str) -> list[Token]:
    """The tokens of `text` and one of kind `end`. Raises `RuleSyntaxError`."""
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise RuleSyntaxError(f"unexpected {text[position]!r}", position)
        kind = match.lastgroup or ""
        if kind != "space":
            tokens.append(_token(kind, match[kind], position))
        position = match.end()
        if kind in ("whole", "real") and re.match(r"\w", text[position : position + 1]):
            raise RuleSyntaxError("a number runs into a name", position)
    return [*tokens, Token("end", None, len(text))]


def _token(kind: str, text: str, position: int) -> Token:
    if kind == "whole":
        number = int(text) if len(text) <= 19 else _MAX_LONG + 1
        if number > _MAX_LONG:
            raise RuleSyntaxError("a whole number of more than 64 bits", position)
        return Token("constant", number, position)
    if kind == "real":
        return Token("constant", float(text), position)
    if kind == "string":
        return Token("constant", text.replace("''", "'"), position)
    if kind == "delimited":
        return Token("name", text.replace("]]", "]"), position)
    if kind == "quoted":
        return Token("name", text.replace('""', '"'), position)
    if kind == "word" and text.upper() in _RESERVED:
        raise RuleSyntaxError(f"{text} is a reserved word: write [{text}] for a property of that name", position)
    if kind == "word" and text.upper() in _KEYWORDS:
        return Token("keyword", text.upper(), position)
    return Token(kind, text, position)
