"""Event Grid on this machine: custom topics, and subscriptions with filters, retries, dead letters."""

from local_azure.eventgrid.errors import EventGridError
from local_azure.eventgrid.grid import Attempt, Grid, Undeliverable
from local_azure.eventgrid.policy import Outcome
from local_azure.eventgrid.subscriptions import EventSubscription
from local_azure.eventgrid.topics import Schema, Topic

__all__ = ["Attempt", "EventGridError", "EventSubscription", "Grid", "Outcome", "Schema", "Topic", "Undeliverable"]
