package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

type reader struct {
	consumer  *azeventhubs.ConsumerClient
	partition *azeventhubs.PartitionClient
	id        string
}

var (
	producers = map[string]*azeventhubs.ProducerClient{}
	readers   = map[string]reader{}
	stores    = map[string]*checkpoints{}
	hubOnce   = azeventhubs.RetryOptions{MaxRetries: -1}
)

func producerOf(given request) (*azeventhubs.ProducerClient, error) {
	guard.Lock()
	defer guard.Unlock()
	hub := given.text("hub")
	if found, known := producers[hub]; known {
		return found, nil
	}
	made, err := azeventhubs.NewProducerClientFromConnectionString(connected.text("connection_string"), hub, &azeventhubs.ProducerClientOptions{RetryOptions: hubOnce})
	if err == nil {
		producers[hub] = made
	}
	return made, err
}

func consumerOf(given request) (*azeventhubs.ConsumerClient, error) {
	group := given.text("group")
	if group == "" {
		group = azeventhubs.DefaultConsumerGroup
	}
	return azeventhubs.NewConsumerClientFromConnectionString(connected.text("connection_string"), given.text("hub"), group, &azeventhubs.ConsumerClientOptions{RetryOptions: hubOnce})
}

func positionOf(given request) azeventhubs.StartPosition {
	yes := true
	switch {
	case given.has("earliest"):
		return azeventhubs.StartPosition{Earliest: &yes}
	case given.has("latest"):
		return azeventhubs.StartPosition{Latest: &yes}
	case given.has("sequence"):
		number := given.number("sequence")
		return azeventhubs.StartPosition{SequenceNumber: &number, Inclusive: given.flag("inclusive")}
	case given.has("offset"):
		return azeventhubs.StartPosition{Offset: given.optional("offset"), Inclusive: given.flag("inclusive")}
	}
	at := time.UnixMilli(given.number("time"))
	return azeventhubs.StartPosition{EnqueuedTime: &at}
}

func decodeEvents(found []*azeventhubs.ReceivedEventData, partition string) []map[string]any {
	decoded := []map[string]any{}
	for _, each := range found {
		properties := each.Properties
		if properties == nil {
			properties = map[string]any{}
		}
		decoded = append(decoded, map[string]any{
			"body": string(each.Body), "partition": partition, "properties": properties,
			"partition_key": each.PartitionKey, "sequence": strconv.FormatInt(each.SequenceNumber, 10),
			"offset": each.Offset, "enqueued_at": milliseconds(each.EnqueuedTime),
		})
	}
	return decoded
}

// checkpoints is a store in memory.
type checkpoints struct {
	lock    sync.Mutex
	owned   map[string]azeventhubs.Ownership
	reached map[string]azeventhubs.Checkpoint
	claims  int
}

func (c *checkpoints) ClaimOwnership(_ context.Context, wanted []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	var claimed []azeventhubs.Ownership
	for _, each := range wanted {
		current, known := c.owned[each.PartitionID]
		if known && (each.ETag == nil || *current.ETag != *each.ETag) {
			continue
		}
		c.claims++
		tag := azcore.ETag(fmt.Sprint(c.claims))
		each.ETag, each.LastModifiedTime = &tag, time.Now()
		c.owned[each.PartitionID] = each
		claimed = append(claimed, each)
	}
	return claimed, nil
}

func (c *checkpoints) ListOwnership(context.Context, string, string, string, *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	var found []azeventhubs.Ownership
	for _, each := range c.owned {
		found = append(found, each)
	}
	return found, nil
}

func (c *checkpoints) ListCheckpoints(context.Context, string, string, string, *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	var found []azeventhubs.Checkpoint
	for _, each := range c.reached {
		found = append(found, each)
	}
	return found, nil
}

func (c *checkpoints) SetCheckpoint(_ context.Context, reached azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.reached[reached.PartitionID] = reached
	return nil
}

func storeOf(name string) *checkpoints {
	guard.Lock()
	defer guard.Unlock()
	if _, known := stores[name]; !known {
		stores[name] = &checkpoints{owned: map[string]azeventhubs.Ownership{}, reached: map[string]azeventhubs.Checkpoint{}}
	}
	return stores[name]
}

