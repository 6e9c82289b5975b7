package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"golang.org/x/net/websocket"
)

// receiver is what receivers with and without sessions share.
type receiver interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
	ReceiveDeferredMessages(context.Context, []int64, *azservicebus.ReceiveDeferredMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
	PeekMessages(context.Context, int, *azservicebus.PeekMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
	CompleteMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.CompleteMessageOptions) error
	AbandonMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.AbandonMessageOptions) error
	DeferMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.DeferMessageOptions) error
	DeadLetterMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.DeadLetterOptions) error
	Close(context.Context) error
}

var (
	guard     sync.Mutex
	client    *azservicebus.Client
	connected request
	senders   = map[string]*azservicebus.Sender{}
	receivers = map[string]receiver{}
	messages  = map[int64]*azservicebus.ReceivedMessage{}
	lastRef   int64
)

// once is no retries: an error is seen at once.
var once = azservicebus.RetryOptions{MaxRetries: -1}

var background = context.Background()

const patience = 20 * time.Second

func senderOf(given request) (*azservicebus.Sender, error) {
	entity := given.text("queue") + given.text("topic")
	guard.Lock()
	defer guard.Unlock()
	if found, known := senders[entity]; known {
		return found, nil
	}
	made, err := client.NewSender(entity, nil)
	if err == nil {
		senders[entity] = made
	}
	return made, err
}

func receiverOf(given request) receiver {
	guard.Lock()
	defer guard.Unlock()
	return receivers[given.text("handle")]
}

func keep(given request, made receiver) {
	guard.Lock()
	defer guard.Unlock()
	receivers[given.text("handle")] = made
}

func encodeMessage(given request) *azservicebus.Message {
	message := &azservicebus.Message{
		Body:                  []byte(given.text("body")),
		MessageID:             given.optional("id"),
		SessionID:             given.optional("session"),
		Subject:               given.optional("subject"),
		ApplicationProperties: given.properties("properties"),
	}
	if given.has("ttl") {
		seconds, _ := strconv.ParseFloat(string(given["ttl"].(interface{ String() string }).String()), 64)
		lifetime := time.Duration(seconds * float64(time.Second))
		message.TimeToLive = &lifetime
	}
	return message
}

func encodeMessages(given request) []*azservicebus.Message {
	var encoded []*azservicebus.Message
	for _, each := range given.objects("messages") {
		encoded = append(encoded, encodeMessage(each))
	}
	return encoded
}

func milliseconds(at *time.Time) any {
	if at == nil {
		return nil
	}
	return at.UnixMilli()
}

func decodeMessages(found []*azservicebus.ReceivedMessage) []map[string]any {
	decoded := []map[string]any{}
	states := []string{"active", "deferred", "scheduled"}
	for _, each := range found {
		guard.Lock()
		lastRef++
		ref := lastRef
		messages[ref] = each
		guard.Unlock()
		properties := each.ApplicationProperties
		if properties == nil {
			properties = map[string]any{}
		}
		decoded = append(decoded, map[string]any{
			"ref": ref, "body": string(each.Body), "id": each.MessageID, "session": each.SessionID,
			"subject": each.Subject, "properties": properties,
			"sequence":   strconv.FormatInt(*each.SequenceNumber, 10),
			"deliveries": int64(each.DeliveryCount) - 1, // this library counts the present delivery too
			"state":      states[each.State], "locked_until": milliseconds(each.LockedUntil),
			"enqueued_at": milliseconds(each.EnqueuedTime), "dead_letter_reason": each.DeadLetterReason,
			"dead_letter_description": each.DeadLetterErrorDescription, "dead_letter_source": each.DeadLetterSource,
		})
	}
	return decoded
}

func numbersOf(given request) []int64 {
	var found []int64
	for _, each := range given["sequences"].([]any) {
		number, _ := strconv.ParseInt(each.(string), 10, 64)
		found = append(found, number)
	}
	return found
}

func modeOf(given request) azservicebus.ReceiveMode {
	if given.text("mode") == "delete" {
		return azservicebus.ReceiveModeReceiveAndDelete
	}
	return azservicebus.ReceiveModePeekLock
}

func within(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(background, limit)
}

func accept(ctx context.Context, given request) (*azservicebus.SessionReceiver, error) {
	options := &azservicebus.SessionReceiverOptions{ReceiveMode: modeOf(given)}
	queue, topic, subscription := given.text("queue"), given.text("topic"), given.text("subscription")
	if session := given.optional("session"); session != nil {
		if queue != "" {
			return client.AcceptSessionForQueue(ctx, queue, *session, options)
		}
		return client.AcceptSessionForSubscription(ctx, topic, subscription, *session, options)
	}
	if queue != "" {
		return client.AcceptNextSessionForQueue(ctx, queue, options)
	}
	return client.AcceptNextSessionForSubscription(ctx, topic, subscription, options)
}

