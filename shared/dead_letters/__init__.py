"""Dead letters: what could not be processed, kept whole, with the reason, to be looked at and played again."""

from .drain import BrokerLetter, QueueDrain
from .inbox import InboxRecords
from .preview import preview
from .ramp import Ramp, RedriveRun, Report
from .record import DeadLetter, Note, Status, StoredLetter, stack_fingerprint, unread_identity
from .redrive import Action, Order, Outcome, Plan, Redrive, Result, replay_message
from .selection import Filters, Group
from .store import DeadLetterStore, Page, Swept

__all__ = [
    "Action",
    "BrokerLetter",
    "DeadLetter",
    "DeadLetterStore",
    "Filters",
    "Group",
    "InboxRecords",
    "Note",
    "Order",
    "Outcome",
    "Page",
    "Plan",
    "QueueDrain",
    "Ramp",
    "Redrive",
    "RedriveRun",
    "Report",
    "Result",
    "Status",
    "StoredLetter",
    "Swept",
    "preview",
    "replay_message",
    "stack_fingerprint",
    "unread_identity",
]
