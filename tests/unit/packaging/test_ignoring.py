"""`.funcignore` means what a `.gitignore` would."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from local.packaging import IgnoreList

PATTERNS = """\
# a comment
.*
*.md
LICENSE
local/
/dist
docs/**/drafts
local.settings*.json
x?z.[ch]
!keep.md
a/**/b
"""
PATHS = [
    ".env", "a/.hidden/x.py", "README.md", "shared/notes.md", "keep.md", "local/x.py", "shared/local/y.py", "local",
    "dist/a.zip", "shared/dist/a", "docs/drafts/1", "docs/a/b/drafts/1", "docs/a", "local.settings.json",
    "local.settings.sample.json", "xyz.c", "xyz.o", "x/z.c", "a/b", "a/x/y/b", "ab", "function_app.py", "LICENSE",
    "local/keep.md", "comment", "# a comment",
]  # fmt: skip


def test_it_leaves_out_what_git_would(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.fail("git is needed, as it is for packaging")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(PATTERNS)
    asked = subprocess.run(
        ["git", "-C", str(tmp_path), "check-ignore", "--no-index", "--stdin"],
        input="\n".join(PATHS),
        capture_output=True,
        text=True,
        check=False,
    )
    ours = IgnoreList(PATTERNS)
    assert [path for path in PATHS if ours.ignores(path)] == asked.stdout.splitlines()
