"""A whole local Azure with the app in it: starts its processes, keeps them alive, and leaves none behind."""

from local.stack.stack import Stack, StackError, StackOptions

__all__ = ["Stack", "StackError", "StackOptions"]
