// Command driver runs Microsoft's Go SDKs for the tests: one request a line in, one answer a line out.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
)

type operation func(given request) (any, error)

// request is one operation's arguments; numbers stay json.Number until they are used.
type request map[string]any

func (r request) text(key string) string {
	value, _ := r[key].(string)
	return value
}

func (r request) number(key string) int64 {
	value, _ := r[key].(json.Number)
	found, _ := value.Int64()
	return found
}

func (r request) has(key string) bool {
	_, found := r[key]
	return found
}

func (r request) flag(key string) bool {
	value, _ := r[key].(bool)
	return value
}

func (r request) object(key string) request {
	value, _ := r[key].(map[string]any)
	return value
}

func (r request) objects(key string) []request {
	values, _ := r[key].([]any)
	found := make([]request, 0, len(values))
	for _, each := range values {
		found = append(found, each.(map[string]any))
	}
	return found
}

// optional is nil where the key is missing.
func (r request) optional(key string) *string {
	if value, found := r[key].(string); found {
		return &value
	}
	return nil
}

// properties have AMQP's own types: whole numbers as long, others as double.
func (r request) properties(key string) map[string]any {
	if !r.has(key) {
		return nil
	}
	found := map[string]any{}
	for name, value := range r.object(key) {
		found[name] = value
		if number, is := value.(json.Number); is {
			if whole, err := number.Int64(); err == nil {
				found[name] = whole
			} else {
				found[name], _ = number.Float64()
			}
		}
	}
	return found
}

var conditions = map[string]string{
	"com.microsoft:message-lock-lost":        "message-lock-lost",
	"com.microsoft:session-lock-lost":        "session-lock-lost",
	"com.microsoft:session-cannot-be-locked": "session-cannot-be-locked",
	"com.microsoft:timeout":                  "timeout",
	"com.microsoft:message-not-found":        "message-not-found",
	"com.microsoft:argument-error":           "argument",
	"com.microsoft:argument-out-of-range":    "argument",
	"amqp:not-found":                         "not-found",
	"amqp:link:message-size-exceeded":        "size-exceeded",
	"amqp:link:stolen":                       "stolen",
	"amqp:not-allowed":                       "not-allowed",
	"amqp:resource-limit-exceeded":           "quota-exceeded",
	"com.microsoft:entity-already-exists":    "exists",
}

func codeOf(err error) string {
	var amqpError *amqp.Error
	if errors.As(err, &amqpError) {
		if code, found := conditions[string(amqpError.Condition)]; found {
			return code
		}
		return "other:" + string(amqpError.Condition)
	}
	var responseError *azcore.ResponseError
	if errors.As(err, &responseError) {
		switch responseError.StatusCode {
		case http.StatusConflict:
			return "exists"
		case http.StatusNotFound:
			return "not-found"
		case http.StatusForbidden:
			return "forbidden"
		case http.StatusBadRequest:
			return "argument"
		}
	}
	if errors.Is(err, azservicebus.ErrMessageTooLarge) || errors.Is(err, azeventhubs.ErrEventDataTooLarge) {
		return "size-exceeded"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "timeout"
	}
	var hubError *azeventhubs.Error
	if errors.As(err, &hubError) && hubError.Code == azeventhubs.ErrorCodeOwnershipLost {
		return "stolen"
	}
	// a refused request to $management keeps only its text
	for condition, code := range conditions {
		if strings.Contains(err.Error(), condition) {
			return code
		}
	}
	var busError *azservicebus.Error
	if errors.As(err, &busError) {
		return "other:" + string(busError.Code)
	}
	return fmt.Sprintf("other:%T", err)
}

func main() {
	operations := map[string]operation{}
	for _, group := range []map[string]operation{serviceBus, eventHubs, administration, keyVault} {
		for name, run := range group {
			operations[name] = run
		}
	}
	var writing sync.Mutex
	answer := func(content map[string]any) {
		text, err := json.Marshal(content)
		if err != nil {
			panic(err)
		}
		writing.Lock()
		defer writing.Unlock()
		os.Stdout.Write(append(text, '\n'))
	}
	answer(map[string]any{"id": 0, "result": "ready"})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		decoder := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		decoder.UseNumber()
		given := request{}
		if err := decoder.Decode(&given); err != nil {
			panic(err)
		}
		go func() {
			run, found := operations[given.text("op")]
			if !found {
				answer(map[string]any{"id": given["id"], "error": map[string]any{"code": "unsupported", "message": given.text("op")}})
				return
			}
			result, err := run(given)
			if err != nil {
				answer(map[string]any{"id": given["id"], "error": map[string]any{"code": codeOf(err), "message": err.Error()}})
				return
			}
			answer(map[string]any{"id": given["id"], "result": result})
		}()
	}
}
