// Preloaded into Azurite, which leaves the file of a download open when its client goes away before the end: after as
// many as a process may have open, 20,000 or fewer, it answers nothing any more. Readers of Delta logs often go away.
"use strict";

const { ServerResponse } = require("node:http");
const { Readable } = require("node:stream");

const sources = new WeakMap();
const pipe = Readable.prototype.pipe;

Readable.prototype.pipe = function (target, ...options) {
  sources.set(target, [...(sources.get(target) ?? []), this]);
  if (target instanceof ServerResponse) {
    if (target.destroyed) setImmediate(destroy, this);
    else target.once("close", () => destroy(this));
  }
  return pipe.call(this, target, ...options);
};

function destroy(stream) {
  for (const source of sources.get(stream) ?? []) destroy(source);
  if (typeof stream.destroy === "function") stream.destroy();
}
