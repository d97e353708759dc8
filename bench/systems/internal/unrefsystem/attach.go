package unrefsystem

import (
	"context"
	"encoding/json"
	"errors"
	"os"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

// address is what a second process needs to call a worker.
type address struct {
	Socket   string
	Secret   []byte
	Instance string
}

func (a address) String() string {
	text, _ := json.Marshal(a) // strings and bytes always have a form
	return string(text)
}

// attached is a connection to a worker that another process started.
type attached[T any] struct {
	*transport.Conn
	form    Form[T]
	address string
}

func (f Form[T]) attach(ctx context.Context, text string) (harness.Worker, error) {
	var a address
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, err
	}
	hello := transport.Hello{Name: name, Instance: a.Instance, Secret: a.Secret, Pid: os.Getpid()}
	conn, err := transport.Dial(ctx, a.Socket, transport.DialConfig{Hello: hello, MaxMessage: maxMessage})
	if err != nil {
		return nil, err
	}
	return attached[T]{conn, f, text}, nil
}

func (a attached[T]) Caller(context.Context) (harness.Caller, error) { return a, nil }

func (a attached[T]) Pid() int { return a.Welcome().Pid }

func (a attached[T]) Address() string { return a.address }

// Echo is what client.Call does, on a bare connection.
func (a attached[T]) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, client.DefaultTimeout)
	defer cancel()
	var codec transport.Codec
	body, err := codec.Encode(a.form.Wrap(payload))
	if err != nil {
		return nil, err
	}
	data, err := a.Call(ctx, transport.Request{Method: string(a.form.echoMethod()), Body: body})
	if err != nil {
		return nil, err
	}
	var reply T
	err = codec.Decode(data, &reply)
	return a.form.Unwrap(reply), err
}

func (a attached[T]) Push(context.Context, int) error { return errors.ErrUnsupported }
