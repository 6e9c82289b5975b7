"""Makes a machine with only Python ready for the project: packages, Node, Azurite (standard library only)."""

from local.setup.environment import Environment, SetupError, say
from local.setup.lock import FileLock
from local.setup.node import Node, find_node, install_azurite, install_node_packages

__all__ = [
    "Environment",
    "FileLock",
    "Node",
    "SetupError",
    "find_node",
    "install_azurite",
    "install_node_packages",
    "say",
]
