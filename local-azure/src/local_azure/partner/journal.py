"""A file that the partner's book survives in: one line of JSON for each entry, appended before the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_azure.partner.book import Book

__all__ = ["kept_in"]


@contextmanager
def kept_in(path: Path, book: Book) -> Iterator[None]:
    """Have a book begin with what the file holds, and note there what happens from now on.

    A last line that was cut short, since the process died while it was written, is dropped.

    Raises
    ------
    OSError
        The file can't be written.
    ValueError
        It is no journal.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    for line in whole.splitlines():
        book.restore(json.loads(line))
    with path.open("r+b") as sink:
        sink.truncate(len(whole))
        sink.seek(len(whole))

        def note(entry: dict[str, object]) -> None:
            sink.write(json.dumps(entry).encode() + b"\n")
            sink.flush()

        book.note = note
        try:
            yield
        finally:
            book.note = None
