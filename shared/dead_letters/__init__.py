"""Dead letters: what could not be processed, kept whole, with the reason, to be looked at and played again."""

from .drain import QueueDrain
from .inbox import InboxRecords
from .preview import preview
from .ramp import Ramp, RedriveRun, Report
from .record import DeadLetter, Note, Status, StoredLetter, stack_fingerprint, unread_identity
from .redrive import Action, Decision, Redrive, ReplayOutcome, ReplayResult, replay_message
from .selection import Filters, Group
from .store import DeadLetterStore

__all__ = [
    "Action",
    "DeadLetter",
    "DeadLetterStore",
    "Decision",
    "Filters",
    "Group",
    "InboxRecords",
    "Note",
    "QueueDrain",
    "Ramp",
    "Redrive",
    "RedriveRun",
    "ReplayOutcome",
    "ReplayResult",
    "Report",
    "Status",
    "StoredLetter",
    "preview",
    "replay_message",
    "stack_fingerprint",
    "unread_identity",
]
