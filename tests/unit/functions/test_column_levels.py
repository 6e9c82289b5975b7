"""How sensitive the columns of the lake's tables are for who reads them: as models say, and never less."""

from __future__ import annotations

import integrations
from functions.composition.datasets import column_levels
from shared.classification import Classification
from shared.datasets import CLASSIFICATION
from shared.messages import discover
from tests.unit.functions.conftest import Running


def test_a_column_that_the_model_has_no_more_is_hidden() -> None:
    """The table of silver keeps it with what was in it, and nobody knows how sensitive that was."""
    levels = Running(discover(integrations)).composition.get(column_levels)
    silver = levels("silver", "order_accepted")
    assert silver("mail_of_earlier_versions", {}) is Classification.RESTRICTED
    assert silver("email", {}) is Classification.RESTRICTED
    for column in ("country", "event_id", "customer_id_token"):
        assert silver(column, {}) is Classification.INTERNAL
    assert silver("country", {CLASSIFICATION: "confidential"}) is Classification.CONFIDENTIAL
    for elsewhere in (levels("gold", "order_accepted"), levels("silver", "unknown")):
        assert elsewhere("anything", {}) is Classification.INTERNAL
