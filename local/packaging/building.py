"""Builds the one zip that is deployed, its bill of materials, and tries whether it starts."""

from __future__ import annotations

import hashlib
import heapq
import json
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from local.app import AppNotLoaded, describe, sample_environment
from local.packaging.archive import Written, replacing, write_zip
from local.packaging.bytecode import compiled, interpreter
from local.packaging.contents import commit_of, deployed_files, read_file
from local.packaging.errors import PackageError
from local.packaging.requirements import Pin, pins
from local.packaging.sbom import Application, bill_of_materials
from local.packaging.wheels import VENDORED, download, unpacked

__all__ = ["Built", "PackageOptions", "build"]

_SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class PackageOptions:
    """What to build and where to.

    `with_packages` puts the third-party packages in, for `python` on Linux x86_64; `wheels` is where they are kept
    between two builds.
    """

    project: Path
    out: Path
    allow_dirty: bool = False
    with_packages: bool = False
    python: str = "3.12"
    wheels: Path = field(default=Path(".sluice/wheels"))

    def __post_init__(self) -> None:
        if self.python not in _SUPPORTED:
            raise ValueError(f"--python must be {' or '.join(_SUPPORTED)}, not {self.python}.")
        if self.out.is_dir():
            raise ValueError(f"--out {self.out} is a folder; name a file.")

    @property
    def sbom(self) -> Path:
        """The bill of materials lies beside the zip."""
        return self.out.with_suffix(".cdx.json")


@dataclass(frozen=True, kw_only=True)
class Built:
    """The zip that was written, and how it started: best import time in seconds, names of its functions.

    `compiled` counts the files of byte code; `own_packages` tells whether it was tried with nothing but the packages
    inside it.
    """

    zip: Written
    files: int
    packages: int
    compiled: int
    commit: str | None
    import_seconds: float
    functions: tuple[str, ...]
    own_packages: bool


def build(options: PackageOptions) -> Built:
    """Write zip and bill of materials, then import the app from the zip.

    Raises
    ------
    PackageError
        Nothing that can be deployed came out; the message says why.
    """
    project = options.project
    names = deployed_files(project, allow_dirty=options.allow_dirty)
    contents = [(name, read_file(project, name)) for name in names]
    pinned = pins(dict(contents)["requirements.txt"].decode("utf-8"), options.python)
    wheels: dict[Pin, Path] = {}
    if options.with_packages:
        wheels = download(pinned, options.python, options.wheels / options.python)

    def entries() -> Iterator[tuple[str, bytes]]:
        yield from unpacked(list(wheels.values()))  # a leading dot sorts before every name of ours
        yield from contents

    python = interpreter(options.python) if options.with_packages else None
    byte_code = compiled(entries(), python) if python else []
    whole = heapq.merge(entries(), byte_code, key=lambda entry: entry[0])
    written = write_zip(options.out, whole, compressed=options.with_packages)
    commit = None if options.allow_dirty else commit_of(project)
    hashes = {pin: hashlib.sha256(wheel.read_bytes()).hexdigest() for pin, wheel in wheels.items()}
    bill = bill_of_materials(_application(project, written, commit), pinned, options.python, hashes)
    with replacing(options.sbom) as partial:
        partial.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    seconds, functions, own = _try(options, written)
    return Built(
        zip=written,
        files=len(names),
        packages=len(wheels),
        compiled=len(byte_code),
        commit=commit,
        import_seconds=seconds,
        functions=functions,
        own_packages=own,
    )


def _application(project: Path, written: Written, commit: str | None) -> Application:
    try:
        about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return Application(about["name"], about["version"], about["license"]["text"], written.sha256, commit)
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise PackageError(f"pyproject.toml doesn't tell name, version and license: {error}.") from None


def _try(options: PackageOptions, written: Written) -> tuple[float, tuple[str, ...], bool]:
    """Import from the unpacked zip; with the packages inside alone where they are for this interpreter."""
    fitting = sys.platform == "linux" and options.python == f"{sys.version_info.major}.{sys.version_info.minor}"
    own = options.with_packages and fitting
    with tempfile.TemporaryDirectory(prefix="sluice-package-") as folder:
        try:
            with zipfile.ZipFile(options.out) as archive:
                archive.extractall(folder)
            packages = Path(folder) / VENDORED if own else None
            environment = sample_environment(options.project)
            tries = [describe(Path(folder), environment, packages=packages) for _ in range(_TRIES)]
        except AppNotLoaded as error:
            raise PackageError(f"the package was written, but does not start: {error}.") from None
        except OSError as error:
            raise PackageError(f"the package can't be tried in {folder}: {error.strerror or error}.") from None
    functions = tuple(sorted(str(one["name"]) for one in tries[0].functions))
    return min(one.seconds for one in tries), functions, own
