"""Azure Service Bus and Event Hubs on a laptop: a durable broker over AMQP 1.0, without Docker."""
