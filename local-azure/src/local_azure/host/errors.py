"""What stops the host from starting, each with one line that says what to change.

HostError
├── SettingError    an app setting, connection or host.json value is missing or wrong
├── IndexingError   the app cannot be loaded, or the worker or host would refuse a function
└── StartError      the machine says no: a port that is taken, a folder that is not there
"""

__all__ = ["HostError", "IndexingError", "SettingError", "StartError"]


class HostError(Exception):
    """The host cannot start; the message is one line for the person at the keyboard."""


class SettingError(HostError):
    """An app setting, a connection or a value of host.json is missing or wrong."""


class IndexingError(HostError):
    """The app cannot be loaded, or Azure would refuse one of its functions."""


class StartError(HostError):
    """The environment refuses: a taken port, a missing folder."""
