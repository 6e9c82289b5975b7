// Event Hubs through @azure/event-hubs.
import { EventHubBufferedProducerClient, EventHubConsumerClient, EventHubProducerClient } from "@azure/event-hubs";

let connectionString;
const producers = new Map();
const readers = new Map();
const stores = new Map();
const quick = { retryOptions: { maxRetries: 0, timeoutInMs: 20_000 } };

function producer(hub) {
  if (!producers.has(hub)) producers.set(hub, new EventHubProducerClient(connectionString, hub, quick));
  return producers.get(hub);
}

const encodeEvent = (given) => ({ body: Buffer.from(given.body ?? ""), properties: given.properties });

const decodeEvent = (event, partition, context) => ({
  last: context?.lastEnqueuedEventProperties && String(context.lastEnqueuedEventProperties.sequenceNumber),
  body: Buffer.from(event.body).toString(),
  partition,
  properties: event.properties ?? {},
  partition_key: event.partitionKey ?? null,
  sequence: String(event.sequenceNumber),
  offset: String(event.offset),
  enqueued_at: event.enqueuedTimeUtc.getTime(),
});

function positionOf(given) {
  if (given.earliest) return { offset: "-1" };
  if (given.latest) return { offset: "@latest" };
  if (given.sequence !== undefined)
    return { sequenceNumber: Number(given.sequence), isInclusive: given.inclusive ?? false };
  if (given.offset !== undefined) return { offset: given.offset, isInclusive: given.inclusive ?? false };
  return { enqueuedOn: given.time };
}

class MemoryCheckpoints {
  owned = new Map();
  checkpoints = new Map();
  async listOwnership() {
    return [...this.owned.values()];
  }
  async claimOwnership(wanted) {
    const claimed = [];
    for (const each of wanted) {
      const current = this.owned.get(each.partitionId);
      if (current && current.etag !== each.etag) continue;
      const kept = { ...each, etag: String(Math.random()), lastModifiedTimeInMs: Date.now() };
      this.owned.set(each.partitionId, kept);
      claimed.push(kept);
    }
    return claimed;
  }
  async updateCheckpoint(checkpoint) {
    this.checkpoints.set(checkpoint.partitionId, checkpoint);
  }
  async listCheckpoints() {
    return [...this.checkpoints.values()];
  }
}

async function until(done, milliseconds) {
  const end = Date.now() + milliseconds;
  while (!done() && Date.now() < end) await new Promise((resume) => setTimeout(resume, 20));
}

export const eventHubs = {
  async eh_connect(given) {
    connectionString = given.connection_string;
  },
  async eh_send(given) {
    const batch = await producer(given.hub).createBatch({
      partitionKey: given.partition_key,
      partitionId: given.partition,
    });
    for (const each of given.events)
      if (!batch.tryAdd(encodeEvent(each))) throw Object.assign(new Error("full"), { code: "MessageSizeExceeded" });
    await producer(given.hub).sendBatch(batch);
  },
  async eh_send_buffered({ hub, keys }) {
    let failure;
    const buffered = new EventHubBufferedProducerClient(connectionString, hub, {
      ...quick,
      onSendEventsErrorHandler: async ({ error }) => {
        failure ??= error;
      },
    });
    for (const partitionKey of keys) await buffered.enqueueEvent({ body: Buffer.from(partitionKey) }, { partitionKey });
    await buffered.flush();
    await buffered.close();
    if (failure) throw failure;
  },
  async eh_hub(given) {
    const found = await producer(given.hub).getEventHubProperties();
    return { name: found.name, partitions: found.partitionIds };
  },
  async eh_partition(given) {
    const found = await producer(given.hub).getPartitionProperties(given.partition);
    return {
      first: String(found.beginningSequenceNumber),
      last: String(found.lastEnqueuedSequenceNumber),
      last_offset: String(found.lastEnqueuedOffset),
      empty: found.isEmpty ?? null,
    };
  },
  async eh_open(given) {
    const consumer = new EventHubConsumerClient(given.group ?? "$Default", connectionString, given.hub, quick);
    const reader = { consumer, events: [], error: null };
    reader.subscription = consumer.subscribe(
      given.partition,
      {
        async processEvents(events, context) {
          reader.events.push(...events.map((each) => decodeEvent(each, given.partition, context)));
        },
        async processError(error) {
          reader.error ??= error;
        },
      },
      {
        startPosition: positionOf(given.position),
        ownerLevel: given.owner_level,
        trackLastEnqueuedEventProperties: given.track ?? false,
        maxBatchSize: given.batch ?? 100,
        maxWaitTimeInSeconds: 1,
        skipParsingBodyAsJson: true,
      },
    );
    readers.set(given.handle, reader);
  },
  async eh_take(given) {
    const reader = readers.get(given.handle);
    await until(() => reader.error || reader.events.length >= given.max, given.wait);
    if (reader.events.length === 0 && reader.error) throw reader.error;
    return reader.events.splice(0, given.max);
  },
  async eh_close(given) {
    const reader = readers.get(given.handle);
    readers.delete(given.handle);
    await reader.subscription.close();
    await reader.consumer.close();
  },
  async eh_process(given) {
    if (!stores.has(given.store)) stores.set(given.store, new MemoryCheckpoints());
    const store = stores.get(given.store);
    const consumer = new EventHubConsumerClient(given.group ?? "$Default", connectionString, given.hub, store, {
      ...quick,
      loadBalancingOptions: { strategy: "greedy", updateIntervalInMs: 200 },
    });
    const seen = [];
    const errors = [];
    const subscription = consumer.subscribe(
      {
        async processEvents(events, context) {
          if (events.length === 0) return;
          seen.push(...events.map((each) => decodeEvent(each, context.partitionId)));
          await context.updateCheckpoint(events.at(-1));
        },
        async processError(error) {
          errors.push(error);
        },
      },
      { startPosition: { offset: "-1" }, maxWaitTimeInSeconds: 1, skipParsingBodyAsJson: true },
    );
    await until(() => seen.length >= given.count, given.wait);
    await subscription.close();
    await consumer.close();
    if (seen.length === 0 && errors.length) throw errors[0];
    const checkpoints = [...store.checkpoints.values()];
    return {
      events: seen,
      checkpoints: Object.fromEntries(checkpoints.map((each) => [each.partitionId, String(each.sequenceNumber)])),
    };
  },
};
