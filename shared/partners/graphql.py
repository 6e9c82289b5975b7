"""Calls to a GraphQL API (specification of October 2021, GraphQL over HTTP): data, errors, or some of both."""

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

from .partner import PartnerModel

__all__ = ["GraphQLAnswer", "GraphQLError", "codes_of", "only_reads"]

D = TypeVar("D", bound=BaseModel)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_READS = re.compile(r"(?:\s|,|#[^\n\r]*)*(?:query\b|\{)")
_CHANGES = re.compile(r"\b(?:mutation|subscription)\b")


class GraphQLRequest(PartnerModel):
    """As it is sent."""

    query: str
    variables: Mapping[str, Any] = Field(default_factory=dict)
    operation_name: str | None = Field(None, alias="operationName")


class GraphQLError(PartnerModel):
    """One error; its path leads to the field that has no value for it."""

    message: str = ""
    path: tuple[str | int, ...] = ()
    extensions: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def code(self) -> str:
        """`extensions.code`, where it is one."""
        found = str(self.extensions.get("code", ""))
        return found if _CODE.fullmatch(found) else ""


class GraphQLAnswer(PartnerModel, Generic[D]):
    """Data and errors: with both, the data is what could be had."""

    data: D | None = None
    errors: tuple[GraphQLError, ...] = ()


def codes_of(errors: tuple[GraphQLError, ...]) -> str:
    """What may be logged of errors: their codes, not the partner's words."""
    found = sorted({one.code for one in errors} - {""})[:5]
    return f"{len(errors)} errors" + (f" ({', '.join(found)})" if found else "")


def only_reads(document: str) -> bool:
    """Whether a document certainly holds nothing but queries, which may be made again."""
    return _READS.match(document) is not None and _CHANGES.search(document) is None
