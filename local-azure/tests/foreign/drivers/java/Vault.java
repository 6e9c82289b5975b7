import com.azure.core.credential.AccessToken;
import com.azure.core.credential.TokenCredential;
import com.azure.core.http.HttpClient;
import com.azure.core.http.policy.FixedDelayOptions;
import com.azure.core.http.policy.RetryOptions;
import com.azure.security.keyvault.keys.KeyClient;
import com.azure.security.keyvault.keys.KeyClientBuilder;
import com.azure.security.keyvault.keys.cryptography.CryptographyClient;
import com.azure.security.keyvault.keys.cryptography.CryptographyClientBuilder;
import com.azure.security.keyvault.keys.cryptography.models.KeyWrapAlgorithm;
import com.azure.security.keyvault.keys.cryptography.models.SignatureAlgorithm;
import com.azure.security.keyvault.keys.models.CreateRsaKeyOptions;
import com.azure.security.keyvault.secrets.SecretClient;
import com.azure.security.keyvault.secrets.SecretClientBuilder;
import com.azure.security.keyvault.secrets.models.KeyVaultSecret;
import com.azure.security.keyvault.secrets.models.SecretProperties;
import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import reactor.core.publisher.Mono;

/** Key Vault through azure-security-keyvault-secrets and -keys. */
final class Vault {
    private final RetryOptions once = new RetryOptions(new FixedDelayOptions(0, Duration.ZERO));
    private TokenCredential credential;
    private HttpClient http;
    private SecretClient secrets;
    private KeyClient keys;

    private static byte[] bytes(JsonNode given, String key) {
        return Base64.getDecoder().decode(Bus.text(given, key));
    }

    private static String text(byte[] data) {
        return Base64.getEncoder().encodeToString(data);
    }

    private static boolean isSecret(JsonNode given) {
        return "secret".equals(Bus.text(given, "kind"));
    }

    private Object connect(JsonNode given) {
        String token = Bus.text(given, "token");
        credential = wanted -> Mono.just(new AccessToken(token, OffsetDateTime.now().plusMinutes(10)));
        http = Driver.httpClient(Bus.text(given, "ca"));
        String url = Bus.text(given, "url");
        secrets = new SecretClientBuilder().vaultUrl(url).credential(credential).httpClient(http).retryOptions(once)
            .buildClient();
        keys = new KeyClientBuilder().vaultUrl(url).credential(credential).httpClient(http).retryOptions(once)
            .buildClient();
        return null;
    }

    private CryptographyClient crypto(JsonNode given) {
        return new CryptographyClientBuilder().keyIdentifier(Bus.text(given, "key")).credential(credential)
            .httpClient(http).retryOptions(once).buildClient();
    }

    private Object purge(JsonNode given) {
        String name = Bus.text(given, "name");
        if (isSecret(given)) {
            secrets.beginDeleteSecret(name).waitForCompletion();
            secrets.purgeDeletedSecret(name);
        } else {
            keys.beginDeleteKey(name).waitForCompletion();
            keys.purgeDeletedKey(name);
        }
        return null;
    }

    void register(Map<String, Driver.Operation> operations) {
        operations.put("kv_connect", this::connect);
        operations.put("kv_set", given -> {
            KeyVaultSecret secret = new KeyVaultSecret(Bus.text(given, "name"), Bus.text(given, "value"));
            if (given.has("tags")) {
                Map<String, String> tags = new HashMap<>();
                given.get("tags").fields().forEachRemaining(each -> tags.put(each.getKey(), each.getValue().asText()));
                secret.setProperties(new SecretProperties().setTags(tags));
            }
            return secrets.setSecret(secret).getProperties().getVersion();
        });
        operations.put("kv_get", given -> {
            KeyVaultSecret found = secrets.getSecret(Bus.text(given, "name"), Bus.text(given, "version"));
            Map<String, String> tags = found.getProperties().getTags();
            return Map.of("value", found.getValue(), "tags", tags == null ? Map.of() : tags);
        });
        operations.put("kv_versions", given -> secrets.listPropertiesOfSecretVersions(Bus.text(given, "name")).stream()
            .map(SecretProperties::getVersion).toList());
        operations.put("kv_backup", given -> text(isSecret(given) ? secrets.backupSecret(Bus.text(given, "name"))
            : keys.backupKey(Bus.text(given, "name"))));
        operations.put("kv_purge", this::purge);
        operations.put("kv_restore", given -> {
            if (isSecret(given)) {
                secrets.restoreSecretBackup(bytes(given, "backup"));
            } else {
                keys.restoreKeyBackup(bytes(given, "backup"));
            }
            return null;
        });
        operations.put("kv_create_key", given ->
            keys.createRsaKey(new CreateRsaKeyOptions(Bus.text(given, "name")).setKeySize(2048)).getId());
        operations.put("kv_rotate_key", given -> keys.rotateKey(Bus.text(given, "name")).getId());
        operations.put("kv_sign", given -> text(crypto(given)
            .sign(SignatureAlgorithm.fromString(Bus.text(given, "algorithm")), bytes(given, "digest")).getSignature()));
        operations.put("kv_verify", given -> crypto(given).verify(SignatureAlgorithm
            .fromString(Bus.text(given, "algorithm")), bytes(given, "digest"), bytes(given, "signature")).isValid());
        operations.put("kv_wrap", given -> text(crypto(given)
            .wrapKey(KeyWrapAlgorithm.fromString(Bus.text(given, "algorithm")), bytes(given, "value")).getEncryptedKey()));
        operations.put("kv_unwrap", given -> text(crypto(given)
            .unwrapKey(KeyWrapAlgorithm.fromString(Bus.text(given, "algorithm")), bytes(given, "value")).getKey()));
    }
}
