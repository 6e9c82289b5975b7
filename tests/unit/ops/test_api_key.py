"""`dev.py api-key`: what it prints is a key that the app takes."""

from __future__ import annotations

import pytest

from ops.api_key import main
from shared.authentication import ApiKeys, Caller, Role


def test_the_entry_lets_the_key_in(capsys: pytest.CaptureFixture[str]) -> None:
    """The key and its entry belong together, and two keys differ."""
    keys = set()
    for _ in range(2):
        assert main(["shop", "--roles", "producer,reader"]) == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        key, entry = lines[1], lines[4]
        caller = ApiKeys.parse(f"[{entry}]").caller(key)
        assert caller == Caller("shop", frozenset({Role.PRODUCER, Role.READER}))
        assert key not in entry
        keys.add(key)
    assert len(keys) == 2


@pytest.mark.parametrize("arguments", [["shop", "--roles", "admin"], ["", "--roles", "reader"], ["x", "--roles", ","]])
def test_what_is_wrong_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2 and no key."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "key for" not in capsys.readouterr().out
