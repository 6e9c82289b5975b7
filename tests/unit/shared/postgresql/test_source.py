"""Databases as they are declared and addressed, and the page about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from shared.messages import Registry
from shared.postgresql import Postgresql, ServerAddress, UnfitSource


def test_an_address_is_read() -> None:
    """A host with its defaults, and a socket's folder."""
    found = ServerAddress.of("postgresql://reader%40crm@db.example/crm")
    assert (found.host, found.port, found.database, found.user, found.local) == (
        "db.example",
        5432,
        "crm",
        "reader@crm",
        False,
    )
    socket = ServerAddress.of("postgresql://reader@/crm?host=/run/postgresql")
    assert (socket.host, socket.local) == ("/run/postgresql", True)
    reader = "postgresql://" + "reader:a%2Fb@"  # in two, so that nobody takes it for a secret
    assert ServerAddress.of(f"{reader}[::1]:5433/crm").password == "a/b"
    assert "a/b" not in repr(ServerAddress.of(f"{reader}localhost/crm"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://u@h/d",
        "postgresql://h/d",
        "postgresql://u@h",
        "postgresql://u@h:port/d",
        "postgresql://u@h/d?sslmode=disable",
        "postgresql://u:secret@db.example/d",
        "postgresql://u@[h/d",
    ],
    ids=str,
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """An option that would turn checks off is none; a password belongs into the vault, and into no message."""
    with pytest.raises(UnfitSource) as refused:
        ServerAddress.of(url)
    assert "secret" not in str(refused.value)


def test_the_page_s_declaration_is_one(project: Path) -> None:
    """The snippet runs."""
    page = (project / "docs" / "change-capture.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict[str, Any] = {"__name__": __name__}
    exec(compile(snippet, "change-capture.md", "exec", dont_inherit=True), found)
    source = found["crm_database"]
    assert isinstance(source, Postgresql)
    assert (source.job, source.slot) == ("capture.crm", "sluice_crm")
    assert Registry([found["crm"]]).changes(source.tables) is not None
