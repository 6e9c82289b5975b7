import com.azure.core.amqp.exception.AmqpErrorCondition;
import com.azure.core.amqp.exception.AmqpException;
import com.azure.core.exception.HttpResponseException;
import com.azure.core.http.HttpClient;
import com.azure.core.http.netty.NettyAsyncHttpClientBuilder;
import com.azure.messaging.servicebus.ServiceBusException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.netty.handler.ssl.SslContextBuilder;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeoutException;

/** Microsoft's Java SDKs, driven by the tests: one request a line in, one answer a line out. */
public final class Driver {
    /** One operation: what the test gives, what it gets. */
    interface Operation {
        Object run(JsonNode given) throws Exception;
    }

    static final ObjectMapper JSON = new ObjectMapper();

    private static final Map<String, String> REASONS = Map.of(
        "MESSAGE_LOCK_LOST", "message-lock-lost",
        "SESSION_LOCK_LOST", "session-lock-lost",
        "SESSION_CANNOT_BE_LOCKED", "session-cannot-be-locked",
        "MESSAGING_ENTITY_NOT_FOUND", "not-found",
        "MESSAGE_SIZE_EXCEEDED", "size-exceeded",
        "MESSAGE_NOT_FOUND", "message-not-found",
        "QUOTA_EXCEEDED", "quota-exceeded",
        "SERVICE_TIMEOUT", "timeout");

    private static final Map<AmqpErrorCondition, String> CONDITIONS = Map.of(
        AmqpErrorCondition.LINK_STOLEN, "stolen",
        AmqpErrorCondition.NOT_FOUND, "not-found",
        AmqpErrorCondition.LINK_PAYLOAD_SIZE_EXCEEDED, "size-exceeded",
        AmqpErrorCondition.MESSAGE_LOCK_LOST, "message-lock-lost",
        AmqpErrorCondition.SESSION_LOCK_LOST, "session-lock-lost",
        AmqpErrorCondition.ARGUMENT_ERROR, "argument",
        AmqpErrorCondition.SESSION_CANNOT_BE_LOCKED, "session-cannot-be-locked",
        AmqpErrorCondition.TIMEOUT_ERROR, "timeout");

    private static final Map<Integer, String> STATUSES = Map.of(403, "forbidden", 404, "not-found", 409, "exists");

    private Driver() {
    }

    /** An HTTP client that trusts one file, and knows that names under localhost are this machine's (RFC 6761). */
    static HttpClient httpClient(String certificates) {
        reactor.netty.http.client.HttpClient client = reactor.netty.http.client.HttpClient.create()
            .resolver(spec -> spec.hostsFileEntriesResolver((name, kinds) ->
                name.endsWith("localhost") ? InetAddress.getLoopbackAddress() : null))
            .secure(spec -> {
                try {
                    spec.sslContext(SslContextBuilder.forClient().trustManager(new File(certificates)).build());
                } catch (javax.net.ssl.SSLException error) {
                    throw new IllegalStateException(error);
                }
            });
        return new NettyAsyncHttpClientBuilder(client).build();
    }

    private static Throwable causeOf(Throwable error) {
        Throwable cause = error;
        while (!(cause instanceof ServiceBusException || cause instanceof AmqpException
            || cause instanceof HttpResponseException) && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }

    private static String codeOf(Throwable error) {
        if (error instanceof ServiceBusException found && REASONS.containsKey(found.getReason().toString())) {
            return REASONS.get(found.getReason().toString());
        }
        Throwable inner = error instanceof ServiceBusException && error.getCause() != null ? error.getCause() : error;
        if (inner instanceof AmqpException found && found.getErrorCondition() != null) {
            return CONDITIONS.getOrDefault(found.getErrorCondition(), "other:" + found.getErrorCondition());
        }
        if (inner instanceof HttpResponseException found && found.getResponse() != null) {
            int status = found.getResponse().getStatusCode();
            return STATUSES.getOrDefault(status, "other:" + status);
        }
        boolean late = inner instanceof TimeoutException || String.valueOf(inner.getMessage()).contains("Timeout on");
        return late ? "timeout" : "other:" + inner.getClass().getName();
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream output = System.out;
        System.setOut(System.err);
        Map<String, Operation> operations = new HashMap<>();
        new Bus().register(operations);
        new Administration().register(operations);
        new Hubs().register(operations);
        new Vault().register(operations);
        output.println("{\"id\": 0, \"result\": \"ready\"}");
        ExecutorService workers = Executors.newCachedThreadPool();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonNode given = JSON.readTree(line);
            workers.submit(() -> {
                ObjectNode answer = JSON.createObjectNode();
                answer.set("id", given.get("id"));
                try {
                    Operation operation = operations.get(given.get("op").asText());
                    answer.set("result", JSON.valueToTree(operation.run(given)));
                } catch (Throwable raised) {
                    Throwable error = causeOf(raised);
                    answer.putObject("error").put("code", codeOf(error)).put("message", String.valueOf(error.getMessage()));
                }
                byte[] text = (answer + "\n").getBytes(StandardCharsets.UTF_8);
                synchronized (output) {
                    output.write(text, 0, text.length);
                    output.flush();
                }
            });
        }
        System.exit(0);
    }
}
