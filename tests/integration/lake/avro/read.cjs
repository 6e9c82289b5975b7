// Prints schema, codec and records of an Avro file as avsc reads them: bytes as base64, unions unwrapped.
"use strict";

const { createRequire } = require("module");
const avro = createRequire(`${process.argv[2]}/`)("avsc");

const plain = (value) => {
  if (value === null || typeof value !== "object") return value;
  if (Buffer.isBuffer(value)) return { base64: value.toString("base64") };
  const names = Object.keys(value);
  const isUnion = names.length === 1 && ["long", "double", "string", "bytes"].includes(names[0]);
  if (isUnion) return plain(value[names[0]]);
  return Object.fromEntries(names.map((name) => [name, plain(value[name])]));
};

const found = { records: [] };
avro
  .createFileDecoder(process.argv[3])
  .on("metadata", (type, codec) => Object.assign(found, { name: type.name, fields: type.fields.map((one) => [one.name, one.type.schema()]), codec }))
  .on("data", (record) => found.records.push(plain(record)))
  .on("error", (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  })
  .on("end", () => process.stdout.write(JSON.stringify(found)));
