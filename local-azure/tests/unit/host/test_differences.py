"""The one table of what differs from the recordings: short, with reasons, and the one that the page shows."""

import json
import re
from pathlib import Path

RECORDINGS = Path(__file__).parents[2] / "recordings"
TABLE = json.loads((RECORDINGS / "differences.json").read_text())


def test_the_page_shows_the_table(project: Path) -> None:
    page = (project / "docs" / "functions-host.md").read_text()
    rows = [f"| {each['name']} | {each['recorded']} | {each['here']} | {each['reason']} |" for each in TABLE]
    section = page[page.index("## What differs from Azure") :]
    assert [line for line in section.splitlines() if line.startswith("| ")][1:] == rows


def test_it_has_at_most_ten_lines_each_with_a_reason() -> None:
    assert len(TABLE) <= 10
    assert all(each["reason"] for each in TABLE)
    assert len({each["name"] for each in TABLE}) == len(TABLE)


def test_what_was_recorded_is_matched_narrowly() -> None:
    """A pattern names a function and a value; what has none was not recorded, and says so."""
    for each in TABLE:
        if each["where"] is None:
            assert "not recorded" in each["reason"] + each["recorded"]
        else:
            assert re.match(r"\^\w", each["where"])
