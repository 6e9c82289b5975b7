// What clients that others wrote make of our graph: a list of [name, arguments] on stdin, a list of answers on stdout.
import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, address] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } = require("@apollo/client");
const { PersistedQueryLink } = require("@apollo/client/link/persisted-queries");
const { createClient } = await import(pathToFileURL(require.resolve("graphql-sse")).href);

const sent = [];
const counted = async (url, options) => {
  const answer = await fetch(url, options);
  sent.push([options.method ?? "GET", answer.status]);
  return answer;
};
const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const http = (options = {}) => new HttpLink({ uri: `${address}/api/graphql`, fetch: counted, ...options });
const apollo = (link) => new ApolloClient({ link, cache: new InMemoryCache() });
const ways = {
  plain: () => apollo(http()),
  persisted: () => apollo(ApolloLink.from([new PersistedQueryLink({ sha256 }), http()])),
  address: () => apollo(http({ useGETForQueries: true })),
};

const does = {
  apollo: async ([way, query, variables]) => {
    sent.length = 0;
    const found = await ways[way]().query({ query: gql(query), variables, errorPolicy: "all" });
    return { data: found.data ?? null, error: found.error?.message ?? null, sent: [...sent] };
  },
  follow: ([query, variables, many]) =>
    new Promise((resolve, reject) => {
      const client = createClient({ url: `${address}/api/graphql/stream`, retryAttempts: 0 });
      const found = [];
      const stop = client.subscribe(
        { query, variables },
        {
          next: (one) => {
            found.push(one);
            if (found.length === many) {
              stop();
              resolve({ found, complete: false });
            }
          },
          error: reject,
          complete: () => resolve({ found, complete: true }),
        },
      );
    }),
};

let text = "";
for await (const piece of process.stdin) text += piece;
const answers = [];
for (const [name, given] of JSON.parse(text)) {
  answers.push(await does[name](given).then((answer) => ({ answer }), (error) => ({ failed: String(error) })));
}
process.stdout.write(JSON.stringify(answers));
