package main

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
type attached struct {
	*transport.Conn
	address string
}

func attach(ctx context.Context, text string) (harness.Worker, error) {
	var a address
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, err
	}
	hello := transport.Hello{Name: name, Instance: a.Instance, Secret: a.Secret, Pid: os.Getpid()}
	conn, err := transport.Dial(ctx, a.Socket, transport.DialConfig{Hello: hello, MaxMessage: maxMessage})
	if err != nil {
		return nil, err
	}
	return attached{conn, text}, nil
}

func (a attached) Caller(context.Context) (harness.Caller, error) { return a, nil }

func (a attached) Pid() int { return a.Welcome().Pid }

func (a attached) Address() string { return a.address }

// Echo is what client.Call does, on a bare connection.
func (a attached) Echo(ctx context.Context, payload []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, client.DefaultTimeout)
	defer cancel()
	var codec transport.Codec
	body, err := codec.Encode(payload)
	if err != nil {
		return nil, err
	}
	data, err := a.Call(ctx, transport.Request{Method: string(echoMethod), Body: body})
	if err != nil {
		return nil, err
	}
	var reply []byte
	return reply, codec.Decode(data, &reply)
}

func (a attached) Push(context.Context, int) error { return errors.ErrUnsupported }
