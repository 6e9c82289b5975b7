"""What the package consists of, as a CycloneDX 1.6 document: the pinned packages and what needs what.

Source: CycloneDX specification 1.6 (ECMA-424). Nothing in it changes unless the package does.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from local.packaging.requirements import Pin, applies

__all__ = ["Application", "bill_of_materials"]

_NAMESPACE = uuid.UUID("5f6c2f0e-6d0b-4d4f-9a53-6b1c52b1f4a1")
_LONGEST_LICENCE = 80


class Application(NamedTuple):
    """The app itself: its version, the SHA-256 of its zip, the commit it was made of."""

    name: str
    version: str
    licence: str
    sha256: str
    commit: str | None


def bill_of_materials(
    app: Application, pinned: Sequence[Pin], python: str, wheels: Mapping[Pin, str]
) -> dict[str, Any]:
    """The document for an app and the packages below it.

    Parameters
    ----------
    wheels:
        SHA-256 of the wheel of each pin, where it is known.
    """
    known = {pin.name: pin for pin in pinned}
    needs = {pin: _needs(pin, known, python) for pin in pinned}
    below = {one for several in needs.values() for one in several}
    component: dict[str, Any] = {
        "type": "application",
        "bom-ref": app.name,
        "name": app.name,
        "version": app.version,
        "hashes": [{"alg": "SHA-256", "content": app.sha256}],
        "licenses": [{"license": {"id": app.licence}}],
    }
    if app.commit is not None:
        component["properties"] = [{"name": "git:commit", "value": app.commit}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, app.sha256)}",
        "version": 1,
        "metadata": {"component": component},
        "components": [_component(pin, wheels.get(pin)) for pin in pinned],
        "dependencies": [
            {"ref": app.name, "dependsOn": [pin.purl for pin in pinned if pin not in below]},
            *({"ref": pin.purl, "dependsOn": [one.purl for one in needs[pin]]} for pin in pinned),
        ],
    }


def _component(pin: Pin, sha256: str | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": "library",
        "bom-ref": pin.purl,
        "name": pin.name,
        "version": pin.version,
        "purl": pin.purl,
    }
    if sha256 is not None:
        described["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if licences := _licences(pin):
        described["licenses"] = licences
    return described


def _installed(pin: Pin) -> metadata.Distribution | None:
    """The package's metadata, if this very version is installed here."""
    try:
        found = metadata.distribution(pin.name)
    except metadata.PackageNotFoundError:
        return None
    return found if found.version == pin.version else None


def _licences(pin: Pin) -> list[dict[str, Any]]:
    found = _installed(pin)
    if found is None:
        return []
    stated = found.metadata.json
    if expression := stated.get("license_expression"):
        return [{"expression": expression}]
    text = str(stated.get("license") or "").strip()
    if text and len(text) <= _LONGEST_LICENCE and "\n" not in text:
        return [{"license": {"name": text}}]
    classifiers = [one for one in stated.get("classifier", []) if one.startswith("License ::")]
    return [{"license": {"name": one.rpartition(" :: ")[2]}} for one in classifiers[:1]]


def _needs(pin: Pin, known: Mapping[str, Pin], python: str) -> list[Pin]:
    found = _installed(pin)
    stated = [Requirement(text) for text in (found.requires if found else None) or []]
    names = {canonicalize_name(one.name) for one in stated if applies(one, python)}
    return sorted(known[name] for name in names if name in known)
