// rhea, driven by the tests: an AMQP library that knows nothing of the service.
import rhea from "rhea";
import { serve } from "./protocol.mjs";

const { message: codec, types } = rhea;
const sessionFilter = "com.microsoft:session-filter";
const batchFormat = 0x80013700;

let connection;
let lastRef = 0;
const senders = new Map();
const receivers = new Map();
const deliveries = new Map();

class Refused extends Error {
  constructor(error) {
    super(error?.description ?? "rejected");
    this.code = error?.condition;
  }
}

// Resolves when an event of `open` comes, rejects when one of `fail` does.
function opened(link, open, fail) {
  return new Promise((resolve, reject) => {
    link.once(open, () => {
      // with a null terminus the link is refused by the detach that follows
      if (link.is_receiver() ? link.source?.address !== undefined : link.target?.address !== undefined) resolve(link);
    });
    for (const each of fail) link.once(each, () => reject(new Refused(link.error)));
  });
}

async function sender(address) {
  if (!senders.has(address)) {
    const link = connection.open_sender({ target: { address }, autosettle: true });
    link.setMaxListeners(100);
    senders.set(address, await opened(link, "sender_open", ["sender_error", "sender_close"]));
  }
  return senders.get(address);
}

function encode(given) {
  return {
    body: codec.data_section(Buffer.from(given.body ?? "")),
    message_id: given.id,
    subject: given.subject,
    group_id: given.session,
    ttl: given.ttl === undefined ? undefined : given.ttl * 1000,
    application_properties: given.properties,
  };
}

async function transmit(link, content, format) {
  if (!link.sendable()) await new Promise((resume) => link.once("sendable", resume));
  return await new Promise((resolve, reject) => {
    const delivery = link.send(content, undefined, format);
    const end = () => ["accepted", "rejected", "released", "modified"].forEach((each) => link.off(each, on[each]));
    const on = {};
    on.accepted = (event) => event.delivery === delivery && (end(), resolve());
    on.rejected = (event) => event.delivery === delivery && (end(), reject(new Refused(event.delivery.remote_state.error)));
    on.released = on.modified = on.rejected;
    for (const each of Object.keys(on)) link.on(each, on[each]);
  });
}

const addressOf = ({ queue, topic, subscription, dead_letters }) =>
  (queue ?? `${topic}/Subscriptions/${subscription}`) + (dead_letters ? "/$DeadLetterQueue" : "");

async function open(given, filter) {
  const remove = given.mode === "delete";
  const link = connection.open_receiver({
    source: { address: addressOf(given), filter },
    credit_window: 0,
    autoaccept: false,
    autosettle: false,
    snd_settle_mode: remove ? 1 : 0,
    rcv_settle_mode: remove ? 0 : 1,
  });
  const receiver = { link, found: [], credit: 0, error: null };
  link.on("message", (event) => {
    receiver.credit -= 1;
    receiver.found.push(event);
  });
  await opened(link, "receiver_open", ["receiver_error", "receiver_close"]);
  link.on("receiver_error", () => (receiver.error = link.error));
  receivers.set(given.handle, receiver);
  return link;
}

async function until(done, milliseconds) {
  const end = Date.now() + milliseconds;
  while (!done() && Date.now() < end) await new Promise((resume) => setTimeout(resume, 10));
}

function show({ message, delivery }) {
  const ref = ++lastRef;
  deliveries.set(ref, delivery);
  const annotations = message.message_annotations;
  const properties = message.application_properties ?? {};
  return {
    ref,
    body: Buffer.from(message.body.content).toString(),
    id: message.message_id,
    session: message.group_id ?? null,
    subject: message.subject ?? null,
    properties,
    sequence: String(annotations["x-opt-sequence-number"]),
    offset: annotations["x-opt-offset"] ?? null,
    deliveries: message.delivery_count ?? 0,
    locked_until: annotations["x-opt-locked-until"]?.getTime() ?? null,
    enqueued_at: annotations["x-opt-enqueued-time"].getTime(),
    dead_letter_reason: properties.DeadLetterReason ?? null,
    dead_letter_description: properties.DeadLetterErrorDescription ?? null,
  };
}

// A request to $management and its answer, over a pair of links that is made for it.
async function manage(entity, operation, body) {
  const address = `${entity}/$management`;
  const reply = connection.open_receiver({ source: { address }, target: { address: "answers" } });
  const answered = new Promise((resolve) => reply.once("message", (event) => resolve(event.message)));
  const link = connection.open_sender({ target: { address } });
  await Promise.all([
    opened(reply, "receiver_open", ["receiver_error", "receiver_close"]),
    opened(link, "sender_open", ["sender_error", "sender_close"]),
  ]);
  const application_properties = { operation: `com.microsoft:${operation}` };
  await transmit(link, { body, message_id: String(++lastRef), reply_to: "answers", application_properties });
  const answer = await answered;
  reply.close();
  link.close();
  const status = answer.application_properties.statusCode;
  if (status >= 300) {
    const condition = answer.application_properties.errorCondition;
    throw new Refused({ condition, description: answer.application_properties.statusDescription });
  }
  return { status, ...answer.body };
}

