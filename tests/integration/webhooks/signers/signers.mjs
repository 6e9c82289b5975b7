// What the senders' own libraries sign and verify: a list of [name, arguments] on stdin, a list of answers on stdout.
import { createRequire } from "node:module";
import { generateKeyPairSync, sign as signBytes } from "node:crypto";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const require = createRequire(join(folder, "package.json"));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const { Webhook: Standard } = require("standardwebhooks");
const { Webhook: Svix } = require("svix");
const { Signature: HubSpot } = require("@hubspot/api-client/lib/src/utils/signature.js");
const twilio = require("twilio");
const ecdsa = require("starkbank-ecdsa");
const { EventWebhook } = require("@sendgrid/eventwebhook");
const { verifyKey } = require("discord-interactions");
const Stripe = require("stripe");
const { sign: signGitHub, verify: verifyGitHub } = await import(
  pathToFileURL(join(folder, "node_modules/@octokit/webhooks-methods/dist-node/index.js")).href
);

const { httpbis, createSigner, createVerifier } = require("http-message-signatures");

const covered = ["@method", "@target-uri", "@query-param;name=\"a\"", "content-digest", "content-type"];
const stripe = new (Stripe.default ?? Stripe)("unused");
const does = {
  standard: ([secret, id, seconds, body]) => new Standard(secret).sign(id, new Date(seconds * 1000), body),
  svix: ([secret, id, seconds, body]) => new Svix(secret).sign(id, new Date(seconds * 1000), body),
  stripe: ([secret, seconds, payload]) =>
    stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp: seconds }),
  github: ([secret, body]) => signGitHub(secret, body),
  "github verifies": ([secret, body, signature]) => verifyGitHub(secret, body, signature),
  hubspot: ([secret, url, body, milliseconds]) =>
    HubSpot.getSignature("POST", "v3", { clientSecret: secret, url, requestBody: body, timestamp: milliseconds }),
  twilio: ([secret, url, fields]) => twilio.getExpectedTwilioSignature(secret, url, fields),
  "twilio hashes": ([body]) => twilio.getExpectedBodyHash(body),
  sendgrid: ([seconds, body]) => {
    const key = new ecdsa.PrivateKey(ecdsa.EllipticCurve?.p256 ?? require("starkbank-ecdsa/ellipticcurve/curve").p256);
    const signature = ecdsa.Ecdsa.sign(`${seconds}${body}`, key).toBase64();
    const pem = key.publicKey().toPem();
    const text = pem.split("\n").filter((line) => !line.startsWith("---")).join("");
    const agreed = new EventWebhook().verifySignature(key.publicKey(), body, signature, `${seconds}`);
    return { key: text, signature, agreed };
  },
  discord: async ([seconds, body]) => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const signature = signBytes(null, Buffer.from(`${seconds}${body}`), privateKey).toString("hex");
    const key = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
    return { key, signature, agreed: await verifyKey(body, signature, `${seconds}`, key) };
  },
  "message signatures": async ([secret, algorithm, request, seconds]) => {
    const key = createSigner(algorithm === "hmac-sha256" ? Buffer.from(secret, "base64") : secret, algorithm, "k1");
    const paramValues = { created: new Date(seconds * 1000), expires: new Date((seconds + 60) * 1000), nonce: "n1" };
    const params = ["created", "expires", "nonce", "keyid", "alg"];
    return (await httpbis.signMessage({ key, fields: covered, params, paramValues }, request)).headers;
  },
  "message signatures verifies": ([secret, algorithm, request, seconds]) => {
    const given = algorithm === "hmac-sha256" ? Buffer.from(secret, "base64") : secret;
    const keyLookup = async () => ({ id: "k1", algs: [algorithm], verify: createVerifier(given, algorithm) });
    const config = { keyLookup, tolerance: Math.abs(Date.now() / 1000 - seconds) + 600, notAfter: new Date("2100-01-01") };
    return httpbis.verifyMessage(config, request);
  },
  "shopify verifies": async ([secret, body, headers]) => {
    await load("@shopify/shopify-api/adapters/node");
    const { shopifyApi, ApiVersion, LogSeverity } = await load("@shopify/shopify-api");
    const shop = shopifyApi({
      apiKey: "unused", apiSecretKey: secret, scopes: [], hostName: "localhost", isEmbeddedApp: false,
      apiVersion: Object.values(ApiVersion).at(-1), logger: { level: LogSeverity.Error, log: async () => {} },
    });
    const given = { rawBody: body, rawRequest: { headers, method: "POST", url: "/" } };
    return (await shop.webhooks.validate(given)).valid;
  },
};

let text = "";
for await (const piece of process.stdin) text += piece;
const answers = [];
for (const [name, given] of JSON.parse(text)) answers.push(await does[name](given));
process.stdout.write("\n" + JSON.stringify(answers));
