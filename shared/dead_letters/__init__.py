"""Dead letters: what could not be processed, kept whole, with the reason, to be looked at and played again."""

from .drain import Fate, QueueDrain, dead_letter_of
from .earlier import GivenUpEarlier
from .editing import EditOutcome, EditRefused, EditResult, OpenedPayload, PayloadEditor
from .given_up import MAX_RETURNS, RETURNS, BodyKind, GivenUp
from .inbox import InboxRecords
from .preview import preview
from .ramp import Ramp, RedriveRun, Report
from .record import DeadLetter, Note, Outgoing, Status, StoredLetter, stack_fingerprint, unread_identity
from .redrive import Action, Decision, Redrive, ReplayOutcome, ReplayResult, replay_message
from .runs import ReplayRun, RunBook, RunState
from .selection import Filters, Group
from .store import DeadLetterStore
from .sub_queue import DeadLetterReceiver, Drain, drained
from .suspects import KILLER, MOST_DEATHS, SUSPICIOUS_DELIVERY, Suspects, headers_of

__all__ = [
    "KILLER",
    "MAX_RETURNS",
    "MOST_DEATHS",
    "RETURNS",
    "SUSPICIOUS_DELIVERY",
    "Action",
    "BodyKind",
    "DeadLetter",
    "DeadLetterReceiver",
    "DeadLetterStore",
    "Decision",
    "Drain",
    "EditOutcome",
    "EditRefused",
    "EditResult",
    "Fate",
    "Filters",
    "GivenUp",
    "GivenUpEarlier",
    "Group",
    "InboxRecords",
    "Note",
    "OpenedPayload",
    "Outgoing",
    "PayloadEditor",
    "QueueDrain",
    "Ramp",
    "Redrive",
    "RedriveRun",
    "ReplayOutcome",
    "ReplayResult",
    "ReplayRun",
    "Report",
    "RunBook",
    "RunState",
    "Status",
    "StoredLetter",
    "Suspects",
    "dead_letter_of",
    "drained",
    "headers_of",
    "preview",
    "replay_message",
    "stack_fingerprint",
    "unread_identity",
]
