import com.azure.core.http.policy.FixedDelayOptions;
import com.azure.core.http.policy.RetryOptions;
import com.azure.messaging.servicebus.administration.ServiceBusAdministrationClient;
import com.azure.messaging.servicebus.administration.ServiceBusAdministrationClientBuilder;
import com.azure.messaging.servicebus.administration.models.AccessRights;
import com.azure.messaging.servicebus.administration.models.CreateQueueOptions;
import com.azure.messaging.servicebus.administration.models.CreateRuleOptions;
import com.azure.messaging.servicebus.administration.models.QueueProperties;
import com.azure.messaging.servicebus.administration.models.QueueRuntimeProperties;
import com.azure.messaging.servicebus.administration.models.SharedAccessAuthorizationRule;
import com.azure.messaging.servicebus.administration.models.SqlRuleFilter;
import com.azure.messaging.servicebus.administration.models.SubscriptionProperties;
import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** The administration client. */
final class Administration {
    private ServiceBusAdministrationClient client;

    private static Map<String, Object> show(QueueProperties found) {
        return Map.of("name", found.getName(), "lock", found.getLockDuration().toString(),
            "deliveries", found.getMaxDeliveryCount(), "idle", found.getAutoDeleteOnIdle().toString(),
            "partitioned", found.isPartitioningEnabled(), "rules", found.getAuthorizationRules().stream()
                .map(each -> Stream.concat(Stream.of(each.getKeyName()),
                    each.getAccessRights().stream().map(Object::toString)).toList()).toList());
    }

    /** As the service writes it; Java writes days in hours. */
    private static String days(Duration found) {
        return "P" + found.toDays() + "D";
    }

    /** This client takes the host alone from the connection string, as in Azure the port is always 443. */
    private static String withPort(String url) {
        String host = Bus.adminConnectionString.replaceAll("^Endpoint=sb://([^;/]+).*", "$1");
        return url.replaceFirst("https://[^/]+", "https://" + host);
    }

    private Object run(JsonNode given) {
        if (client == null) {
            client = new ServiceBusAdministrationClientBuilder().connectionString(Bus.adminConnectionString)
                .httpClient(Driver.httpClient(Bus.certificate))
                .addPolicy((context, next) -> {
                    context.getHttpRequest().setUrl(withPort(context.getHttpRequest().getUrl().toString()));
                    return next.process();
                })
                .retryOptions(new RetryOptions(new FixedDelayOptions(0, Duration.ZERO))).buildClient();
        }
        String queue = Bus.text(given, "queue");
        String topic = Bus.text(given, "topic");
        String subscription = Bus.text(given, "subscription");
        String name = Bus.text(given, "name");
        switch (Bus.text(given, "action")) {
            case "create_queue":
                CreateQueueOptions wanted = new CreateQueueOptions()
                    .setLockDuration(Duration.parse(Bus.text(given, "lock")))
                    .setMaxDeliveryCount(given.get("deliveries").asInt());
                if (given.has("idle")) {
                    wanted.setAutoDeleteOnIdle(Duration.parse(Bus.text(given, "idle")));
                }
                if (given.has("partitioned")) {
                    wanted.setPartitioningEnabled(given.get("partitioned").asBoolean());
                }
                if (given.has("rule")) {
                    wanted.getAuthorizationRules().add(new SharedAccessAuthorizationRule(Bus.text(given, "rule"),
                        "a2V5IG9uZQ==", "a2V5IHR3bw==", List.of(AccessRights.SEND)));
                }
                return show(client.createQueue(queue, wanted));
            case "get_queue":
                return show(client.getQueue(queue));
            case "update_queue":
                return show(client.updateQueue(client.getQueue(queue)
                    .setLockDuration(Duration.parse(Bus.text(given, "lock")))
                    .setMaxDeliveryCount(given.get("deliveries").asInt())));
            case "list_queues":
                return client.listQueues().stream().map(each -> each.getName()).toList();
            case "delete_queue":
                client.deleteQueue(queue);
                return null;
            case "count_queue":
                QueueRuntimeProperties found = client.getQueueRuntimeProperties(queue);
                return Map.of("active", found.getActiveMessageCount(), "dead_letters", found.getDeadLetterMessageCount(),
                    "scheduled", found.getScheduledMessageCount(), "total", found.getTotalMessageCount());
            case "create_topic":
                return Map.of("name", client.createTopic(topic).getName());
            case "list_topics":
                return client.listTopics().stream().map(each -> each.getName()).toList();
            case "delete_topic":
                client.deleteTopic(topic);
                return null;
            case "create_subscription":
                return Map.of("name", client.createSubscription(topic, subscription).getSubscriptionName());
            case "get_topic":
                return Map.of("name", client.getTopic(topic).getName(),
                    "life", days(client.getTopic(topic).getDefaultMessageTimeToLive()));
            case "get_subscription":
                SubscriptionProperties there = client.getSubscription(topic, subscription);
                return Map.of("forward_to", there.getForwardTo(), "life", days(there.getDefaultMessageTimeToLive()),
                    "lock", there.getLockDuration().toString(), "deliveries", there.getMaxDeliveryCount());
            case "list_subscriptions":
                return client.listSubscriptions(topic).stream().map(each -> each.getSubscriptionName()).toList();
            case "create_rule":
                return Map.of("name", client.createRule(topic, name, subscription,
                    new CreateRuleOptions(new SqlRuleFilter(Bus.text(given, "sql")))).getName());
            case "get_rule":
                SqlRuleFilter filter = (SqlRuleFilter) client.getRule(topic, subscription, name).getFilter();
                return Map.of("sql", filter.getSqlExpression());
            case "list_rules":
                return client.listRules(topic, subscription).stream().map(each -> each.getName()).toList();
            case "delete_rule":
                client.deleteRule(topic, subscription, name);
                return null;
            default:
                throw new IllegalArgumentException(Bus.text(given, "action"));
        }
    }

    void register(Map<String, Driver.Operation> operations) {
        operations.put("admin", this::run);
    }
}
