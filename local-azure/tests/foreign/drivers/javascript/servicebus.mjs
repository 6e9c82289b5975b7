// Service Bus through @azure/service-bus.
import { ServiceBusAdministrationClient, ServiceBusClient } from "@azure/service-bus";
import Long from "long";
import { WebSocket } from "ws";

let client;
let connection;
const senders = new Map();
const receivers = new Map();
const messages = new Map();
let lastRef = 0;

const clientWithin = (timeoutInMs) =>
  new ServiceBusClient(connection.connection_string, { retryOptions: { maxRetries: 0, timeoutInMs } });
const milliseconds = (date) => (date ? date.getTime() : null);
const entityOf = ({ queue, topic }) => queue ?? topic;

function encodeMessage(given) {
  return {
    body: Buffer.from(given.body ?? ""),
    messageId: given.id,
    sessionId: given.session,
    subject: given.subject,
    correlationId: given.correlation,
    to: given.to,
    replyTo: given.reply_to,
    contentType: given.content_type,
    partitionKey: given.partition_key,
    timeToLive: given.ttl === undefined ? undefined : given.ttl * 1000,
    scheduledEnqueueTimeUtc: given.scheduled_at === undefined ? undefined : new Date(given.scheduled_at),
    applicationProperties: given.properties,
  };
}

function decodeMessage(message) {
  const ref = ++lastRef;
  messages.set(ref, message);
  return {
    ref,
    body: Buffer.isBuffer(message.body) ? message.body.toString() : JSON.stringify(message.body),
    id: message.messageId,
    session: message.sessionId ?? null,
    subject: message.subject ?? null,
    properties: message.applicationProperties ?? {},
    sequence: message.sequenceNumber?.toString() ?? null,
    deliveries: message.deliveryCount ?? null,
    state: message.state ?? null,
    locked_until: milliseconds(message.lockedUntilUtc),
    enqueued_at: milliseconds(message.enqueuedTimeUtc),
    dead_letter_reason: message.deadLetterReason ?? null,
    dead_letter_description: message.deadLetterErrorDescription ?? null,
    dead_letter_source: message.deadLetterSource ?? null,
  };
}

function sender(given) {
  const entity = entityOf(given);
  if (!senders.has(entity)) senders.set(entity, client.createSender(entity));
  return senders.get(entity);
}

function receiver({ handle }) {
  return receivers.get(handle);
}

const optionsOf = ({ mode }) => ({
  receiveMode: mode === "delete" ? "receiveAndDelete" : "peekLock",
  skipParsingBodyAsJson: true,
  maxAutoLockRenewalDurationInMs: 0,
});

const addressOf = ({ queue, topic, subscription }) => (queue ? [queue] : [topic, subscription]);
const numbersOf = ({ sequences }) => sequences.map((each) => Long.fromString(each));

async function acceptNext(given) {
  if (given.wait === undefined) return await client.acceptNextSession(...addressOf(given), optionsOf(given));
  const impatient = clientWithin(given.wait);
  try {
    return await impatient.acceptNextSession(...addressOf(given), optionsOf(given));
  } finally {
    await impatient.close();
  }
}

async function release(given) {
  await receiver(given)?.close();
  receivers.delete(given.handle);
}

