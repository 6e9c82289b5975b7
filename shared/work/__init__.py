"""Work: what a handler gets beside its model, committed in one transaction or not at all, and a message's outcome."""

from .outcomes import Dead, Done, Duplicate, Ended, Fresh, Handled, Message, Parked, RetryLater
from .work import Aggregate, LoadRows, Secrets, Work

__all__ = [
    "Aggregate",
    "Dead",
    "Done",
    "Duplicate",
    "Ended",
    "Fresh",
    "Handled",
    "LoadRows",
    "Message",
    "Parked",
    "RetryLater",
    "Secrets",
    "Work",
]
