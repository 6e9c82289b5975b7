import com.azure.core.amqp.AmqpRetryOptions;
import com.azure.core.amqp.AmqpTransportType;
import com.azure.core.amqp.models.AmqpMessageBody;
import com.azure.core.amqp.models.AmqpMessageBodyType;
import com.azure.core.util.BinaryData;
import com.azure.messaging.servicebus.ServiceBusClientBuilder;
import com.azure.messaging.servicebus.ServiceBusMessage;
import com.azure.messaging.servicebus.ServiceBusMessageBatch;
import com.azure.messaging.servicebus.ServiceBusProcessorClient;
import com.azure.messaging.servicebus.ServiceBusReceivedMessage;
import com.azure.messaging.servicebus.ServiceBusReceiverClient;
import com.azure.messaging.servicebus.ServiceBusRuleManagerClient;
import com.azure.messaging.servicebus.ServiceBusSenderClient;
import com.azure.messaging.servicebus.ServiceBusSessionReceiverClient;
import com.azure.messaging.servicebus.ServiceBusTransactionContext;
import com.azure.messaging.servicebus.administration.models.CreateRuleOptions;
import com.azure.messaging.servicebus.administration.models.RuleProperties;
import com.azure.messaging.servicebus.administration.models.SqlRuleAction;
import com.azure.messaging.servicebus.administration.models.SqlRuleFilter;
import com.azure.messaging.servicebus.models.AbandonOptions;
import com.azure.messaging.servicebus.models.CompleteOptions;
import com.azure.messaging.servicebus.models.DeadLetterOptions;
import com.azure.messaging.servicebus.models.DeferOptions;
import com.azure.messaging.servicebus.models.ServiceBusReceiveMode;
import com.azure.messaging.servicebus.models.SubQueue;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.FileInputStream;
import java.io.InputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Service Bus through azure-messaging-servicebus. */
final class Bus {
    static String connectionString;
    static String adminConnectionString;
    static String certificate;

    private final Map<String, ServiceBusSenderClient> senders = new ConcurrentHashMap<>();
    private final Map<String, ServiceBusReceiverClient> receivers = new ConcurrentHashMap<>();
    private final Map<Integer, ServiceBusReceivedMessage> messages = new ConcurrentHashMap<>();
    private final Map<String, ServiceBusTransactionContext> transactions = new ConcurrentHashMap<>();
    private final AtomicInteger lastRef = new AtomicInteger();
    private ServiceBusClientBuilder shared;

    static Map<String, Object> propertiesOf(JsonNode given) {
        Map<String, Object> found = new HashMap<>();
        given.fields().forEachRemaining(each -> {
            JsonNode value = each.getValue();
            found.put(each.getKey(), value.isIntegralNumber() ? (Object) value.asLong()
                : value.isNumber() ? (Object) value.asDouble()
                : value.isBoolean() ? (Object) value.asBoolean() : value.asText());
        });
        return found;
    }

    static String text(JsonNode given, String key) {
        return given.hasNonNull(key) ? given.get(key).asText() : null;
    }

    static Long milliseconds(OffsetDateTime at) {
        return at == null ? null : at.toInstant().toEpochMilli();
    }

    private static ServiceBusClientBuilder builder(long milliseconds) {
        AmqpRetryOptions once = new AmqpRetryOptions().setMaxRetries(0).setTryTimeout(Duration.ofMillis(milliseconds));
        return new ServiceBusClientBuilder().connectionString(connectionString).retryOptions(once);
    }

    private static ServiceBusMessage encode(JsonNode given) {
        String body = given.hasNonNull("body") ? given.get("body").asText() : "";
        ServiceBusMessage message = new ServiceBusMessage(BinaryData.fromString(body))
            .setMessageId(text(given, "id")).setSubject(text(given, "subject"));
        if (given.has("session")) {
            message.setSessionId(text(given, "session"));
        }
        if (given.has("ttl")) {
            message.setTimeToLive(Duration.ofMillis((long) (given.get("ttl").asDouble() * 1000)));
        }
        if (given.has("properties")) {
            message.getApplicationProperties().putAll(propertiesOf(given.get("properties")));
        }
        return message;
    }

