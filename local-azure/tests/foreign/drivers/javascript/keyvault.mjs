// Key Vault through @azure/keyvault-secrets and @azure/keyvault-keys.
import dns from "node:dns";
import { readFileSync } from "node:fs";
import { CryptographyClient, KeyClient } from "@azure/keyvault-keys";
import { SecretClient } from "@azure/keyvault-secrets";

// RFC 6761: names under localhost are this machine's; not every resolver knows.
const lookup = dns.lookup;
dns.lookup = (name, options, callback) => lookup(name.endsWith(".localhost") ? "127.0.0.1" : name, options, callback);

let secrets;
let keys;
let crypto;

async function purge(poller, forget) {
  await poller.pollUntilDone();
  await forget();
}

async function all(pages) {
  const found = [];
  for await (const each of pages) found.push(each);
  return found;
}

const bytes = (text) => Buffer.from(text, "base64");
const text = (data) => Buffer.from(data).toString("base64");

export const keyVault = {
  async kv_connect({ url, token, ca }) {
    const credential = { getToken: async () => ({ token, expiresOnTimestamp: Date.now() + 600_000 }) };
    const options = { tlsOptions: { ca: readFileSync(ca) }, retryOptions: { maxRetries: 0 } };
    secrets = new SecretClient(url, credential, options);
    keys = new KeyClient(url, credential, options);
    crypto = (key) => new CryptographyClient(key, credential, options);
  },
  async kv_set({ name, value, tags }) {
    return (await secrets.setSecret(name, value, { tags })).properties.version;
  },
  async kv_get({ name, version }) {
    const found = await secrets.getSecret(name, { version });
    return { value: found.value, tags: found.properties.tags ?? {} };
  },
  async kv_versions({ name }) {
    return (await all(secrets.listPropertiesOfSecretVersions(name))).map((each) => each.version);
  },
  async kv_backup({ kind, name }) {
    return text(await (kind === "secret" ? secrets.backupSecret(name) : keys.backupKey(name)));
  },
  async kv_purge({ kind, name }) {
    if (kind === "secret") {
      await purge(await secrets.beginDeleteSecret(name), () => secrets.purgeDeletedSecret(name));
    } else {
      await purge(await keys.beginDeleteKey(name), () => keys.purgeDeletedKey(name));
    }
  },
  async kv_restore({ kind, backup }) {
    if (kind === "secret") await secrets.restoreSecretBackup(bytes(backup));
    else await keys.restoreKeyBackup(bytes(backup));
  },
  async kv_create_key({ name }) {
    return (await keys.createRsaKey(name, { keySize: 2048 })).id;
  },
  async kv_rotate_key({ name }) {
    return (await keys.rotateKey(name)).id;
  },
  async kv_sign({ key, algorithm, digest }) {
    return text((await crypto(key).sign(algorithm, bytes(digest))).result);
  },
  async kv_verify({ key, algorithm, digest, signature }) {
    return (await crypto(key).verify(algorithm, bytes(digest), bytes(signature))).result;
  },
  async kv_wrap({ key, algorithm, value }) {
    return text((await crypto(key).wrapKey(algorithm, bytes(value))).result);
  },
  async kv_unwrap({ key, algorithm, value }) {
    return text((await crypto(key).unwrapKey(algorithm, bytes(value))).result);
  },
};