export const serviceBus = {
  async connect(given) {
    connection = given;
    client = clientWithin(20_000);
  },

  async send(given) {
    const encoded = given.messages.map(encodeMessage);
    if (!given.batch) {
      for (const each of encoded) await sender(given).sendMessages(each);
      return;
    }
    const batch = await sender(given).createMessageBatch();
    for (const each of encoded) if (!batch.tryAddMessage(each)) throw new Error("the batch is full");
    await sender(given).sendMessages(batch);
  },
  async fill_batch(given) {
    const batch = await sender(given).createMessageBatch();
    while (batch.tryAddMessage(encodeMessage(given.message)));
    const count = batch.count;
    await sender(given).sendMessages(batch);
    return count;
  },
  async schedule(given) {
    const numbers = await sender(given).scheduleMessages(given.messages.map(encodeMessage), new Date(given.at));
    return numbers.map(String);
  },
  async cancel(given) {
    await sender(given).cancelScheduledMessages(numbersOf(given));
  },

  async exchange({ queue, transport }) {
    const secure = connection.connection_string.replace("UseDevelopmentEmulator=true;", "");
    const options = transport === "websocket" ? { webSocketOptions: { webSocket: WebSocket } } : {};
    const other = new ServiceBusClient(secure, { ...options, retryOptions: { maxRetries: 0, timeoutInMs: 20_000 } });
    try {
      await other.createSender(queue).sendMessages({ body: Buffer.from(transport) });
      const [found] = await other
        .createReceiver(queue, { receiveMode: "receiveAndDelete", skipParsingBodyAsJson: true })
        .receiveMessages(1, { maxWaitTimeInMs: 10_000 });
      return found.body.toString();
    } finally {
      await other.close();
    }
  },

  async open(given) {
    const subQueueType = given.dead_letters ? "deadLetter" : undefined;
    receivers.set(given.handle, client.createReceiver(...addressOf(given), { ...optionsOf(given), subQueueType }));
  },
  async accept(given) {
    const named = given.session !== undefined && given.session !== null;
    const accepted = named
      ? await client.acceptSession(...addressOf(given), given.session, optionsOf(given))
      : await acceptNext(given);
    receivers.set(given.handle, accepted);
    return { session: accepted.sessionId, locked_until: milliseconds(accepted.sessionLockedUntilUtc) };
  },
  async receive(given) {
    const found = await receiver(given).receiveMessages(given.max, { maxWaitTimeInMs: given.wait });
    return found.map(decodeMessage);
  },
  async receive_deferred(given) {
    return (await receiver(given).receiveDeferredMessages(numbersOf(given))).map(decodeMessage);
  },
  async peek(given) {
    const fromSequenceNumber = given.from === undefined ? undefined : Long.fromString(given.from);
    return (await receiver(given).peekMessages(given.max, { fromSequenceNumber })).map(decodeMessage);
  },
  async settle(given) {
    const message = messages.get(given.ref);
    const settling = receiver(given);
    if (given.how === "complete") await settling.completeMessage(message);
    else if (given.how === "abandon") await settling.abandonMessage(message, given.properties);
    else if (given.how === "defer") await settling.deferMessage(message, given.properties);
    else
      await settling.deadLetterMessage(message, {
        deadLetterReason: given.reason,
        deadLetterErrorDescription: given.description,
        ...given.properties,
      });
  },
  async renew(given) {
    return milliseconds(await receiver(given).renewMessageLock(messages.get(given.ref)));
  },
  async renew_session(given) {
    return milliseconds(await receiver(given).renewSessionLock());
  },
  async get_state(given) {
    const state = await receiver(given).getSessionState();
    return state === null || state === undefined ? null : Buffer.from(state).toString();
  },
  async set_state(given) {
    await receiver(given).setSessionState(given.state === null ? null : Buffer.from(given.state));
  },
  async process({ queue, count, wait, fail, busy }) {
    const processor = client.createReceiver(queue, { skipParsingBodyAsJson: true });
    const seen = [];
    const subscription = processor.subscribe(
      {
        async processMessage(message) {
          seen.push({ id: message.messageId, deliveries: message.deliveryCount });
          if (busy) await new Promise((resume) => setTimeout(resume, busy));
          if (message.messageId === fail) throw new Error("as asked");
        },
        async processError() {},
      },
      // one at a time: rhea merges an abandon with the completions that follow it at once, and abandons them all
      { maxConcurrentCalls: busy ? 4 : 1 },
    );
    const end = Date.now() + wait;
    while (seen.length < count && Date.now() < end) await new Promise((resume) => setTimeout(resume, 20));
    if (busy) await new Promise((resume) => setTimeout(resume, busy));
    await subscription.close();
    await processor.close();
    return seen;
  },
  async send_body({ queue, kind, value }) {
    await sender({ queue }).sendMessages({ body: value, bodyType: kind });
  },
  async receive_body({ handle }) {
    const [message] = await receiver({ handle }).receiveMessages(1, { maxWaitTimeInMs: 10_000 });
    return { kind: message._rawAmqpMessage.bodyType, value: message.body };
  },
  close: release,

  async add_rule(given) {
    const manager = client.createRuleManager(given.topic, given.subscription);
    const filter = given.sql === undefined ? given.correlation : { sqlExpression: given.sql };
    await manager.createRule(given.name, filter, given.action && { sqlExpression: given.action });
  },
  async rules(given) {
    const manager = client.createRuleManager(given.topic, given.subscription);
    const found = [];
    for await (const rule of manager.listRules()) found.push(rule.name);
    return found;
  },
  async remove_rule(given) {
    const manager = client.createRuleManager(given.topic, given.subscription);
    await manager.deleteRule(given.name);
  },

  async admin(given) {
    const admin = new ServiceBusAdministrationClient(connection.admin_connection_string, {
      retryOptions: { maxRetries: 0 },
    });
    const { topic, subscription } = given;
    switch (given.action) {
      case "create_queue":
        return showQueue(await admin.createQueue(given.queue, queueOptions(given)));
      case "get_queue":
        return showQueue(await admin.getQueue(given.queue));
      case "update_queue":
        return showQueue(
          await admin.updateQueue({ ...(await admin.getQueue(given.queue)), ...queueOptions(given) }),
        );
      case "list_queues":
        return await names(admin.listQueues(), "name");
      case "delete_queue":
        await admin.deleteQueue(given.queue);
        return null;
      case "count_queue":
        return countsOf(await admin.getQueueRuntimeProperties(given.queue));
      case "create_topic":
        return { name: (await admin.createTopic(topic)).name };
      case "list_topics":
        return await names(admin.listTopics(), "name");
      case "delete_topic":
        await admin.deleteTopic(topic);
        return null;
      case "create_subscription":
        return { name: (await admin.createSubscription(topic, subscription)).subscriptionName };
      case "get_topic":
        return await admin.getTopic(topic).then((found) => ({ name: found.name, life: found.defaultMessageTimeToLive }));
      case "get_subscription":
        return showSubscription(await admin.getSubscription(topic, subscription));
      case "list_subscriptions":
        return await names(admin.listSubscriptions(topic), "subscriptionName");
      case "create_rule":
        return { name: (await admin.createRule(topic, subscription, given.name, { sqlExpression: given.sql })).name };
      case "get_rule":
        return { sql: (await admin.getRule(topic, subscription, given.name)).filter.sqlExpression };
      case "list_rules":
        return await names(admin.listRules(topic, subscription), "name");
      case "delete_rule":
        await admin.deleteRule(topic, subscription, given.name);
        return null;
      default:
        throw new Error(`no action ${given.action}`);
    }
  },
};

