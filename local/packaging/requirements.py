"""The pinned requirements that apply where the app runs: Linux on x86_64, Python as the infrastructure names it."""

from __future__ import annotations

from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from local.packaging.errors import PackageError

__all__ = ["Pin", "applies", "pins"]


class Pin(NamedTuple):
    """One package in the one version that is deployed; the name is in its canonical spelling."""

    name: str
    version: str

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{self.name}@{self.version}"


def pins(text: str, python: str) -> list[Pin]:
    """The pins of a requirements file that apply on the target, sorted by name.

    Parameters
    ----------
    python:
        Such as `3.12`.

    Raises
    ------
    PackageError
        A line is no `name==version`.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        stated = line.split(" #")[0].strip()
        if not stated or stated.startswith("#"):
            continue
        try:
            requirement = Requirement(stated)
        except InvalidRequirement as error:
            raise PackageError(f"requirements.txt:{number} can't be read: {error}.") from None
        exact = [one.version for one in requirement.specifier if one.operator == "=="]
        if len(exact) != 1 or len(requirement.specifier) != 1 or exact[0].endswith("*"):
            raise PackageError(f"requirements.txt:{number} is not pinned with ==: what is deployed must be certain.")
        if applies(requirement, python):
            found.append(Pin(canonicalize_name(requirement.name), exact[0]))
    return sorted(found)


def applies(requirement: Requirement, python: str) -> bool:
    """Whether a requirement's marker holds on the target."""
    target = {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{python}.9",  # the platform has a late patch of each
        "python_version": python,
        "sys_platform": "linux",
        "extra": "",
    }
    return requirement.marker is None or requirement.marker.evaluate(target)