func settle(given request) error {
	guard.Lock()
	message := messages[given.number("ref")]
	guard.Unlock()
	settling := receiverOf(given)
	properties := given.properties("properties")
	ctx, cancel := within(patience)
	defer cancel()
	switch given.text("how") {
	case "complete":
		return settling.CompleteMessage(ctx, message, nil)
	case "abandon":
		return settling.AbandonMessage(ctx, message, &azservicebus.AbandonMessageOptions{PropertiesToModify: properties})
	case "defer":
		return settling.DeferMessage(ctx, message, &azservicebus.DeferMessageOptions{PropertiesToModify: properties})
	}
	return settling.DeadLetterMessage(ctx, message, &azservicebus.DeadLetterOptions{
		Reason: given.optional("reason"), ErrorDescription: given.optional("description"), PropertiesToModify: properties,
	})
}

// plain has whole numbers as long, others as double.
func plain(value any) any {
	switch found := value.(type) {
	case json.Number:
		if whole, err := found.Int64(); err == nil {
			return whole
		}
		broken, _ := found.Float64()
		return broken
	case []any:
		for place, each := range found {
			found[place] = plain(each)
		}
	}
	return value
}

// exchange sends and receives one message over TLS, or over a WebSocket.
func exchange(given request) (any, error) {
	secure := strings.Replace(connected.text("connection_string"), "UseDevelopmentEmulator=true;", "", 1)
	// the library takes the port for a part of the name that the certificate has to cover
	options := &azservicebus.ClientOptions{RetryOptions: once, TLSConfig: &tls.Config{ServerName: "localhost"}}
	if given.text("transport") == "websocket" {
		options.NewWebSocketConn = func(_ context.Context, args azservicebus.NewWebSocketConnArgs) (net.Conn, error) {
			connection, err := websocket.Dial(args.Host, "amqp", "https://localhost/")
			if err == nil {
				connection.PayloadType = websocket.BinaryFrame
			}
			return connection, err
		}
	}
	other, err := azservicebus.NewClientFromConnectionString(secure, options)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(patience)
	defer cancel()
	defer other.Close(ctx)
	sender, err := other.NewSender(given.text("queue"), nil)
	if err != nil {
		return nil, err
	}
	if err := sender.SendMessage(ctx, &azservicebus.Message{Body: []byte(given.text("transport"))}, nil); err != nil {
		return nil, err
	}
	receiver, err := other.NewReceiverForQueue(given.text("queue"), &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	if err != nil {
		return nil, err
	}
	found, err := receiver.ReceiveMessages(ctx, 1, nil)
	if err != nil {
		return nil, err
	}
	return string(found[0].Body), nil
}

var serviceBus = map[string]operation{
	"connect": func(given request) (any, error) {
		connected = given
		retry := once
		if given.has("retries") {
			retry.MaxRetries, retry.RetryDelay = int32(given.number("retries")), 100*time.Millisecond
		}
		var err error
		client, err = azservicebus.NewClientFromConnectionString(given.text("connection_string"), &azservicebus.ClientOptions{RetryOptions: retry})
		return nil, err
	},
	"send": func(given request) (any, error) {
		sender, err := senderOf(given)
		if err != nil {
			return nil, err
		}
		ctx, cancel := within(patience)
		defer cancel()
		if !given.flag("batch") {
			for _, each := range encodeMessages(given) {
				if err := sender.SendMessage(ctx, each, nil); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}
		batch, err := sender.NewMessageBatch(ctx, nil)
		if err != nil {
			return nil, err
		}
		for _, each := range encodeMessages(given) {
			if err := batch.AddMessage(each, nil); err != nil {
				return nil, err
			}
		}
		return nil, sender.SendMessageBatch(ctx, batch, nil)
	},
	"fill_batch": func(given request) (any, error) {
		sender, err := senderOf(given)
		if err != nil {
			return nil, err
		}
		ctx, cancel := within(patience)
		defer cancel()
		batch, err := sender.NewMessageBatch(ctx, nil)
		if err != nil {
			return nil, err
		}
		for err == nil {
			err = batch.AddMessage(encodeMessage(given.object("message")), nil)
		}
		if !errors.Is(err, azservicebus.ErrMessageTooLarge) {
			return nil, err
		}
		return batch.NumMessages(), sender.SendMessageBatch(ctx, batch, nil)
	},
	"schedule": func(given request) (any, error) {
		sender, err := senderOf(given)
		if err != nil {
			return nil, err
		}
		ctx, cancel := within(patience)
		defer cancel()
		numbers, err := sender.ScheduleMessages(ctx, encodeMessages(given), time.UnixMilli(given.number("at")), nil)
		found := []string{}
		for _, each := range numbers {
			found = append(found, strconv.FormatInt(each, 10))
		}
		return found, err
	},
	"cancel": func(given request) (any, error) {
		sender, err := senderOf(given)
		if err != nil {
			return nil, err
		}
		ctx, cancel := within(patience)
		defer cancel()
		return nil, sender.CancelScheduledMessages(ctx, numbersOf(given), nil)
	},
	"exchange": exchange,
	"send_body": func(given request) (any, error) {
		sender, err := senderOf(given)
		if err != nil {
			return nil, err
		}
		message := &azservicebus.AMQPAnnotatedMessage{}
		value := plain(given["value"])
		if given.text("kind") == "value" {
			message.Body.Value = value
		} else {
			for _, each := range value.([]any) {
				message.Body.Sequence = append(message.Body.Sequence, each.([]any))
			}
		}
		return nil, sender.SendAMQPAnnotatedMessage(background, message, nil)
	},
	"receive_body": func(given request) (any, error) {
		ctx, cancel := within(patience)
		defer cancel()
		found, err := receiverOf(given).ReceiveMessages(ctx, 1, nil)
		if err != nil {
			return nil, err
		}
		body := found[0].RawAMQPMessage.Body
		if body.Value != nil {
			return map[string]any{"kind": "value", "value": body.Value}, nil
		}
		return map[string]any{"kind": "sequence", "value": body.Sequence}, nil
	},
	"open": func(given request) (any, error) {
		options := &azservicebus.ReceiverOptions{ReceiveMode: modeOf(given)}
		if given.flag("dead_letters") {
			options.SubQueue = azservicebus.SubQueueDeadLetter
		}
		var made *azservicebus.Receiver
		var err error
		if queue := given.text("queue"); queue != "" {
			made, err = client.NewReceiverForQueue(queue, options)
		} else {
			made, err = client.NewReceiverForSubscription(given.text("topic"), given.text("subscription"), options)
		}
		if err == nil {
			keep(given, made)
		}
		return nil, err
	},
	"accept": func(given request) (any, error) {
		limit := patience
		if given.has("wait") {
			limit = time.Duration(given.number("wait")) * time.Millisecond
		}
		ctx, cancel := within(limit)
		defer cancel()
		accepted, err := accept(ctx, given)
		if err != nil {
			return nil, err
		}
		keep(given, accepted)
		until := accepted.LockedUntil()
		return map[string]any{"session": accepted.SessionID(), "locked_until": milliseconds(&until)}, nil
	},
	"receive": func(given request) (any, error) {
		ctx, cancel := within(time.Duration(given.number("wait")) * time.Millisecond)
		defer cancel()
		found, err := receiverOf(given).ReceiveMessages(ctx, int(given.number("max")), nil)
		if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		return decodeMessages(found), err
	},
	"receive_deferred": func(given request) (any, error) {
		ctx, cancel := within(patience)
		defer cancel()
		found, err := receiverOf(given).ReceiveDeferredMessages(ctx, numbersOf(given), nil)
		return decodeMessages(found), err
	},
	"peek": func(given request) (any, error) {
		options := &azservicebus.PeekMessagesOptions{}
		if given.has("from") {
			from, _ := strconv.ParseInt(given.text("from"), 10, 64)
			options.FromSequenceNumber = &from
		}
		ctx, cancel := within(patience)
		defer cancel()
		found, err := receiverOf(given).PeekMessages(ctx, int(given.number("max")), options)
		return decodeMessages(found), err
	},
	"settle": func(given request) (any, error) { return nil, settle(given) },
	"renew": func(given request) (any, error) {
		ctx, cancel := within(patience)
		defer cancel()
		guard.Lock()
		message := messages[given.number("ref")]
		guard.Unlock()
		err := receiverOf(given).(*azservicebus.Receiver).RenewMessageLock(ctx, message, nil)
		return milliseconds(message.LockedUntil), err
	},
	"renew_session": func(given request) (any, error) {
		ctx, cancel := within(patience)
		defer cancel()
		session := receiverOf(given).(*azservicebus.SessionReceiver)
		err := session.RenewSessionLock(ctx, nil)
		until := session.LockedUntil()
		return milliseconds(&until), err
	},
	"get_state": func(given request) (any, error) {
		ctx, cancel := within(patience)
		defer cancel()
		state, err := receiverOf(given).(*azservicebus.SessionReceiver).GetSessionState(ctx, nil)
		if state == nil {
			return nil, err
		}
		return string(state), err
	},
	"set_state": func(given request) (any, error) {
		ctx, cancel := within(patience)
		defer cancel()
		return nil, receiverOf(given).(*azservicebus.SessionReceiver).SetSessionState(ctx, []byte(given.text("state")), nil)
	},
	"list_sessions": func(given request) (any, error) {
		return all(background, client.NewListSessionsForQueuePager(given.text("queue"), nil), func(page azservicebus.ListSessionsResponse) []string {
			return page.Sessions
		})
	},
	"close": func(given request) (any, error) {
		guard.Lock()
		closing := receivers[given.text("handle")]
		delete(receivers, given.text("handle"))
		guard.Unlock()
		if closing == nil {
			return nil, nil
		}
		ctx, cancel := within(patience)
		defer cancel()
		return nil, closing.Close(ctx)
	},
}
