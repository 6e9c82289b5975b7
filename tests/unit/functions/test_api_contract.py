"""The API against its own description: whatever the document promises holds for whatever can be made from it."""

from __future__ import annotations

import os
import secrets

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

import integrations
from shared.authentication import Role, api_key_entry
from shared.messages import discover

from .conftest import ENVIRONMENT, Running

CASES = max(1, int(12 * float(os.environ.get("SLUICE_TEST_SCALE", "1"))))
"""Random requests for each operation, beside those that the document's bounds give."""
KEY = secrets.token_urlsafe(32)


@pytest.fixture
def described() -> schemathesis.BaseSchema:
    """The document, and the app that it describes, for a caller with every role."""
    entry = api_key_entry("contract", KEY, [role.value for role in Role])
    running = Running(
        discover(integrations), ENVIRONMENT | {"SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{entry}]"}
    )
    return schemathesis.openapi.from_asgi("/api/openapi.json", running.asgi, config=SchemathesisConfig())


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_every_answer_is_as_described(case: schemathesis.Case) -> None:
    """Every check of the tool: status, type, headers and shape of answers, what is refused, and who is."""
    case.call_and_validate(headers={"x-api-key": KEY})