const operations = {
  connect({ port }) {
    connection = rhea.create_container().connect({ host: "localhost", port, reconnect: false });
    connection.setMaxListeners(1000);
    return new Promise((resolve) => connection.once("connection_open", () => resolve(null)));
  },
  async send({ queue, topic, messages, batch }) {
    const link = await sender(queue ?? topic);
    if (!batch) for (const each of messages) await transmit(link, encode(each));
    else {
      const body = codec.data_sections(messages.map((each) => codec.encode(encode(each))));
      await transmit(link, codec.encode({ body }), batchFormat);
    }
  },
  async open(given) {
    await open(given);
  },
  async accept(given) {
    const link = await open(given, { [sessionFilter]: given.session ?? null });
    return { session: link.source.filter[sessionFilter], locked_until: null };
  },
  async receive({ handle, max, wait }) {
    const receiver = receivers.get(handle);
    const missing = max - receiver.found.length - receiver.credit;
    if (missing > 0) {
      receiver.link.add_credit(missing);
      receiver.credit += missing;
    }
    await until(() => receiver.found.length > 0 || receiver.error, wait);
    if (receiver.found.length === 0 && receiver.error) throw new Refused(receiver.error);
    return receiver.found.splice(0, max).map(show);
  },
  async settle({ handle, ref, how, reason, description }) {
    const delivery = deliveries.get(ref);
    const { link, error: ended } = receivers.get(handle);
    if (ended) throw new Refused(ended);
    const settled = new Promise((resolve, reject) => {
      const on = (event) => {
        if (event.delivery !== delivery) return;
        link.off("settled", on);
        const error = delivery.remote_state?.error;
        if (error) reject(new Refused(error));
        else resolve();
      };
      link.on("settled", on);
      link.once("receiver_error", () => reject(new Refused(link.error)));
    });
    if (how === "complete") delivery.accept();
    else if (how === "abandon") delivery.release({ delivery_failed: true });
    else {
      const info = { DeadLetterReason: reason, DeadLetterErrorDescription: description };
      delivery.reject({ condition: "com.microsoft:dead-letter", info });
    }
    await settled;
  },
  async close({ handle }) {
    const receiver = receivers.get(handle);
    receivers.delete(handle);
    if (!receiver || !receiver.link.is_open()) return;
    const closed = new Promise((resolve) => receiver.link.once("receiver_close", resolve));
    receiver.link.close();
    await closed;
  },
  async delete_batch({ queue, count, before }) {
    const body = { "message-count": types.wrap_int(count), "enqueued-time-utc": types.wrap_timestamp(before) };
    return (await manage(queue, "batch-delete-messages", body))["message-count"] ?? 0;
  },
  async list_sessions({ queue }) {
    const body = {
      "last-updated-time": types.wrap_timestamp(253_402_300_800_000), // the year 10000: all of them
      skip: types.wrap_int(0),
      top: types.wrap_int(100),
    };
    return (await manage(queue, "get-message-sessions", body))["sessions-ids"] ?? [];
  },

  async eh_connect() {},
  async eh_send({ hub, partition, events }) {
    const link = await sender(partition === undefined ? hub : `${hub}/Partitions/${partition}`);
    for (const each of events) await transmit(link, encode(each));
  },
  async eh_open(given) {
    const { position, hub, partition } = given;
    const greater = position.inclusive ? ">=" : ">";
    let selector = `amqp.annotation.x-opt-enqueued-time > '${position.time}'`;
    if (position.earliest) selector = "amqp.annotation.x-opt-offset > '-1'";
    else if (position.sequence !== undefined)
      selector = `amqp.annotation.x-opt-sequence-number ${greater} '${position.sequence}'`;
    else if (position.offset !== undefined) selector = `amqp.annotation.x-opt-offset ${greater} '${position.offset}'`;
    const filter = { "apache.org:selector-filter:string": types.wrap_described(selector, 0x468c00000004) };
    await open({ handle: given.handle, queue: `${hub}/ConsumerGroups/$Default/Partitions/${partition}` }, filter);
  },
  async eh_take({ handle, max, wait }) {
    const found = await operations.receive({ handle, max, wait });
    for (const each of found) deliveries.get(each.ref).accept();
    return found;
  },
  async eh_close(given) {
    await operations.close(given);
  },
};

const codes = {
  "amqp:not-found": "not-found",
  "amqp:link:message-size-exceeded": "size-exceeded",
  "amqp:resource-limit-exceeded": "quota-exceeded",
  "com.microsoft:timeout": "timeout",
};

serve(operations, ({ code }) => codes[code] ?? (code?.startsWith("com.microsoft:") ? code.slice(14) : `other:${code}`));
