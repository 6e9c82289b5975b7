import com.azure.core.amqp.AmqpRetryOptions;
import com.azure.messaging.eventhubs.CheckpointStore;
import com.azure.messaging.eventhubs.EventData;
import com.azure.messaging.eventhubs.EventDataBatch;
import com.azure.messaging.eventhubs.EventHubBufferedProducerClient;
import com.azure.messaging.eventhubs.EventHubBufferedProducerClientBuilder;
import com.azure.messaging.eventhubs.EventHubClientBuilder;
import com.azure.messaging.eventhubs.EventHubConsumerAsyncClient;
import com.azure.messaging.eventhubs.EventHubProducerClient;
import com.azure.messaging.eventhubs.EventHubProperties;
import com.azure.messaging.eventhubs.EventProcessorClient;
import com.azure.messaging.eventhubs.EventProcessorClientBuilder;
import com.azure.messaging.eventhubs.LoadBalancingStrategy;
import com.azure.messaging.eventhubs.PartitionProperties;
import com.azure.messaging.eventhubs.models.Checkpoint;
import com.azure.messaging.eventhubs.models.CreateBatchOptions;
import com.azure.messaging.eventhubs.models.EventPosition;
import com.azure.messaging.eventhubs.models.LastEnqueuedEventProperties;
import com.azure.messaging.eventhubs.models.PartitionOwnership;
import com.azure.messaging.eventhubs.models.ReceiveOptions;
import com.azure.messaging.eventhubs.models.SendOptions;
import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Event Hubs through azure-messaging-eventhubs. */
final class Hubs {
    private final Map<String, EventHubProducerClient> producers = new ConcurrentHashMap<>();
    private final Map<String, Reader> readers = new ConcurrentHashMap<>();
    private final Map<String, MemoryCheckpoints> stores = new ConcurrentHashMap<>();

    /** What a reader has got so far. */
    private static final class Reader {
        final LinkedBlockingQueue<Map<String, Object>> events = new LinkedBlockingQueue<>();
        volatile Throwable error;
        EventHubConsumerAsyncClient consumer;
        Disposable subscription;
    }

    /** A checkpoint store in memory. */
    private static final class MemoryCheckpoints implements CheckpointStore {
        final Map<String, PartitionOwnership> owned = new ConcurrentHashMap<>();
        final Map<String, Checkpoint> reached = new ConcurrentHashMap<>();

        @Override
        public Flux<PartitionOwnership> listOwnership(String namespace, String hub, String group) {
            return Flux.fromIterable(owned.values());
        }

        @Override
        public synchronized Flux<PartitionOwnership> claimOwnership(List<PartitionOwnership> wanted) {
            List<PartitionOwnership> claimed = new ArrayList<>();
            for (PartitionOwnership each : wanted) {
                PartitionOwnership current = owned.get(each.getPartitionId());
                if (current == null || current.getETag().equals(each.getETag())) {
                    each.setETag(UUID.randomUUID().toString()).setLastModifiedTime(System.currentTimeMillis());
                    owned.put(each.getPartitionId(), each);
                    claimed.add(each);
                }
            }
            return Flux.fromIterable(claimed);
        }

        @Override
        public Flux<Checkpoint> listCheckpoints(String namespace, String hub, String group) {
            return Flux.fromIterable(reached.values());
        }

        @Override
        public Mono<Void> updateCheckpoint(Checkpoint checkpoint) {
            reached.put(checkpoint.getPartitionId(), checkpoint);
            return Mono.empty();
        }
    }

    private static AmqpRetryOptions once() {
        return new AmqpRetryOptions().setMaxRetries(0).setTryTimeout(Duration.ofSeconds(20));
    }

    private static EventHubClientBuilder builder(JsonNode given) {
        String group = given.has("group") ? Bus.text(given, "group") : EventHubClientBuilder.DEFAULT_CONSUMER_GROUP_NAME;
        return new EventHubClientBuilder().connectionString(Bus.connectionString, Bus.text(given, "hub"))
            .consumerGroup(group).retryOptions(once());
    }

    private EventHubProducerClient producer(JsonNode given) {
        return producers.computeIfAbsent(Bus.text(given, "hub"), hub -> builder(given).buildProducerClient());
    }

    private static EventData encode(JsonNode given) {
        EventData event = new EventData(Bus.text(given, "body"));
        if (given.has("properties")) {
            event.getProperties().putAll(Bus.propertiesOf(given.get("properties")));
        }
        return event;
    }

    private static Map<String, Object> decode(EventData event, String partition) {
        Map<String, Object> shown = new LinkedHashMap<>();
        shown.put("body", event.getBodyAsString());
        shown.put("partition", partition);
        shown.put("properties", event.getProperties());
        shown.put("partition_key", event.getPartitionKey());
        shown.put("sequence", String.valueOf(event.getSequenceNumber()));
        shown.put("offset", event.getOffsetString());
        shown.put("enqueued_at", event.getEnqueuedTime().toEpochMilli());
        return shown;
    }

    private static EventPosition position(JsonNode given) {
        if (given.has("earliest")) {
            return EventPosition.earliest();
        }
        if (given.has("latest")) {
            return EventPosition.latest();
        }
        if (given.has("sequence")) {
            return EventPosition.fromSequenceNumber(given.get("sequence").asLong(), given.path("inclusive").asBoolean());
        }
        if (given.has("offset")) {
            return EventPosition.fromOffsetString(Bus.text(given, "offset"));
        }
        return EventPosition.fromEnqueuedTime(Instant.ofEpochMilli(given.get("time").asLong()));
    }

