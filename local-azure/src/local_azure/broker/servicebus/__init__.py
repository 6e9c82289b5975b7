"""Service Bus semantics: queues, sessions, topics, and the AMQP links and requests that reach them."""
