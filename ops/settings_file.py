"""Settings of the operator's command lines: a settings file, and over it the environment."""

import argparse
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shared.environment import SettingsSlice

if TYPE_CHECKING:
    from shared.settings import Settings

__all__ = ["NoStack", "WrongSettingsFile", "add_settings", "load_settings", "load_slice", "settings_first"]

S = TypeVar("S", bound=SettingsSlice)

_OF_THE_SDKS = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "SSL_CERT_FILE")
"""What the SDKs read from the process's own environment: the managed identity, and which certificates to trust."""


_HELP = {"-h", "--help"}


class WrongSettingsFile(ValueError):
    """The file isn't a settings file; the message names it."""


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Describe how an app is named; `settings_first` has made one of the other."""
    named = parser.add_mutually_exclusive_group()
    named.add_argument("--settings", metavar="FILE", help="a file like local.settings.json; the environment wins")
    named.add_argument("--data-dir", metavar="DIR", help="what a local stack keeps (default: .sluice, where one ran)")


class NoStack(Exception):
    """No stack has run in a folder; the message says how to start one."""


def settings_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--settings FILE` before the others; `--data-dir DIR` is the file of the stack in a folder.

    What the SDKs look for in the environment is put there as the file has it, before any of them is loaded: some read
    it when they are imported, and a machine's own list of certificates doesn't have the local vault's.

    Raises
    ------
    NoStack
    """
    file: str | None = None
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, given, value = word.partition("=")
        if name not in ("--settings", "--data-dir"):
            rest.append(word)
            continue
        value = value if given else next(words, "")
        if name == "--data-dir":
            value = _of_stack(Path(value))
        file = value
    if file is None:
        if not any(name == "State" or name.startswith("State__") for name in os.environ) and not {*rest} & _HELP:
            raise NoStack(
                "no local stack has run here: start one with `python3 dev.py run`, or name another with --data-dir DIR "
                "or --settings FILE."
            )
        return rest
    with contextlib.suppress(WrongSettingsFile):  # whoever reads the settings says so
        _tell_the_sdks(_values(file))
    return ["--settings", file, *rest]


def _of_stack(folder: Path) -> str:
    file = folder / "app-settings.json"
    if not file.is_file():
        raise NoStack(f"no local stack runs in {folder}: start one with `python3 dev.py run --data-dir {folder}`.")
    return str(file)


def load_settings(file: str | None, environment: Mapping[str, str] | None = None) -> "Settings":
    """The settings of a file's `Values`, where one is named, and of an environment (the process's own by default).

    Raises
    ------
    WrongSettingsFile, WrongSettings
    """
    from shared.settings import Settings  # only now: what it loads may read the environment

    return load_slice(Settings, file, environment)


def load_slice(kind: type[S], file: str | None, environment: Mapping[str, str] | None = None) -> S:
    """The same for one slice of the settings: what else is missing or wrong isn't looked at, nor loaded."""
    variables = dict(os.environ if environment is None else environment)
    if file is not None:
        values = _values(file)
        variables = {**values, **variables}
        _tell_the_sdks(values)
    return kind.load(variables)


def _values(file: str) -> dict[str, str]:
    try:
        values: Mapping[str, Any] = json.loads(Path(file).read_text(encoding="utf-8-sig"))["Values"]
        return {str(name): str(value) for name, value in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongSettingsFile(f"{file} is not a settings file with an object Values: {error}") from None


def _tell_the_sdks(values: Mapping[str, str]) -> None:
    os.environ.update({name: values[name] for name in _OF_THE_SDKS if name in values})