    private static List<ServiceBusMessage> encodeAll(JsonNode given) {
        List<ServiceBusMessage> encoded = new ArrayList<>();
        given.get("messages").forEach(each -> encoded.add(encode(each)));
        return encoded;
    }

    private List<Map<String, Object>> decode(Iterable<ServiceBusReceivedMessage> found) {
        List<Map<String, Object>> decoded = new ArrayList<>();
        for (ServiceBusReceivedMessage each : found) {
            int ref = lastRef.incrementAndGet();
            messages.put(ref, each);
            Map<String, Object> shown = new LinkedHashMap<>();
            shown.put("ref", ref);
            shown.put("body", each.getBody().toString());
            shown.put("id", each.getMessageId());
            shown.put("session", each.getSessionId());
            shown.put("subject", each.getSubject());
            shown.put("properties", each.getApplicationProperties());
            shown.put("sequence", String.valueOf(each.getSequenceNumber()));
            shown.put("deliveries", each.getDeliveryCount());
            shown.put("state", each.getState() == null ? null : each.getState().toString().toLowerCase(Locale.ROOT));
            shown.put("locked_until", milliseconds(each.getLockedUntil()));
            shown.put("enqueued_at", milliseconds(each.getEnqueuedTime()));
            shown.put("dead_letter_reason", each.getDeadLetterReason());
            shown.put("dead_letter_description", each.getDeadLetterErrorDescription());
            shown.put("dead_letter_source", each.getDeadLetterSource());
            decoded.add(shown);
        }
        return decoded;
    }

    private static List<Long> numbers(JsonNode given) {
        List<Long> found = new ArrayList<>();
        given.get("sequences").forEach(each -> found.add(Long.parseLong(each.asText())));
        return found;
    }

