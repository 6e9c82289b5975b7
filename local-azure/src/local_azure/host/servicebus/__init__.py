"""Service Bus triggers: queues and subscriptions, one message or many at a time."""
