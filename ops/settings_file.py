"""Settings of the operator's command lines: a settings file, and over it the environment."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from shared.settings import Settings

__all__ = ["WrongSettingsFile", "load_settings"]

_OF_THE_SDKS = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "SSL_CERT_FILE")
"""What the SDKs read from the process's own environment: the managed identity, and which certificates to trust."""


class WrongSettingsFile(ValueError):
    """The file isn't a settings file; the message names it."""


def load_settings(file: str | None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a file's `Values`, where one is named, and of an environment (the process's own by default).

    What the SDKs look for in the environment is put there as the file has it, before any of them is loaded: a
    machine's own list of certificates doesn't have the local vault's.

    Raises
    ------
    WrongSettingsFile, WrongSettings
    """
    variables = dict(os.environ if environment is None else environment)
    if file is not None:
        try:
            values = json.loads(Path(file).read_text(encoding="utf-8-sig"))["Values"]
            variables = {**{str(name): str(value) for name, value in values.items()}, **variables}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise WrongSettingsFile(f"{file} is not a settings file with an object Values: {error}") from None
        os.environ.update({name: str(values[name]) for name in _OF_THE_SDKS if name in values})
    return Settings.load(variables)