async function names(pages, key) {
  const found = [];
  for await (const each of pages) found.push(each[key]);
  return found;
}

const queueOptions = (given) => ({
  lockDuration: given.lock,
  maxDeliveryCount: given.deliveries,
  autoDeleteOnIdle: given.idle,
  enablePartitioning: given.partitioned,
  authorizationRules: given.rule && [
    {
      keyName: given.rule,
      accessRights: ["Send"],
      claimType: "SharedAccessKey",
      claimValue: "None",
      primaryKey: "a2V5IG9uZQ==",
      secondaryKey: "a2V5IHR3bw==",
    },
  ],
});
const showQueue = (queue) => ({
  name: queue.name,
  lock: queue.lockDuration,
  deliveries: queue.maxDeliveryCount,
  idle: queue.autoDeleteOnIdle,
  partitioned: queue.enablePartitioning,
  rules: (queue.authorizationRules ?? []).map((each) => [each.keyName, ...each.accessRights]),
});
const showSubscription = (found) => ({
  forward_to: found.forwardTo,
  life: found.defaultMessageTimeToLive,
  lock: found.lockDuration,
  deliveries: found.maxDeliveryCount,
});
const countsOf = (found) => ({
  active: found.activeMessageCount,
  dead_letters: found.deadLetterMessageCount,
  scheduled: found.scheduledMessageCount,
  total: found.totalMessageCount,
});
