package main

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus/admin"
)

type queueShown struct {
	Name        string     `json:"name"`
	Lock        *string    `json:"lock"`
	Deliveries  *int32     `json:"deliveries"`
	Idle        *string    `json:"idle"`
	Partitioned *bool      `json:"partitioned"`
	Rules       [][]string `json:"rules"`
}

func showQueue(name string, found admin.QueueProperties) queueShown {
	rules := [][]string{}
	for _, each := range found.AuthorizationRules {
		shown := []string{*each.KeyName}
		for _, right := range each.AccessRights {
			shown = append(shown, string(right))
		}
		rules = append(rules, shown)
	}
	return queueShown{name, found.LockDuration, found.MaxDeliveryCount, found.AutoDeleteOnIdle, found.EnablePartitioning, rules}
}

func changeQueue(given request, into *admin.QueueProperties) {
	deliveries := int32(given.number("deliveries"))
	into.LockDuration, into.MaxDeliveryCount = given.optional("lock"), &deliveries
	if given.has("idle") {
		into.AutoDeleteOnIdle = given.optional("idle")
	}
	if given.has("partitioned") {
		partitioned := given.flag("partitioned")
		into.EnablePartitioning = &partitioned
	}
	if given.has("rule") {
		one, two := "a2V5IG9uZQ==", "a2V5IHR3bw=="
		into.AuthorizationRules = []admin.AuthorizationRule{{
			KeyName: given.optional("rule"), AccessRights: []admin.AccessRight{admin.AccessRightSend},
			PrimaryKey: &one, SecondaryKey: &two,
		}}
	}
}

// missing is what these clients give as nil instead of an error.
var missing = &azcore.ResponseError{StatusCode: 404, ErrorCode: "NotFound"}

func all[Page any](ctx context.Context, pager *runtime.Pager[Page], names func(Page) []string) (any, error) {
	found := []string{}
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, names(page)...)
	}
	return found, nil
}

var administration = map[string]operation{"admin": administer}

func administer(given request) (any, error) {
	options := &admin.ClientOptions{ClientOptions: policy.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}}
	client, err := admin.NewClientFromConnectionString(connected.text("admin_connection_string"), options)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(patience)
	defer cancel()
	queue, topic, subscription, name := given.text("queue"), given.text("topic"), given.text("subscription"), given.text("name")
	switch given.text("action") {
	case "create_queue":
		properties := &admin.QueueProperties{}
		changeQueue(given, properties)
		made, err := client.CreateQueue(ctx, queue, &admin.CreateQueueOptions{Properties: properties})
		return showQueue(made.QueueName, made.QueueProperties), err
	case "get_queue":
		found, err := client.GetQueue(ctx, queue, nil)
		if err != nil {
			return nil, err
		}
		if found == nil {
			return nil, missing
		}
		return showQueue(found.QueueName, found.QueueProperties), nil
	case "update_queue":
		found, err := client.GetQueue(ctx, queue, nil)
		if err != nil {
			return nil, err
		}
		properties := found.QueueProperties
		changeQueue(given, &properties)
		changed, err := client.UpdateQueue(ctx, queue, properties, nil)
		return showQueue(changed.QueueName, changed.QueueProperties), err
	case "list_queues":
		return all(ctx, client.NewListQueuesPager(nil), func(page admin.ListQueuesResponse) (names []string) {
			for _, each := range page.Queues {
				names = append(names, each.QueueName)
			}
			return names
		})
	case "delete_queue":
		_, err := client.DeleteQueue(ctx, queue, nil)
		return nil, err
	case "count_queue":
		found, err := client.GetQueueRuntimeProperties(ctx, queue, nil)
		if err != nil {
			return nil, err
		}
		return map[string]any{
			"active": found.ActiveMessageCount, "dead_letters": found.DeadLetterMessageCount,
			"scheduled": found.ScheduledMessageCount, "total": found.TotalMessageCount,
		}, nil
	case "create_topic":
		made, err := client.CreateTopic(ctx, topic, nil)
		return map[string]any{"name": made.TopicName}, err
	case "list_topics":
		return all(ctx, client.NewListTopicsPager(nil), func(page admin.ListTopicsResponse) (names []string) {
			for _, each := range page.Topics {
				names = append(names, each.TopicName)
			}
			return names
		})
	case "delete_topic":
		_, err := client.DeleteTopic(ctx, topic, nil)
		return nil, err
	case "create_subscription":
		made, err := client.CreateSubscription(ctx, topic, subscription, nil)
		return map[string]any{"name": made.SubscriptionName}, err
	case "get_topic":
		found, err := client.GetTopic(ctx, topic, nil)
		if err != nil || found == nil {
			return nil, err
		}
		return map[string]any{"name": found.TopicName, "life": found.DefaultMessageTimeToLive}, nil
	case "get_subscription":
		found, err := client.GetSubscription(ctx, topic, subscription, nil)
		if err != nil || found == nil {
			return nil, err
		}
		return map[string]any{
			"forward_to": found.ForwardTo, "life": found.DefaultMessageTimeToLive,
			"lock": found.LockDuration, "deliveries": found.MaxDeliveryCount,
		}, nil
	case "list_subscriptions":
		return all(ctx, client.NewListSubscriptionsPager(topic, nil), func(page admin.ListSubscriptionsResponse) (names []string) {
			for _, each := range page.Subscriptions {
				names = append(names, each.SubscriptionName)
			}
			return names
		})
	case "create_rule":
		made, err := client.CreateRule(ctx, topic, subscription, &admin.CreateRuleOptions{
			Name: &name, Filter: &admin.SQLFilter{Expression: given.text("sql")},
		})
		return map[string]any{"name": made.Name}, err
	case "get_rule":
		found, err := client.GetRule(ctx, topic, subscription, name, nil)
		if err != nil {
			return nil, err
		}
		return map[string]any{"sql": found.Filter.(*admin.SQLFilter).Expression}, nil
	case "list_rules":
		return all(ctx, client.NewListRulesPager(topic, subscription, nil), func(page admin.ListRulesResponse) (names []string) {
			for _, each := range page.Rules {
				names = append(names, each.Name)
			}
			return names
		})
	case "delete_rule":
		_, err := client.DeleteRule(ctx, topic, subscription, name, nil)
		return nil, err
	}
	return nil, missing
}
