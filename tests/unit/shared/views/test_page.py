"""What docs/views.md shows is code that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from shared.messages import Integration
from shared.testing import project as rows_of
from shared.views import Stage


def test_the_example_counts_and_deletes(project: Path) -> None:
    """As the page says."""
    page = (project / "docs" / "views.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "library"}
    exec(compile(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], "views.md", "exec"), names)
    library = names["library"]
    assert isinstance(library, Integration)
    first = rows_of(library, "item.lent", {"item": "a", "borrower": "me"})["lent-items"]
    assert first is not None
    again = rows_of(library, "item.lent", {"item": "a", "borrower": "you"}, before={"lent-items": first})["lent-items"]
    assert again is not None
    assert again.model_dump() == {"item": "a", "borrower": "you", "times": 2}
    assert rows_of(library, "item.returned", {"item": "a"}, before={"lent-items": again}) == {"lent-items": None}
    stages = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert stages == {one.value for one in Stage if one is not Stage.NONE}
