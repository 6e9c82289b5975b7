// One request a line in, one answer a line out; requests run side by side.
import { createInterface } from "node:readline";

export function serve(operations, codeOf) {
  const lines = createInterface({ input: process.stdin });
  const answer = (content) => process.stdout.write(JSON.stringify(content) + "\n");
  lines.on("line", async (line) => {
    const { id, op, ...given } = JSON.parse(line);
    try {
      if (!(op in operations)) throw Object.assign(new Error(`no operation ${op}`), { code: "unsupported" });
      answer({ id, result: (await operations[op](given)) ?? null });
    } catch (error) {
      answer({ id, error: { code: codeOf(error), message: String(error?.message ?? error) } });
    }
  });
  lines.on("close", () => process.exit(0));
  process.on("uncaughtException", (error) => process.stderr.write(`${error?.stack}\n`));
  process.on("unhandledRejection", (error) => process.stderr.write(`${error?.stack}\n`));
  answer({ id: 0, result: "ready" });
}
