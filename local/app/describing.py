"""Runs the probe on an app's folder and reads what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["AppDescription", "AppNotLoaded", "Setting", "describe", "sample_environment"]

_PROBE = Path(__file__).with_name("probe.py")
_PLATFORM = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "HOME")
# Well-formed and of no use: the app connects to nothing before the first message.
_NOWHERE = {
    "ServiceBus": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "EventHubs": "Endpoint=sb://localhost;UseDevelopmentEmulator=true",
    "State": "UseDevelopmentStorage=true",
    "Claims": "UseDevelopmentStorage=true",
    "Lake": "AccountName=none;AccountKey=none;BlobEndpoint=http://127.0.0.1:1/none",
    "SLUICE_AUTH": "none",
    "SLUICE_OPERATION_KEY": "only-for-listing-the-functions-of-this-app",
}


class AppNotLoaded(Exception):
    """The app can't be imported; the message is one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One field of the app's settings model, as its environment variable.

    `default` is None for connections, secrets and what has no default.
    `bounds` holds `ge`, `gt`, `le`, `lt` where the model states them.
    """

    name: str
    attribute: str
    required: bool = False
    connection: bool = False
    secret: bool = False
    default: str | float | bool | None = None
    bounds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDescription:
    """What importing the app gave.

    `functions` are dictionaries with `name`, `bindings` as in function.json, and `retry`; `seconds` is the time that
    the import of `function_app` took. `declarations` is what the app says of itself, `openapi` how it describes its
    API, `asyncapi` the contracts of its messages, `graph` the schema of its graph; all are there only where they were
    asked for.
    """

    seconds: float
    functions: Sequence[Mapping[str, Any]]
    settings: Sequence[Setting]
    constants: Mapping[str, float]
    declarations: Mapping[str, Any] = field(default_factory=dict)
    openapi: Mapping[str, Any] = field(default_factory=dict)
    asyncapi: Mapping[str, Any] = field(default_factory=dict)
    graph: str = ""


def sample_environment(folder: Path) -> dict[str, str]:
    """The committed sample settings with connections to nowhere: enough for the app to be imported.

    Raises
    ------
    AppNotLoaded
        The sample is no settings file.
    """
    try:
        content = json.loads((folder / "local.settings.sample.json").read_text(encoding="utf-8"))
        values = {str(name): str(value) for name, value in content["Values"].items()}
    except FileNotFoundError:
        values = {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AppNotLoaded(
            f"local.settings.sample.json is not a settings file with an object Values: {error}"
        ) from None
    return {**values, **_NOWHERE}


def describe(
    folder: Path,
    environment: Mapping[str, str],
    *,
    constants: Sequence[str] = (),
    declared: bool = False,
    packages: Path | None = None,
    seconds: float = 60.0,
) -> AppDescription:
    """Import the app of a folder in a process of its own.

    Parameters
    ----------
    constants:
        `module:NAME` of numbers to read along.
    declared:
        Whether to read the declarations and the API's description too.
    packages:
        The only folder to take third-party packages from; by default those of this interpreter.
    seconds:
        How long the import may take.

    Raises
    ------
    AppNotLoaded
        It can't be imported, or takes too long.
    """
    kept = {name: os.environ[name] for name in _PLATFORM if name in os.environ}
    command = [sys.executable, "-B", "-I", *(["-S"] if packages else []), str(_PROBE), str(folder.resolve())]
    with tempfile.TemporaryDirectory(prefix="sluice-app-") as scratch:
        output = Path(scratch) / "app.json"
        command += [str(output), *(["--path", str(packages)] if packages else [])]
        command += [part for name in constants for part in ("--constant", name)]
        command += ["--declared"] if declared else []
        try:
            done = subprocess.run(  # noqa: S603
                command,
                cwd=scratch,
                env={**kept, **environment},
                capture_output=True,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AppNotLoaded(f"function_app.py is not imported within {seconds:.0f} s") from None
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise AppNotLoaded(f"function_app.py can't be imported: {lines[-1]}")
        found = json.loads(output.read_text(encoding="utf-8"))
    return AppDescription(
        seconds=found["seconds"],
        functions=found["functions"],
        settings=tuple(Setting(**one) for one in found["settings"]),
        constants=found["constants"],
        declarations=found.get("declarations", {}),
        openapi=found.get("openapi", {}),
        asyncapi=found.get("asyncapi", {}),
        graph=found.get("graph", ""),
    )
