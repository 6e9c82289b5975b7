"""What the app asks of storage and of the broker is what the kept page says."""

from __future__ import annotations

import pytest

from bench.operations import PAGE, count_all, page


@pytest.mark.timeout(240)
def test_each_kind_of_message_asks_for_what_the_page_says() -> None:
    """A change that asks for more, or for less, is seen: `dev.py bench operations --write` keeps the new page."""
    assert page(count_all()) == PAGE.read_text(encoding="utf-8")
