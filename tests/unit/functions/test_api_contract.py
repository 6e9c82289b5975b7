"""The API against its own description: what the document promises holds for whatever can be made from it."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from schemathesis import openapi
from schemathesis.config import HealthCheck, SchemathesisConfig
from schemathesis.engine import events, from_schema

import integrations
from functions.composition.read_models import read_models
from functions.composition.secrets import secret_cache
from functions.composition.subscriptions import deliveries, subscription_store, wake_queue
from functions.composition.uploads import uploads
from shared.authentication import GRANTED, api_key_entry
from shared.messages import discover
from shared.query import ReadModels, indexes_of
from shared.secrets import Secret
from shared.subscriptions import Deliveries, SubscriptionStore
from shared.tables import MemoryTable
from tests.scale import SCALE
from tests.unit.memory import MemoryUploads, MemoryWakes

from .conftest import ENVIRONMENT, Running, utc_now

CASES = max(1, int(SCALE))
"""Random requests for each operation and kind, beside those that the document's bounds give: some hundreds."""
OLDER = {"customerId", "top", "after"}
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
}


class _Vault:
    """Every secret of senders is one that nobody guesses."""

    async def both(self, name: str) -> tuple[Secret, ...]:
        """As the cache does."""
        return (Secret(name, "whsec_bm9ib2R5IGd1ZXNzZXMgdGhpcw==", "1", datetime(2026, 1, 1, tzinfo=UTC)),)

    async def close(self) -> None:
        """As the cache does."""


def _may_be_refused(check: str, case: Any) -> bool:
    """A query in OData's grammar, which no schema can tell, or one that no index serves; the older question may not.

    Nor does a schema tell where a bulk ends, after which nothing can be asked for.
    """
    asked = set(case.query or {})
    is_query = case.operation.label == "GET /api/orders" and not (asked <= OLDER and "customerId" in asked)
    goes_on = case.operation.label.endswith("/bulk") and "after" in asked
    return check == "positive_data_acceptance" and (is_query or goes_on)


@pytest.mark.timeout(600 + 30 * CASES)
def test_every_answer_is_as_described() -> None:
    """Every check of the tool: status, type, headers and shape of answers, what is refused, and who is; links too."""
    key = secrets.token_urlsafe(32)
    entry = api_key_entry("contract", key, [role.value for role in GRANTED])
    environment = ENVIRONMENT | {"SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{entry}]"}
    registry = discover(integrations)
    parts = {
        uploads: MemoryUploads(),
        read_models: ReadModels(MemoryTable("readmodels"), indexes_of(registry)),
        secret_cache: _Vault(),
        subscription_store: SubscriptionStore(MemoryTable("subscriptions"), None, clock=time.monotonic),
        deliveries: Deliveries(MemoryTable("deliveries"), now=utc_now),
        wake_queue: MemoryWakes(),
    }
    running = Running(registry, environment, parts)
    config = SchemathesisConfig()
    config.update(seed=17, max_failures=None)
    config.projects.default.update(
        headers={"x-api-key": key}, request_timeout=300, suppress_health_check=[HealthCheck.all]
    )
    config.projects.default.generation.update(max_examples=CASES, deterministic=True)
    checked: Counter[str] = Counter()
    failed: list[str] = []
    schema = openapi.from_asgi("/api/openapi.json", running.asgi, config=config)
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            failed.append(str(getattr(event, "info", event)))
        if not isinstance(event, events.ScenarioFinished):
            continue
        for case, checks in event.recorder.checks.items():
            checked.update(check.name for check in checks)
            for check in checks:
                if check.failure_info is not None and not _may_be_refused(check.name, event.recorder.cases[case].value):
                    answer = event.recorder.interactions[case].response
                    sent = event.recorder.cases[case].value.as_curl_command()[:2_000]
                    said = b"" if answer is None else answer.content[:500]
                    failed.append(f"{check.name}: {check.failure_info.failure}, {said!r}, {sent}")
    assert failed == []
    assert checked.keys() >= CHECKS
    assert checked["not_a_server_error"] > 200
