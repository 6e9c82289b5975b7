"""The check of words: it notices the old ones, in names and prose, and nothing of the project has any."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.words import old_words, wrong_words


def test_the_project_speaks_as_the_field_does(project: Path) -> None:
    """Names, messages, comments, docstrings and pages."""
    assert list(wrong_words(project)) == []


def test_a_word_is_named_with_its_place(tmp_path: Path) -> None:
    """And what to write instead; a letter is short for a dead letter among them."""
    for room, text in (("shared/work", "x = 1\n# what was said\n"), ("shared/dead_letters", "letter = 1\n")):
        (tmp_path / room).mkdir(parents=True)
        (tmp_path / room / "a.py").write_text(text, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("A fact.\n", encoding="utf-8")
    assert list(wrong_words(tmp_path)) == [
        "shared/work/a.py:2: 'said': the field says pending, emit",
        "docs/page.md:1: 'fact': the field says event",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def seal(key): ...", ["seal"]),
        ("self._sealed_text = 1", ["sealed"]),
        ("what was said is buried as a fact", ["said", "fact", "buried"]),
        ("raise Letter(letter)", ["Letter", "letter"]),
        ("headers.sealed, SLUICE_SEALING_REQUIRED, a dead letter, 1 to 96 letters, digits", []),
        ("single-flight, in flight, stack_fingerprint(error)", []),
    ],
)
def test_the_check_notices(text: str, found: list[str]) -> None:
    """Names are taken apart at their underscores; what lives outside passes."""
    assert sorted(one for _, one, _ in old_words(text)) == sorted(found)
