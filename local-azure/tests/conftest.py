"""Fixtures of the whole suite, also where only this folder is collected."""

from __future__ import annotations

from tests.conftest import project  # noqa: F401 (a fixture)
from tests.integration.conftest import azurite, emulator, issuer, vault  # noqa: F401 (fixtures)