    /** Trust the broker's certificate in all of this process: the AMQP library asks the default context alone. */
    private static void trust(String path) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream source = new FileInputStream(path)) {
            store.setCertificateEntry("broker", CertificateFactory.getInstance("X.509").generateCertificate(source));
        }
        TrustManagerFactory trusted = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trusted.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trusted.getTrustManagers(), null);
        SSLContext.setDefault(context);
    }

    /** Send and receive one message over TLS, or over a WebSocket. */
    private Object exchange(JsonNode given) {
        String queue = text(given, "queue");
        String host = connectionString.replaceAll("^Endpoint=sb://([^;/]+).*", "$1");
        String secure = connectionString.replace("UseDevelopmentEmulator=true;", "").replace(host, "localhost");
        ServiceBusClientBuilder clients = new ServiceBusClientBuilder().connectionString(secure)
            .customEndpointAddress("https://" + host).transportType("websocket".equals(text(given, "transport"))
                ? AmqpTransportType.AMQP_WEB_SOCKETS : AmqpTransportType.AMQP)
            .retryOptions(new AmqpRetryOptions().setMaxRetries(0).setTryTimeout(Duration.ofSeconds(20)));
        try (ServiceBusSenderClient sender = clients.sender().queueName(queue).buildClient();
            ServiceBusReceiverClient receiver = clients.receiver().queueName(queue)
                .receiveMode(ServiceBusReceiveMode.RECEIVE_AND_DELETE).buildClient()) {
            sender.sendMessage(new ServiceBusMessage(text(given, "transport")));
            return receiver.receiveMessages(1, Duration.ofSeconds(10)).stream().findFirst()
                .map(each -> each.getBody().toString()).orElse(null);
        }
    }

    /** Process messages as they come, with the library's own settling and lock renewal. */
    private Object process(JsonNode given) throws Exception {
        LinkedBlockingQueue<Map<String, Object>> seen = new LinkedBlockingQueue<>();
        ServiceBusProcessorClient processor = shared.processor().queueName(text(given, "queue")).maxConcurrentCalls(4)
            .processMessage(context -> {
                seen.add(Map.of("id", context.getMessage().getMessageId(),
                    "deliveries", context.getMessage().getDeliveryCount()));
                pause(given.path("busy").asLong());
                if (context.getMessage().getMessageId().equals(text(given, "fail"))) {
                    throw new IllegalStateException("as asked");
                }
            })
            .processError(context -> { }).buildProcessorClient();
        processor.start();
        long end = System.nanoTime() + given.get("wait").asLong() * 1_000_000;
        while (seen.size() < given.get("count").asInt() && System.nanoTime() < end) {
            pause(20);
        }
        pause(given.path("busy").asLong());
        pause(100); // the last settlement follows the last message
        processor.close();
        return new ArrayList<>(seen);
    }

    private static void pause(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private Object sendBody(JsonNode given) {
        Object value = Driver.JSON.convertValue(given.get("value"), Object.class);
        AmqpMessageBody body = "value".equals(text(given, "kind")) ? AmqpMessageBody.fromValue(value)
            : AmqpMessageBody.fromSequence((List<Object>) ((List<?>) value).get(0));
        sender(given).sendMessage(new ServiceBusMessage(body));
        return null;
    }

    private Object receiveBody(JsonNode given) {
        AmqpMessageBody body = receiver(given).receiveMessages(1, Duration.ofSeconds(10)).stream().findFirst().orElseThrow()
            .getRawAmqpMessage().getBody();
        boolean isValue = body.getBodyType() == AmqpMessageBodyType.VALUE;
        return Map.of("kind", body.getBodyType().toString().toLowerCase(Locale.ROOT),
            "value", isValue ? body.getValue() : List.of(body.getSequence()));
    }

    /** Move a message from one queue to another in one transaction, which sends by way of the first. */
    private Object move(JsonNode given) {
        ServiceBusClientBuilder clients = builder(20_000).enableCrossEntityTransactions();
        try (ServiceBusReceiverClient receiver = clients.receiver().queueName(text(given, "queue")).disableAutoComplete()
                .maxAutoLockRenewDuration(Duration.ZERO).buildClient();
            ServiceBusSenderClient sender = clients.sender().queueName(text(given, "to")).buildClient()) {
            ServiceBusReceivedMessage message = receiver.receiveMessages(1, Duration.ofSeconds(10)).stream().findFirst()
                .orElseThrow();
            ServiceBusTransactionContext within = receiver.createTransaction();
            receiver.complete(message, new CompleteOptions().setTransactionContext(within));
            sender.sendMessage(new ServiceBusMessage(message), within);
            if (given.path("commit").asBoolean()) {
                receiver.commitTransaction(within);
            } else {
                receiver.rollbackTransaction(within);
            }
            return null;
        }
    }

    private ServiceBusSenderClient sender(JsonNode given) {
        return senders.computeIfAbsent(given.has("queue") ? text(given, "queue") : text(given, "topic"), entity ->
            given.has("queue") ? shared.sender().queueName(entity).buildClient()
                : shared.sender().topicName(entity).buildClient());
    }

    private ServiceBusReceiverClient receiver(JsonNode given) {
        return receivers.get(text(given, "handle"));
    }

    private static ServiceBusReceiveMode mode(JsonNode given) {
        return "delete".equals(text(given, "mode")) ? ServiceBusReceiveMode.RECEIVE_AND_DELETE
            : ServiceBusReceiveMode.PEEK_LOCK;
    }

    private Object send(JsonNode given) {
        ServiceBusTransactionContext within = given.has("transaction") ? transactions.get(text(given, "transaction")) : null;
        if (!given.path("batch").asBoolean()) {
            for (ServiceBusMessage each : encodeAll(given)) {
                if (within == null) {
                    sender(given).sendMessage(each);
                } else {
                    sender(given).sendMessage(each, within);
                }
            }
            return null;
        }
        ServiceBusMessageBatch batch = sender(given).createMessageBatch();
        for (ServiceBusMessage each : encodeAll(given)) {
            if (!batch.tryAddMessage(each)) {
                throw new IllegalStateException("the batch is full");
            }
        }
        sender(given).sendMessages(batch);
        return null;
    }

    private Object fillBatch(JsonNode given) {
        ServiceBusMessageBatch batch = sender(given).createMessageBatch();
        while (batch.tryAddMessage(encode(given.get("message")))) {
            continue;
        }
        sender(given).sendMessages(batch);
        return batch.getCount();
    }

    private Object schedule(JsonNode given) {
        OffsetDateTime at = Instant.ofEpochMilli(given.get("at").asLong()).atOffset(ZoneOffset.UTC);
        ServiceBusTransactionContext within = given.has("transaction") ? transactions.get(text(given, "transaction")) : null;
        List<String> found = new ArrayList<>();
        (within == null ? sender(given).scheduleMessages(encodeAll(given), at)
            : sender(given).scheduleMessages(encodeAll(given), at, within)).forEach(each -> found.add(String.valueOf(each)));
        return found;
    }

    private Object open(JsonNode given) {
        ServiceBusClientBuilder.ServiceBusReceiverClientBuilder builder = shared.receiver().receiveMode(mode(given))
            .disableAutoComplete().maxAutoLockRenewDuration(Duration.ZERO);
        if (given.has("queue")) {
            builder.queueName(text(given, "queue"));
        } else {
            builder.topicName(text(given, "topic")).subscriptionName(text(given, "subscription"));
        }
        if (given.path("dead_letters").asBoolean()) {
            builder.subQueue(SubQueue.DEAD_LETTER_QUEUE);
        }
        receivers.put(text(given, "handle"), builder.buildClient());
        return null;
    }

    private Object accept(JsonNode given) {
        // over a connection of its own: on a shared one this library gives the same link for the same session
        ServiceBusClientBuilder clients = builder(1_000 + given.path("wait").asLong(19_000)); // it waits a second less
        ServiceBusClientBuilder.ServiceBusSessionReceiverClientBuilder builder = clients.sessionReceiver()
            .receiveMode(mode(given)).disableAutoComplete().maxAutoLockRenewDuration(Duration.ZERO);
        if (given.has("queue")) {
            builder.queueName(text(given, "queue"));
        } else {
            builder.topicName(text(given, "topic")).subscriptionName(text(given, "subscription"));
        }
        ServiceBusSessionReceiverClient sessions = builder.buildClient();
        ServiceBusReceiverClient accepted = given.hasNonNull("session")
            ? sessions.acceptSession(text(given, "session")) : sessions.acceptNextSession();
        receivers.put(text(given, "handle"), accepted);
        Map<String, Object> shown = new HashMap<>();
        shown.put("session", accepted.getSessionId());
        shown.put("locked_until", null); // this library does not show it
        return shown;
    }

    private Object settle(JsonNode given) {
        ServiceBusReceivedMessage message = messages.get(given.get("ref").asInt());
        ServiceBusReceiverClient settling = receiver(given);
        Map<String, Object> properties = given.has("properties") ? propertiesOf(given.get("properties")) : null;
        ServiceBusTransactionContext within = given.has("transaction") ? transactions.get(text(given, "transaction")) : null;
        switch (text(given, "how")) {
            case "complete" -> {
                if (within == null) {
                    settling.complete(message);
                } else {
                    settling.complete(message, new CompleteOptions().setTransactionContext(within));
                }
            }
            case "abandon" -> settling.abandon(message, new AbandonOptions().setPropertiesToModify(properties));
            case "defer" -> settling.defer(message, new DeferOptions().setPropertiesToModify(properties));
            default -> settling.deadLetter(message, new DeadLetterOptions().setPropertiesToModify(properties)
                .setDeadLetterReason(text(given, "reason")).setDeadLetterErrorDescription(text(given, "description")));
        }
        return null;
    }

    private Object peek(JsonNode given) {
        int max = given.get("max").asInt();
        return decode(given.has("from") ? receiver(given).peekMessages(max, Long.parseLong(text(given, "from")))
            : receiver(given).peekMessages(max));
    }

    private Object close(JsonNode given) {
        ServiceBusReceiverClient closing = receivers.remove(text(given, "handle"));
        if (closing != null) {
            closing.close();
        }
        return null;
    }

    private ServiceBusRuleManagerClient rules(JsonNode given) {
        return shared.ruleManager().topicName(text(given, "topic")).subscriptionName(text(given, "subscription"))
            .buildClient();
    }

    void register(Map<String, Driver.Operation> operations) {
        operations.put("connect", given -> {
            connectionString = text(given, "connection_string");
            adminConnectionString = text(given, "admin_connection_string");
            certificate = text(given, "certificate");
            shared = builder(20_000);
            trust(certificate);
            return null;
        });
        operations.put("send", this::send);
        operations.put("fill_batch", this::fillBatch);
        operations.put("schedule", this::schedule);
        operations.put("cancel", given -> {
            sender(given).cancelScheduledMessages(numbers(given));
            return null;
        });
        operations.put("process", this::process);
        operations.put("send_body", this::sendBody);
        operations.put("receive_body", this::receiveBody);
        operations.put("exchange", this::exchange);
        operations.put("move", this::move);
        operations.put("open", this::open);
        operations.put("accept", this::accept);
        operations.put("receive", given -> decode(receiver(given)
            .receiveMessages(given.get("max").asInt(), Duration.ofMillis(given.get("wait").asLong()))));
        operations.put("receive_deferred", given -> decode(receiver(given).receiveDeferredMessageBatch(numbers(given))));
        operations.put("peek", this::peek);
        operations.put("settle", this::settle);
        operations.put("renew", given ->
            milliseconds(receiver(given).renewMessageLock(messages.get(given.get("ref").asInt()))));
        operations.put("renew_session", given -> milliseconds(receiver(given).renewSessionLock()));
        operations.put("get_state", given -> {
            byte[] state = receiver(given).getSessionState();
            return state == null ? null : new String(state, java.nio.charset.StandardCharsets.UTF_8);
        });
        operations.put("set_state", given -> {
            receiver(given).setSessionState(text(given, "state").getBytes(java.nio.charset.StandardCharsets.UTF_8));
            return null;
        });
        operations.put("close", this::close);
        operations.put("add_rule", given -> {
            try (ServiceBusRuleManagerClient manager = rules(given)) {
                CreateRuleOptions rule = new CreateRuleOptions(new SqlRuleFilter(text(given, "sql")));
                if (given.has("action")) {
                    rule.setAction(new SqlRuleAction(text(given, "action")));
                }
                manager.createRule(text(given, "name"), rule);
                return null;
            }
        });
        operations.put("rules", given -> {
            try (ServiceBusRuleManagerClient manager = rules(given)) {
                List<String> found = new ArrayList<>();
                manager.listRules().stream().map(RuleProperties::getName).forEach(found::add);
                return found;
            }
        });
        operations.put("remove_rule", given -> {
            try (ServiceBusRuleManagerClient manager = rules(given)) {
                manager.deleteRule(text(given, "name"));
                return null;
            }
        });
        operations.put("begin", given -> {
            transactions.put(text(given, "transaction"), sender(given).createTransaction());
            return null;
        });
        operations.put("commit", given -> {
            sender(given).commitTransaction(transactions.remove(text(given, "transaction")));
            return null;
        });
        operations.put("roll_back", given -> {
            sender(given).rollbackTransaction(transactions.remove(text(given, "transaction")));
            return null;
        });
    }
}
