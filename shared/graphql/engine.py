"""Runs queries: each is bounded before it is parsed, validated and measured, and remembered by its text after."""

import hashlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    execute,
    parse,
    specified_rules,
    subscribe,
    validate,
)

from shared.resilience import BoundedCache
from shared.telemetry import log_event

from .context import ReadingContext
from .cost import Cost, Limits, check_size, measure

__all__ = ["Asked", "GraphQLEngine", "Prepared", "Refused"]

_MAX_ERRORS = 10
_DOCUMENTS = 262_144
"""Characters of the queries whose trees are kept, each of which takes some fifty times as much."""
_PERSISTED = 4_194_304


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as it came.

    Attributes
    ----------
    digest:
        SHA-256 of the query in hexadecimal digits, as Apollo's protocol of persisted queries has it.
    """

    query: str | None
    digest: str | None = None
    operation: str | None = None
    variables: Mapping[str, Any]


class Refused(Exception):
    """A request that isn't run; `answer` is the body that says why, `status` 400, or 200 where it is to be repeated."""

    def __init__(self, errors: list[GraphQLError], *, status: int = 400) -> None:
        super().__init__(errors[0].message)
        self.answer: dict[str, Any] = {"errors": [_written(one) for one in errors]}
        self.status = status


class Prepared(NamedTuple):
    """An operation that may be run."""

    document: DocumentNode
    operation: OperationDefinitionNode
    asked: Asked
    cost: Cost

    @property
    def subscribes(self) -> bool:
        """Whether it is a subscription."""
        return self.operation.operation is OperationType.SUBSCRIPTION


class GraphQLEngine:
    """Runs queries on a schema.

    Parameters
    ----------
    explain:
        From an exception of a resolver to the code and message that its caller may know; what it doesn't know (None) is
        logged and masked.
    introspection:
        Whether the schema may be asked for.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        *,
        explain: Callable[[BaseException], tuple[str, str] | None],
        introspection: bool = True,
    ) -> None:
        self.schema = schema
        self.limits = limits
        self._explain = explain
        self._introspection = introspection
        self._rules = [*specified_rules, *([] if introspection else [NoSchemaIntrospectionCustomRule])]
        self._documents: BoundedCache[str, tuple[int, DocumentNode | list[GraphQLError]]] = BoundedCache(
            _DOCUMENTS, size=lambda one: one[0] + 256
        )
        self._persisted: BoundedCache[str, str] = BoundedCache(_PERSISTED, size=lambda text: len(text) + 256)

    def prepare(self, asked: Asked) -> Prepared:
        """The operation, checked and measured.

        Raises
        ------
        Refused
        """
        document = self._document(self._text(asked))
        operation = _operation(document, asked.operation)
        try:
            return Prepared(
                document, operation, asked, measure(self.schema, document, operation, asked.variables, self.limits)
            )
        except GraphQLError as error:
            raise Refused([error]) from None

    def _text(self, asked: Asked) -> str:
        """The query, by its hash where it was sent before (Apollo's automatic persisted queries)."""
        if asked.query is None:
            found = None if asked.digest is None else self._persisted.get(asked.digest)
            if found is not None:
                return found
            if asked.digest is None:
                raise Refused([_error("Send a query.", "BAD_REQUEST")])
            raise Refused([_error("PersistedQueryNotFound", "PERSISTED_QUERY_NOT_FOUND")], status=200)
        if len(asked.query) > self.limits.characters:
            raise Refused([_error(f"A query has at most {self.limits.characters} characters.", "COST_EXCEEDED")])
        if asked.digest is not None:
            if hashlib.sha256(asked.query.encode("utf-8", "surrogatepass")).hexdigest() != asked.digest:
                raise Refused([_error("provided sha does not match query", "BAD_REQUEST")])
            self._persisted.put(asked.digest, asked.query)
        return asked.query

    def _document(self, query: str) -> DocumentNode:
        known = self._documents.get(query)
        if known is None:
            known = self._documents.put(query, (len(query), self._read(query)))
        if isinstance(known[1], list):
            raise Refused(known[1])
        return known[1]

    def _read(self, query: str) -> DocumentNode | list[GraphQLError]:
        try:
            document = parse(query, max_tokens=self.limits.tokens)
            check_size(document, self.limits)
            hide = not self._introspection
            wrong = validate(self.schema, document, self._rules, max_errors=_MAX_ERRORS, hide_suggestions=hide)
        except GraphQLError as error:
            return [error]
        except RecursionError:
            return [_error(f"A query is at most {self.limits.depth} fields deep.", "COST_EXCEEDED")]
        return wrong or document

    async def run(self, prepared: Prepared, context: ReadingContext) -> dict[str, Any]:
        """The answer to a query."""
        context.each = prepared.cost.each
        result = execute(
            self.schema,
            prepared.document,
            context_value=context,
            variable_values=dict(prepared.asked.variables),
            operation_name=prepared.asked.operation,
            hide_suggestions=not self._introspection,
        )
        if not isinstance(result, ExecutionResult):
            result = await result
        return self._answer(result, prepared, context)

    async def follow(self, prepared: Prepared, context: ReadingContext) -> AsyncGenerator[dict[str, Any], None]:
        """The answers to a subscription, one for each change."""
        context.each = prepared.cost.each
        found = subscribe(
            self.schema,
            prepared.document,
            context_value=context,
            variable_values=dict(prepared.asked.variables),
            operation_name=prepared.asked.operation,
            hide_suggestions=not self._introspection,
        )
        results: AsyncIterator[ExecutionResult] | ExecutionResult
        results = await found if hasattr(found, "__await__") else found  # type: ignore[misc]
        if isinstance(results, ExecutionResult):
            yield self._answer(results, prepared, context)
            return
        try:
            async for result in results:
                yield self._answer(result, prepared, context)
                context.renew()
        finally:
            await results.aclose()  # type: ignore[union-attr]

    def _answer(self, result: ExecutionResult, prepared: Prepared, context: ReadingContext) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        if result.errors:
            if not any(one.path for one in result.errors):  # nothing was run: variables that don't fit
                raise Refused(result.errors[:_MAX_ERRORS])
            answer["errors"] = [self._masked(one) for one in result.errors[:_MAX_ERRORS]]
        answer["data"] = result.data
        cost = {"requested": prepared.cost.total, "lists": context.spent, "maximum": self.limits.cost}
        return answer | {"extensions": {"cost": cost}}

    def _masked(self, error: GraphQLError) -> dict[str, Any]:
        failure = error.original_error
        if failure is None or isinstance(failure, GraphQLError):
            return _written(error)
        reported = self._explain(failure)
        if reported is None:
            log_event("request failed", level=logging.ERROR, error=failure, path="graphql")
            reported = "INTERNAL_ERROR", "Something went wrong here."
        code, message = reported
        return {**_written(error), "message": message, "extensions": {"code": code}}


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode:
    found = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    chosen = [one for one in found if name is None or (one.name is not None and one.name.value == name)]
    if len(chosen) != 1:
        raise Refused([_error("Name one of the operations in the query.", "BAD_REQUEST")])
    return chosen[0]


def _error(message: str, code: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


def _written(error: GraphQLError) -> dict[str, Any]:
    written: dict[str, Any] = dict(error.formatted)
    written["message"] = written["message"][:500]
    kind = "GRAPHQL_PARSE_FAILED" if isinstance(error, GraphQLSyntaxError) else "GRAPHQL_VALIDATION_FAILED"
    written.setdefault("extensions", {"code": kind})
    return written