    private Object send(JsonNode given) {
        CreateBatchOptions options = new CreateBatchOptions();
        if (given.has("partition_key")) {
            options.setPartitionKey(Bus.text(given, "partition_key"));
        }
        if (given.has("partition")) {
            options.setPartitionId(Bus.text(given, "partition"));
        }
        EventDataBatch batch = producer(given).createBatch(options);
        given.get("events").forEach(each -> {
            if (!batch.tryAdd(encode(each))) {
                throw new IllegalStateException("the batch is full");
            }
        });
        producer(given).send(batch);
        return null;
    }

    private Object sendBuffered(JsonNode given) throws Exception {
        List<Throwable> errors = new ArrayList<>();
        try (EventHubBufferedProducerClient buffered = new EventHubBufferedProducerClientBuilder()
            .connectionString(Bus.connectionString, Bus.text(given, "hub"))
            .onSendBatchFailed(failed -> errors.add(failed.getThrowable()))
            .onSendBatchSucceeded(done -> { }).buildClient()) {
            given.get("keys").forEach(key -> buffered.enqueueEvent(new EventData(key.asText()),
                new SendOptions().setPartitionKey(key.asText())));
            buffered.flush();
        }
        if (!errors.isEmpty()) {
            throw new IllegalStateException(errors.get(0));
        }
        return null;
    }

    private Object open(JsonNode given) {
        Reader reader = new Reader();
        String partition = Bus.text(given, "partition");
        ReceiveOptions options = new ReceiveOptions();
        if (given.has("owner_level")) {
            options.setOwnerLevel(given.get("owner_level").asLong());
        }
        options.setTrackLastEnqueuedEventProperties(given.path("track").asBoolean());
        reader.consumer = builder(given).buildAsyncConsumerClient();
        reader.subscription = reader.consumer.receiveFromPartition(partition, position(given.get("position")), options)
            .subscribe(event -> {
                Map<String, Object> shown = decode(event.getData(), partition);
                LastEnqueuedEventProperties last = event.getLastEnqueuedEventProperties();
                shown.put("last", last == null ? null : String.valueOf(last.getSequenceNumber()));
                reader.events.add(shown);
            }, error -> reader.error = error);
        readers.put(Bus.text(given, "handle"), reader);
        return null;
    }

    private Object take(JsonNode given) throws Exception {
        Reader reader = readers.get(Bus.text(given, "handle"));
        long end = System.nanoTime() + given.get("wait").asLong() * 1_000_000;
        List<Map<String, Object>> found = new ArrayList<>();
        while (found.size() < given.get("max").asInt() && System.nanoTime() < end) {
            Map<String, Object> event = reader.events.poll(20, TimeUnit.MILLISECONDS);
            if (event != null) {
                found.add(event);
            } else if (reader.error != null) {
                break;
            }
        }
        if (found.isEmpty() && reader.error != null) {
            throw new IllegalStateException(reader.error);
        }
        return found;
    }

    private Object close(JsonNode given) {
        Reader reader = readers.remove(Bus.text(given, "handle"));
        reader.subscription.dispose();
        reader.consumer.close();
        return null;
    }

    private Object process(JsonNode given) throws Exception {
        MemoryCheckpoints store = stores.computeIfAbsent(Bus.text(given, "store"), name -> new MemoryCheckpoints());
        LinkedBlockingQueue<Map<String, Object>> seen = new LinkedBlockingQueue<>();
        EventProcessorClient processor = new EventProcessorClientBuilder()
            .connectionString(Bus.connectionString, Bus.text(given, "hub"))
            .consumerGroup(EventHubClientBuilder.DEFAULT_CONSUMER_GROUP_NAME).retryOptions(once()).checkpointStore(store)
            .loadBalancingStrategy(LoadBalancingStrategy.GREEDY).loadBalancingUpdateInterval(Duration.ofMillis(500))
            .partitionOwnershipExpirationInterval(Duration.ofSeconds(2))
            .initialPartitionEventPosition(partition -> EventPosition.earliest())
            .processEvent(context -> {
                context.updateCheckpoint();
                seen.add(decode(context.getEventData(), context.getPartitionContext().getPartitionId()));
            })
            .processError(context -> { })
            .buildEventProcessorClient();
        processor.start();
        long end = System.nanoTime() + given.get("wait").asLong() * 1_000_000;
        while (seen.size() < given.get("count").asInt() && System.nanoTime() < end) {
            Thread.sleep(20);
        }
        processor.stop();
        Map<String, String> reached = new HashMap<>();
        store.reached.forEach((partition, each) -> reached.put(partition, String.valueOf(each.getSequenceNumber())));
        return Map.of("events", new ArrayList<>(seen), "checkpoints", reached);
    }

    void register(Map<String, Driver.Operation> operations) {
        operations.put("eh_connect", given -> null);
        operations.put("eh_send", this::send);
        operations.put("eh_send_buffered", this::sendBuffered);
        operations.put("eh_hub", given -> {
            EventHubProperties found = producer(given).getEventHubProperties();
            return Map.of("name", found.getName(), "partitions", found.getPartitionIds().stream().toList());
        });
        operations.put("eh_partition", given -> {
            PartitionProperties found = producer(given).getPartitionProperties(Bus.text(given, "partition"));
            return Map.of("first", String.valueOf(found.getBeginningSequenceNumber()),
                "last", String.valueOf(found.getLastEnqueuedSequenceNumber()),
                "last_offset", String.valueOf(found.getLastEnqueuedOffset()), "empty", found.isEmpty());
        });
        operations.put("eh_open", this::open);
        operations.put("eh_take", this::take);
        operations.put("eh_close", this::close);
        operations.put("eh_process", this::process);
    }
}
