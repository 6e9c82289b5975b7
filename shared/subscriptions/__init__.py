"""Subscriptions: webhooks to others, from the event log to their receivers."""

from .addresses import AddressPolicy, RefusedAddress, Target, check_url
from .deliverer import Deliverer
from .deliveries import Attempt, Deliveries, Delivery, DeliveryPage, DeliveryStatus
from .endpoint import Endpoints
from .fan_out import FanOut
from .overdue import wake_overdue
from .payload import TEST_EVENT, Payloads, is_protected, public_events
from .receiver_auth import Credentials, NoCredential
from .receiving import DeliveryReceiver
from .sender import Answer, HttpSender, Sender, resolved
from .signing import new_secret, signed_headers
from .store import MOST_OF_ONE, SubscriptionStore
from .subscription import (
    Condition,
    Mode,
    PayloadFormat,
    ReceiverAuth,
    ReceiverAuthKind,
    Status,
    Subscription,
    check_pattern,
    conditions_of,
    matches_type,
)
from .wakes import BrokerQueue, Wake, WakeQueue

__all__ = [
    "MOST_OF_ONE",
    "TEST_EVENT",
    "AddressPolicy",
    "Answer",
    "Attempt",
    "BrokerQueue",
    "Condition",
    "Credentials",
    "Deliverer",
    "Deliveries",
    "Delivery",
    "DeliveryPage",
    "DeliveryReceiver",
    "DeliveryStatus",
    "Endpoints",
    "FanOut",
    "HttpSender",
    "Mode",
    "NoCredential",
    "PayloadFormat",
    "Payloads",
    "ReceiverAuth",
    "ReceiverAuthKind",
    "RefusedAddress",
    "Sender",
    "Status",
    "Subscription",
    "SubscriptionStore",
    "Target",
    "Wake",
    "WakeQueue",
    "check_pattern",
    "check_url",
    "conditions_of",
    "is_protected",
    "matches_type",
    "new_secret",
    "public_events",
    "resolved",
    "signed_headers",
    "wake_overdue",
]
