"""The operator's look at one message: `trace ID` shows its whole way, with its waits, from the spans that were kept."""

from .command import main

__all__ = ["main"]
