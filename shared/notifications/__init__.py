"""Notifications: chosen events of the event log to a custom topic of Event Grid, for whoever subscribes there."""

from .notifier import Notifier
from .topic import NotificationRefused, NotificationsUnavailable, TopicPublisher

__all__ = ["NotificationRefused", "NotificationsUnavailable", "Notifier", "TopicPublisher"]
