"""Event Hubs semantics: partitioned logs, consumer groups, and the AMQP links that reach them."""