func process(given request) (any, error) {
	consumer, err := consumerOf(given)
	if err != nil {
		return nil, err
	}
	defer consumer.Close(background)
	store := storeOf(given.text("store"))
	yes := true
	processor, err := azeventhubs.NewProcessor(consumer, store, &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy,
		UpdateInterval:        200 * time.Millisecond,
		StartPositions:        azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &yes}},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(time.Duration(given.number("wait")) * time.Millisecond)
	defer cancel()
	var lock sync.Mutex
	seen := []map[string]any{}
	wanted := int(given.number("count"))
	read := func(partition *azeventhubs.ProcessorPartitionClient) {
		defer partition.Close(background)
		for ctx.Err() == nil {
			waiting, stop := context.WithTimeout(ctx, 100*time.Millisecond)
			found, err := partition.ReceiveEvents(waiting, 10, nil)
			stop()
			if len(found) == 0 {
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					return
				}
				continue
			}
			if err := partition.UpdateCheckpoint(ctx, found[len(found)-1], nil); err != nil {
				return
			}
			lock.Lock()
			seen = append(seen, decodeEvents(found, partition.PartitionID())...)
			if len(seen) >= wanted {
				cancel()
			}
			lock.Unlock()
		}
	}
	var reading sync.WaitGroup
	reading.Add(1)
	go func() {
		defer reading.Done()
		for partition := processor.NextPartitionClient(ctx); partition != nil; partition = processor.NextPartitionClient(ctx) {
			reading.Add(1)
			go func() {
				defer reading.Done()
				read(partition)
			}()
		}
	}()
	err = processor.Run(ctx)
	reading.Wait()
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	reached := map[string]string{}
	for partition, each := range store.reached {
		reached[partition] = strconv.FormatInt(*each.SequenceNumber, 10)
	}
	return map[string]any{"events": seen, "checkpoints": reached}, nil
}

var eventHubs = map[string]operation{
	"eh_connect": func(request) (any, error) { return nil, nil },
	"eh_send": func(given request) (any, error) {
		producer, err := producerOf(given)
		if err != nil {
			return nil, err
		}
		ctx, cancel := within(patience)
		defer cancel()
		batch, err := producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{
			PartitionKey: given.optional("partition_key"), PartitionID: given.optional("partition"),
		})
		if err != nil {
			return nil, err
		}
		for _, each := range given.objects("events") {
			event := &azeventhubs.EventData{Body: []byte(each.text("body")), Properties: each.properties("properties")}
			if err := batch.AddEventData(event, nil); err != nil {
				return nil, err
			}
		}
		return nil, producer.SendEventDataBatch(ctx, batch, nil)
	},
	"eh_hub": func(given request) (any, error) {
		producer, err := producerOf(given)
		if err != nil {
			return nil, err
		}
		found, err := producer.GetEventHubProperties(background, nil)
		return map[string]any{"name": found.Name, "partitions": found.PartitionIDs}, err
	},
	"eh_partition": func(given request) (any, error) {
		producer, err := producerOf(given)
		if err != nil {
			return nil, err
		}
		found, err := producer.GetPartitionProperties(background, given.text("partition"), nil)
		return map[string]any{
			"first": strconv.FormatInt(found.BeginningSequenceNumber, 10), "last": strconv.FormatInt(found.LastEnqueuedSequenceNumber, 10),
			"last_offset": found.LastEnqueuedOffset, "empty": found.IsEmpty,
		}, err
	},
	"eh_open": func(given request) (any, error) {
		consumer, err := consumerOf(given)
		if err != nil {
			return nil, err
		}
		options := &azeventhubs.PartitionClientOptions{StartPosition: positionOf(given.object("position"))}
		if given.has("owner_level") {
			level := given.number("owner_level")
			options.OwnerLevel = &level
		}
		partition, err := consumer.NewPartitionClient(given.text("partition"), options)
		if err != nil {
			return nil, err
		}
		guard.Lock()
		defer guard.Unlock()
		readers[given.text("handle")] = reader{consumer, partition, given.text("partition")}
		return nil, nil
	},
	"eh_take": func(given request) (any, error) {
		guard.Lock()
		found := readers[given.text("handle")]
		guard.Unlock()
		ctx, cancel := within(time.Duration(given.number("wait")) * time.Millisecond)
		defer cancel()
		events, err := found.partition.ReceiveEvents(ctx, int(given.number("max")), nil)
		if errors.Is(err, context.DeadlineExceeded) || len(events) > 0 {
			err = nil
		}
		return decodeEvents(events, found.id), err
	},
	"eh_close": func(given request) (any, error) {
		guard.Lock()
		found := readers[given.text("handle")]
		delete(readers, given.text("handle"))
		guard.Unlock()
		found.partition.Close(background)
		return nil, found.consumer.Close(background)
	},
	"eh_process": process,
}
