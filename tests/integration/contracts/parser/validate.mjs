// Parses an AsyncAPI document from standard input, and tells what it holds or what is wrong with it.
import { Parser } from "@asyncapi/parser";

let text = "";
for await (const part of process.stdin) text += part;
const { document, diagnostics } = await new Parser().parse(text);
const errors = diagnostics.filter((one) => one.severity === 0);
console.log(
  JSON.stringify({
    errors: errors.map((one) => `${one.path.join("/")}: ${one.message}`),
    messages: document ? document.allMessages().all().map((one) => [one.name(), one.hasPayload()]) : [],
    operations: document ? document.allOperations().all().map((one) => [one.id(), one.action()]) : [],
  }),
);
