"""Byte code for the package: the same bytes each time, and nothing where there is no interpreter for it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from local.packaging.bytecode import compiled, interpreter
from local.packaging.errors import PackageError

ENTRIES = [
    ("lib/__init__.py", b""),
    ("lib/names.py", b'NAMES = {"b", "a", "c"}\nUSED = "x" in {"one", "two", "three"}\n'),
    ("lib/old_test.py", b"print 'for another Python'\n"),
    ("lib/table.json", b"{}"),
    ("main.py", b"import lib.names\nprint(len(lib.names.NAMES))\n"),
]


def test_it_is_the_same_each_time_and_leaves_out_what_can_not_be_compiled() -> None:
    """In the order of its names, as the zip needs them."""
    first, second = compiled(ENTRIES, sys.executable), compiled(ENTRIES, sys.executable)
    assert first == second
    sources = ("lib/__init__.py", "lib/names.py", "main.py")
    assert [name for name, _ in first] == sorted(importlib.util.cache_from_source(one) for one in sources)


def test_it_is_run_in_place_of_the_source(tmp_path: Path) -> None:
    """Whatever the source says by then, and however old it is."""
    for name, content in [*ENTRIES, *compiled(ENTRIES, sys.executable)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "lib/names.py").write_bytes(b"raise RuntimeError('compiled again')\n")
    run = [sys.executable, "-B", str(tmp_path / "main.py")]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "3\n"


def test_an_interpreter_that_is_not_there_is_told() -> None:
    """A version nobody has; one that doesn't run says why."""
    assert interpreter("3.99") is None
    assert interpreter("%d.%d" % sys.version_info[:2]) == sys.executable  # noqa: UP031
    with pytest.raises(PackageError, match="makes no byte code"):
        compiled(ENTRIES, "false")
