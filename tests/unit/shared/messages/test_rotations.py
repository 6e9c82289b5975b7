"""Rotations that integrations register: one per secret, async, under a name that the vault takes."""

from __future__ import annotations

import pytest

from shared.messages import Integration, Registry


async def renew(current: object) -> str:
    """Another value."""
    return "next"


def test_a_rotation_is_found_by_its_secret() -> None:
    """In lower case, as the vault doesn't tell the cases apart."""
    partner = Integration("partner")
    assert partner.rotates("Partner-Key")(renew) is renew
    assert Registry([partner]).rotations["partner-key"].call is renew


def test_a_secret_is_rotated_by_one() -> None:
    """Two would undo each other's work."""
    first, second = Integration("first"), Integration("second")
    first.rotates("a-key")(renew)
    second.rotates("A-Key")(renew)
    with pytest.raises(ValueError, match="rotated twice"):
        Registry([first, second])


def test_what_cannot_work_is_refused_when_it_is_written() -> None:
    """No name of the vault's, or not async."""
    partner = Integration("partner")
    with pytest.raises(ValueError, match="letters, digits and hyphens"):
        partner.rotates("a key")(renew)
    with pytest.raises(TypeError, match="async def"):
        partner.rotates("a-key")(lambda current: "next")
