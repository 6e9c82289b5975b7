"""The settings can't say that payloads go before their messages."""

from __future__ import annotations

import pytest

from shared.environment import WrongSettings
from shared.settings import Settings

NEEDED = {
    "ServiceBus": "Endpoint=sb://localhost",
    "EventHubs": "Endpoint=sb://localhost",
    "State": "UseDevelopmentStorage=true",
    "Claims": "UseDevelopmentStorage=true",
    "SLUICE_OPERATION_KEY": "-" * 40,
}


def test_the_defaults_keep_payloads_longer_than_messages() -> None:
    found = Settings.load(NEEDED)
    assert found.claim_retention_days >= found.queue_ttl_days + found.dead_letter_retention_days


@pytest.mark.parametrize(("days", "fine"), [("97", True), ("96", False)])
def test_retention_covers_the_queue_and_the_dead_letters(days: str, fine: bool) -> None:
    environment = NEEDED | {
        "SLUICE_INBOX_RETENTION_DAYS": "200",
        "SLUICE_QUEUE_TTL_DAYS": "7",
        "SLUICE_DEAD_LETTER_RETENTION_DAYS": "90",
        "SLUICE_CLAIM_RETENTION_DAYS": days,
    }
    if fine:
        assert Settings.load(environment).claim_retention_days == 97
        return
    with pytest.raises(WrongSettings, match="SLUICE_CLAIM_RETENTION_DAYS"):
        Settings.load(environment)
