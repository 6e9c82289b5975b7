"""Before azd packages: the app with its packages, built here and unpacked where azd takes it from.

    python3 -m infra.hooks.package

azd would have Python packages built in Azure, which ends after 60 seconds: `remoteBuild: false` in azure.yaml deploys
the folder as it is, so it must hold everything.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["FOLDER", "package"]

FOLDER = ".sluice/azd"
"""What azure.yaml names as `dist` of every service."""

_PROJECT = Path(__file__).resolve().parent.parent.parent


def package(project: Path, build: Callable[[Path], int]) -> int:
    """0 where the folder holds the package that `build` wrote into the file it is given, else the code of `build`.

    The folder is exchanged as a whole: what an earlier package had and this one hasn't is gone.
    """
    folder = project / FOLDER
    archive, fresh = folder.with_name("azd.zip"), folder.with_name("azd.new")
    archive.parent.mkdir(exist_ok=True)
    if code := build(archive):
        return code
    shutil.rmtree(fresh, ignore_errors=True)
    with zipfile.ZipFile(archive) as built:
        built.extractall(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return 0


def _build(archive: Path) -> int:
    # As it lies there: whoever runs azd tries out what isn't committed yet. Pipelines build what is committed.
    command = [sys.executable, "dev.py", "package", "--with-packages", "--allow-dirty", "--out", str(archive)]
    return subprocess.run(command, cwd=_PROJECT, check=False).returncode  # noqa: S603


if __name__ == "__main__":
    sys.exit(package(_PROJECT, _build))
