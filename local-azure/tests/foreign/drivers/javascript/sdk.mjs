// Microsoft's JavaScript SDKs, driven by the tests.
import { eventHubs } from "./eventhubs.mjs";
import { eventGrid } from "./eventgrid.mjs";
import { keyVault } from "./keyvault.mjs";
import { serve } from "./protocol.mjs";
import { serviceBus } from "./servicebus.mjs";

const codes = {
  MessageLockLost: "message-lock-lost",
  SessionLockLost: "session-lock-lost",
  SessionCannotBeLocked: "session-cannot-be-locked",
  MessagingEntityNotFound: "not-found",
  MessagingEntityNotFoundError: "not-found",
  MessageEntityAlreadyExistsError: "exists",
  MessageEntityNotFoundError: "not-found",
  MessageSizeExceeded: "size-exceeded",
  MessageTooLargeError: "size-exceeded",
  MessageNotFound: "message-not-found",
  MessageNotFoundError: "message-not-found",
  QuotaExceeded: "quota-exceeded",
  QuotaExceededError: "quota-exceeded",
  MessagingEntityDisabled: "disabled",
  ServiceTimeout: "timeout",
  ReceiverDisconnectedError: "stolen",
  ArgumentOutOfRangeError: "argument",
  ArgumentError: "argument",
  InvalidOperationError: "invalid-operation",
};

const statuses = { 400: "bad-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 409: "exists", 413: "too-large" };

serve({ ...serviceBus, ...eventGrid, ...eventHubs, ...keyVault }, (error) => codes[error?.code] ?? statuses[error?.statusCode] ?? `other:${error?.code}`);
