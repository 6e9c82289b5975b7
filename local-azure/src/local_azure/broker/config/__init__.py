"""Reads the official emulators' `Config.json`, so that one file describes a namespace here and there.

Service Bus: `UserConfig.Namespaces[].Queues / Topics`. Event Hubs: `UserConfig.NamespaceConfig[].Entities`.
Beyond the official keys, every property of `entities` may be given under its name in the management API
(`MaxMessageSizeInKilobytes`, `Status`, ...; for event hubs `RetentionHours` and `RetentionMegabytes`).
The first wrong thing raises `ConfigError` with its place, its value and what was expected.
"""

from collections.abc import Iterable
from pathlib import Path

from local_azure.broker.config.document import ConfigError, load, only_one, root
from local_azure.broker.config.eventhubs import read_event_hubs
from local_azure.broker.config.namespace import ConfiguredSubscription, Declared, Namespace, join
from local_azure.broker.config.servicebus import read_service_bus

__all__ = ["ConfigError", "ConfiguredSubscription", "Namespace", "parse_config", "read_config"]


def read_config(paths: Iterable[Path]) -> Namespace:
    """Read files and join what they declare.

    Raises
    ------
    ConfigError
        A file cannot be read or is wrong, or two files contradict each other.
    """
    return join(_parse(load(path), str(path)) for path in paths)


def parse_config(text: str, *, source: str = "Config.json") -> Namespace:
    """Read one file's text; `source` names it in errors. Raises `ConfigError`."""
    return join([_parse(text, source)])


def _parse(text: str, source: str) -> Declared:
    user_config = root(text, source).children(("UserConfig", "$schema"), ("UserConfig",))["UserConfig"]
    parts = user_config.children(("Namespaces", "NamespaceConfig", "Logging", "LoggingConfig"))
    if "Namespaces" not in parts and "NamespaceConfig" not in parts:
        raise user_config.wrong("Namespaces (Service Bus) or NamespaceConfig (Event Hubs)")
    declared = Declared()
    if "Namespaces" in parts:
        read_service_bus(only_one(parts["Namespaces"]), declared)
    if "NamespaceConfig" in parts:
        read_event_hubs(only_one(parts["NamespaceConfig"]), declared)
    return declared
