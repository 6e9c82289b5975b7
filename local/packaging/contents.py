"""Which files are deployed: those that are committed, less what `.funcignore` lists."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from local.packaging.errors import PackageError
from local.packaging.ignoring import IgnoreList

__all__ = ["commit_of", "deployed_files", "read_file"]

_REQUIRED = ("function_app.py", "host.json", "requirements.txt")
_SHOWN = 5


def deployed_files(project: Path, *, allow_dirty: bool = False) -> list[str]:
    """Paths of the files to deploy, relative to the project, sorted.

    Parameters
    ----------
    allow_dirty:
        Take what is in the folder as it is, committed or not.

    Raises
    ------
    PackageError
        Something to deploy is not committed, not there, or the folder is no checkout.
    """
    ignored = _ignore_list(project)
    found = _present(project, ignored) if allow_dirty else _committed(project, ignored)
    if lacking := [name for name in _REQUIRED if name not in found]:
        raise PackageError(f"{lacking[0]} is missing or ignored: Azure can't run the app without it.")
    return sorted(found)


def read_file(project: Path, name: str) -> bytes:
    """The content of one file to deploy.

    Raises
    ------
    PackageError
        It is gone, can't be read, is no regular file, or is a link to something that isn't deployed.
    """
    path, root = project / name, project.resolve()
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            raise PackageError(f"{name} is a link that leaves the project: replace it by the file itself.")
        if path.is_symlink() and _ignore_list(project).ignores(real.relative_to(root).as_posix()):
            raise PackageError(f"{name} is a link to something that is not deployed: replace it by the file itself.")
        if not real.is_file():
            raise PackageError(f"{name} is neither a file nor a link to one.")
        return real.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that leads to itself, on Python 3.12
        raise PackageError(f"{name} can't be read: {getattr(error, 'strerror', None) or error}.") from None


def commit_of(project: Path) -> str | None:
    """The commit that is checked out, or None."""
    try:
        return _git(project, "rev-parse", "HEAD").strip()
    except PackageError:
        return None


def _ignore_list(project: Path) -> IgnoreList:
    try:
        return IgnoreList((project / ".funcignore").read_text(encoding="utf-8"))
    except OSError as error:
        raise PackageError(
            f".funcignore can't be read, so nothing tells what to leave out: {error.strerror}."
        ) from None


def _committed(project: Path, ignored: IgnoreList) -> list[str]:
    def named(*command: str) -> list[str]:
        return [name for name in _git(project, *command).split("\0") if name and not ignored.ignores(name)]

    changed = named("diff", "--name-only", "-z", "--relative", "HEAD")
    new = named("ls-files", "-z", "--others", "--exclude-standard")
    if dirty := sorted({*changed, *new}):
        more = f" and {len(dirty) - _SHOWN} more" if len(dirty) > _SHOWN else ""
        raise PackageError(
            f"not committed: {', '.join(dirty[:_SHOWN])}{more}. Commit, so that the package can be made again, "
            "or give --allow-dirty."
        )
    return named("ls-files", "-z")


def _present(project: Path, ignored: IgnoreList) -> list[str]:
    found = []
    for folder, folders, files in os.walk(project):
        below = Path(folder).relative_to(project)
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders if name not in links and not ignored.ignores((below / name / "x").as_posix())
        )
        found += [name for file in (*files, *links) if not ignored.ignores(name := (below / file).as_posix())]
    return found


def _git(project: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(project), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise PackageError("git is not installed, so what is committed is not known; give --allow-dirty.") from None
    if done.returncode != 0:
        raise PackageError("this is not a git checkout with a commit; give --allow-dirty to package it as it is.")
    return done.stdout
