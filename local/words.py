"""The field's words in names and prose (`dev.py check words`): whoever knows the field finds a room by its usual name.

What lives outside the code keeps its name: columns, message properties, settings, codes, events of the log.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["old_words", "wrong_words"]

WORDS = {
    "command": r"(?<!dead )(?<!dead-)\bletters?\b(?! (and|or) digits?|, digits)",
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
            r"build_opener|with a letter",
            r"(lower-case|small and capital|capital) letters|letters?( of ASCII|, (a|each)|, digits| for each letter)",
        )
    ),
    re.MULTILINE,
)
_ANY = re.compile("|".join(WORDS.values()), re.IGNORECASE)
"""Most lines hold none of them, and need no closer look."""
ROOMS = ("functions", "integrations", "shared", "ops", "docs", "local-azure/src")
SHORT = {"shared/dead_letters": r"\bletters?\b", "ops/dead_letters": r"\bletters?\b"}
"""Where a word is short for one of the field's: a letter is a dead letter, among dead letters."""


def old_words(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, what stands there, and what the field calls it."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not _ANY.search(line.replace("_", " ")):
            continue
        parts = re.sub(r"(?<=[a-z0-9])_|_(?=[a-z0-9])", " ", OUTSIDE.sub("·", line))
        for word, pattern in WORDS.items():
            for found in re.finditer(pattern, parts, re.IGNORECASE):
                yield number, found[0], word


def wrong_words(project: Path) -> Iterator[str]:
    """Every old word in code and pages, with its place and what the field says."""
    for room in ROOMS:
        for file in sorted([*(project / room).rglob("*.py"), *(project / room).rglob("*.md")]):
            name = file.relative_to(project).as_posix()
            short = next((pattern for folder, pattern in SHORT.items() if name.startswith(f"{folder}/")), r"(?!)")
            for line, found, word in old_words(file.read_text(encoding="utf-8")):
                if not re.fullmatch(short, found, re.IGNORECASE):
                    yield f"{name}:{line}: {found!r}: the field says {word}"


if __name__ == "__main__":
    wrong = list(wrong_words(Path(__file__).resolve().parent.parent))
    sys.stdout.write("".join(f"{line}\n" for line in wrong) or "every word is the field's\n")
    raise SystemExit(1 if wrong else 0)
