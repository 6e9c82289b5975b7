"""Calls to a GraphQL API (specification of October 2021, GraphQL over HTTP): data, errors, or some of both."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, RootModel
from pydantic_core import to_json

from .answers import read_model
from .errors import InvalidAnswer, PartnerRefused
from .partner import PartnerModel

__all__ = ["GraphQLAnswer", "GraphQLError", "GraphQLReceived", "answer_of", "only_reads"]

D = TypeVar("D", bound=BaseModel)
_REFUSAL_BYTES = 16 * 1024
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
    path: Annotated[tuple[str | int, ...], BeforeValidator(lambda given: given if given is not None else ())] = ()
    extensions: Annotated[Mapping[str, Any], BeforeValidator(lambda given: given if given is not None else {})] = Field(
        default_factory=dict
    )

    @property
    def code(self) -> str:
        """`extensions.code`, where it is one."""
        found = str(self.extensions.get("code", ""))
        return found if _CODE.fullmatch(found) else ""


class GraphQLAnswer(PartnerModel, Generic[D]):
    """Data and errors: with both, the data is what could be had."""

    data: D | None = None
    errors: tuple[GraphQLError, ...] = ()


class Other(RootModel[Any]):
    """Null, or what nobody agreed on."""


class GraphQLReceived(PartnerModel, Generic[D]):
    """As it comes: data that isn't what was agreed doesn't hide the errors that say why."""

    data: D | Other = Field(Other(None), union_mode="left_to_right")
    errors: Annotated[tuple[GraphQLError, ...], BeforeValidator(lambda given: given if given is not None else ())] = ()


def answer_of(
    partner: str, endpoint: str, received: GraphQLReceived[D], data: type[D], *, partial: bool
) -> GraphQLAnswer[D]:
    """Data, and with `partial` the errors beside it.

    Raises
    ------
    PartnerRefused
        There are errors.
    InvalidAnswer
    """
    found, errors = received.data, received.errors
    if errors and (not partial or isinstance(found, Other)):
        words = b",".join(one.model_dump_json().encode() for one in errors)[:_REFUSAL_BYTES]
        raise PartnerRefused(partner, endpoint, f"answered with {codes_of(errors)}", status=200, body=words)
    if isinstance(found, Other):
        if found.root is None:
            raise InvalidAnswer(partner, endpoint, "answered with neither data nor errors")
        found = read_model(partner, endpoint, to_json(found.root), data)  # which says what is wrong with it
    return GraphQLAnswer[data](data=found, errors=errors)  # type: ignore[valid-type]  # a model of this call's data


def codes_of(errors: tuple[GraphQLError, ...]) -> str:
    """What may be logged of errors: their codes, not the partner's words."""
    found = sorted({one.code for one in errors} - {""})[:5]
    return f"{len(errors)} errors" + (f" ({', '.join(found)})" if found else "")


def only_reads(document: str) -> bool:
    """Whether a document certainly holds nothing but queries, which may be made again."""
    return _READS.match(document) is not None and _CHANGES.search(document) is None
