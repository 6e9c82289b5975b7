"""Third-party packages inside the package: wheels for the target, unpacked as the platform looks for them."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from packaging.utils import parse_wheel_filename

from local.packaging.errors import PackageError
from local.packaging.requirements import Pin

__all__ = ["VENDORED", "download", "unpacked"]

VENDORED = ".python_packages/lib/site-packages"
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
_DATA = re.compile(r"^[^/]+\.data/(?P<kind>[^/]+)/(?P<rest>.+)$")
_LIBRARY = ("purelib", "platlib")


def download(pinned: Sequence[Pin], python: str, folder: Path) -> dict[Pin, Path]:
    """Fetch one wheel per pin into the folder, never a source distribution; wheels that are there are kept.

    Raises
    ------
    PackageError
        A pin has no wheel for the target, or the package index can't be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = _held(folder)
    if lacking := [pin for pin in pinned if pin not in held]:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
        command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
        command += [part for platform in _PLATFORMS for part in ("--platform", platform)]
        command += ["--dest", str(folder), *(f"{pin.name}=={pin.version}" for pin in lacking)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise PackageError(f"the wheels can't be fetched: {errors[-1] if errors else done.stderr.strip()[-300:]}")
        held = _held(folder)
    if missing := [pin for pin in pinned if pin not in held]:
        raise PackageError(f"there is no wheel of {missing[0].name} {missing[0].version} for Python {python} on Linux.")
    return {pin: held[pin] for pin in pinned}


def _held(folder: Path) -> dict[Pin, Path]:
    found = {}
    for wheel in sorted(folder.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        found[Pin(name, str(version))] = wheel
    return found


def unpacked(wheels: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """The libraries of the wheels under `VENDORED`, in the order of their names; no scripts, no headers.

    Raises
    ------
    PackageError
        Two wheels hold different files under one name, or one names a place outside.
    """
    places: dict[str, tuple[Path, str]] = {}
    digests: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                place = _place(name)
                if place is None:
                    continue
                digest = hashlib.sha256(archive.read(name)).digest()
                if digests.setdefault(place, digest) != digest:
                    raise PackageError(f"{wheel.name} and {places[place][0].name} both hold {place}, and differ.")
                places.setdefault(place, (wheel, name))
    open_wheel: tuple[Path, zipfile.ZipFile] | None = None
    try:
        for place in sorted(places):
            wheel, name = places[place]
            if open_wheel is None or open_wheel[0] != wheel:
                if open_wheel is not None:
                    open_wheel[1].close()
                open_wheel = (wheel, zipfile.ZipFile(wheel))
            yield f"{VENDORED}/{place}", open_wheel[1].read(name)
    finally:
        if open_wheel is not None:
            open_wheel[1].close()


def _place(name: str) -> str | None:
    """Where a wheel's entry is installed below site-packages, or None for what is no library."""
    if name.endswith("/"):
        return None
    data = _DATA.match(name)
    if data and data["kind"] not in _LIBRARY:
        return None
    place = data["rest"] if data else name
    if place.startswith("/") or ".." in PurePosixPath(place).parts or "\\" in place:
        raise PackageError(f"a wheel names a place outside its folder: {name!r}.")
    return place
