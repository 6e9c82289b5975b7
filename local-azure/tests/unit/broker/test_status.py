"""The status page as text."""

from datetime import UTC, datetime
from html.parser import HTMLParser

from local_azure.broker.status import render_status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COUNTS = {"active": 1234567, "locked": 2, "scheduled": 0, "deferred": 0, "deadLetter": 3, "enqueuedTotal": 9}
PARTITION = {"firstSequence": 10, "lastSequence": 19, "count": 10}


class Outline(HTMLParser):
    """Collects the text and checks that elements are nested properly."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_an_empty_namespace_has_a_page() -> None:
    texts = Outline(render_status({"queues": {}, "topics": {}, "eventHubs": {}, "connections": 0}, NOW)).texts
    assert texts.count("None") == 3
    assert "2026-01-02 03:04:05 UTC" in texts


def test_every_entity_and_its_counts_are_shown() -> None:
    snapshot = {
        "queues": {"orders": COUNTS},
        "topics": {"news": {"subscriptions": {"mail": COUNTS}}},
        "eventHubs": {"events": {"partitions": {"0": PARTITION}, "consumerGroups": ["$Default", "views"]}},
        "connections": 4,
    }
    texts = Outline(render_status(snapshot, NOW)).texts
    for text in ("orders", "news", "mail", "events", "Partition 0", "$Default, views", "1,234,567", "4"):
        assert text in texts
    assert texts.count("1,234,567") == 2
    assert "2,469,134" in texts


def test_names_cannot_break_out_of_the_page() -> None:
    nasty = "<script>alert(1)</script>&\"'"
    snapshot = {
        "queues": {nasty: COUNTS},
        "topics": {nasty: {"subscriptions": {nasty: COUNTS}}},
        "eventHubs": {nasty: {"partitions": {nasty: PARTITION}, "consumerGroups": [nasty]}},
        "connections": 0,
    }
    page = render_status(snapshot, NOW)
    assert "<script" not in page
    assert Outline(page).texts.count(nasty) == 5


def test_an_empty_partition_has_no_numbers() -> None:
    part = {"firstSequence": None, "lastSequence": None, "count": 0}
    hubs = {"h": {"partitions": {"0": part}, "consumerGroups": []}}
    assert "–" in render_status({"queues": {}, "topics": {}, "eventHubs": hubs, "connections": 0}, NOW)
