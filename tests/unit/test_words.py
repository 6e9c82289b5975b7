"""The field's words in names and prose: whoever knows the field finds a room by its usual name.

What lives outside the code keeps its name: columns, message properties, settings, codes, events of the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WORDS = {
    "command": r"(?<!dead )(?<!dead-)\bletters?\b(?! (and|or) digits|, digits)",
    "pending, emit": r"\bsaid\b",
    "event": r"\bfacts?\b",
    "dead-letter": r"\bbur(y|ied|ies|ying)\b",
    "redact, log, report": r"\btold\b",
    "encrypt, decrypt": r"\b(un)?seal(s|ed|er|ers|ing)?\b|\bopener\b",
    "single-flight": r"\bflights\b|(?<!single )(?<!single-)(?<!in )\bflight\b|\blanded\b",
    "cache entry": r"\bshel(f|ves)\b|\bheld\b(?! (back|up|whole))",
    "delete a key (crypto-shredding)": r"\beras(e|es|ed|ing) (a|the|its|their) key",
    "optimistic concurrency": r"\braces\b",
    "payload hash": r"\bfingerprints?\b",
    "weighted bulkhead": r"\blane[ _-]?gate\b",
    "poison event": r"\bparked event|\bevent (is |was )?parked|\bparks? (an|the|a poison) event",
    "sequence row": r"\bhead[ _]?rows?\b",
    "access level": r"\bclearances?\b",
    "accepted": r"\btak(e|es|en|ing) in\b",
}
OUTSIDE = re.compile(
    "|".join(
        (
            r"SLUICE_\w+",
            r"NOT_SEALED",
            r"[\"`]sealed[\"`]|\bsealedBy\b|\+sealed\b|\b(headers|letter|head|self|known|record)\.sealed\b|\bsealed=",
            r"\bsealed: (str|bool)\b|^    sealed:$",  # attributes named for the property and the column
            r"nothing is sealed|event parked|parking (not )?drained|`parked`",  # events of the log
            r"seal-1kb",
            # the fingerprint of an error groups dead letters; a payload's is its hash
            r"\bstack_fingerprint\b|[\"`]fingerprint[\"`]|--fingerprint( \S+)?|\bfingerprint=|error fingerprint",
            r"\bfingerprint: str\b|\.fingerprint\b|\[\"facts\"\]|^ +\"facts\":",
            r"dead[-_ ]letters?|DeadLetters?\w*|dead_letters?\w*",
            r"(lower-case|small and capital|capital) letters|letters?( of ASCII|, (a|each)|, digits| for each letter)",
        )
    ),
    re.MULTILINE,
)
ROOMS = sorted(
    str(folder.relative_to(ROOT))
    for folder in [*(ROOT / "shared").iterdir(), ROOT / "functions", ROOT / "integrations"]
    if (folder / "__init__.py").exists()
)
SHORT = {"shared/dead_letters": r"\bletters?\b"}
"""Where a word is short for one of the field's: a letter is a dead letter, among dead letters."""


def old_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, what stands there, and what the field calls it."""
    for number, line in enumerate(text.splitlines(), start=1):
        parts = re.sub(r"(?<=[a-z0-9])_|_(?=[a-z0-9])", " ", OUTSIDE.sub("·", line))
        for word, pattern in WORDS.items():
            for found in re.finditer(pattern, parts, re.IGNORECASE):
                yield number, found[0], word


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_speaks_as_the_field_does(room: str) -> None:
    """In names, messages, comments and docstrings."""
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    short = re.compile(SHORT.get(room, r"(?!)"), re.IGNORECASE)
    wrong = [
        f"{file.relative_to(ROOT)}:{line}: {found!r}, the field says {word}"
        for file in files
        for line, found, word in old_words(file.read_text(encoding="utf-8"))
        if not short.fullmatch(found)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_speaks_as_the_field_does(page: Path) -> None:
    """Snippets included."""
    wrong = [f"{line}: {found!r}, the field says {word}" for line, found, word in old_words(page.read_text("utf-8"))]
    assert wrong == []


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
