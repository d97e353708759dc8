package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/spf13/cobra"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

// fromStdin is the argument that stands for what comes from standard input.
const fromStdin = "-"

func (a *app) callCommand() *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "call NAME METHOD [JSON | -]",
		Short: "Call a worker's method with JSON",
		Long: `Call makes a call on a worker and prints what it answers as JSON. The argument is the request, "-" reads it from standard
input, and without it there is none. Of a unary method one value is printed, of a stream one per line as they come. Of a bidi
method the JSON values on standard input are the messages that are sent; "-" may be left out, and a value as the argument is the
only one. "unref methods" tells which is which.
Before a negative number stands "--", since it looks like a flag.

Messages are CBOR, for which JSON is not enough. Both ways stand
  {"$base64": "aGVsbG8="}             for a byte string,
  {"$map": [[1, "a"], [true, "b"]]}   for a map whose keys are not all texts,
  {"$tag": [1000, "x"]}               for a tagged value (a time is a text like "2026-01-02T03:04:05Z"),
  {"$float": "NaN"}                   for NaN, Infinity and -Infinity.
Integers stay integers however large they are; a number with a point or an exponent is a float.`,
		Example: `  unref call web unref.status
  unref call web add '{"a": 1, "b": 2}'
  unref call web abs -- -5
  printf '1\n2\n' | unref call web double`,
		Args:              cobra.RangeArgs(2, 3),
		ValidArgsFunction: a.completeCall,
	}
	cmd.Flags().DurationVar(&limit, "timeout", 0, "how long to wait for the reply, or between two messages; negative means for ever\n"+
		"(default 30s, for a bidi method for ever)")
	cmd.RunE = action(func(ctx context.Context, args []string) error {
		return a.call(ctx, args[0], client.Request{Method: args[1], Timeout: limit}, args[2:])
	})
	return cmd
}

// call makes one call, whose kind the worker knows. For its time the tool is a client, so that the worker stays.
func (a *app) call(ctx context.Context, name string, req client.Request, input []string) error {
	d := a.dialer()
	d.Observer = false
	w, err := d.Find(ctx, name)
	if err != nil {
		return err
	}
	defer w.Close()
	methods, err := w.Methods(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(methods, func(m transport.MethodInfo) bool { return m.Name == req.Method })
	if i < 0 {
		return errors.New(noMethod(name, req.Method, methods))
	}
	switch methods[i].Kind {
	case transport.KindUnary.String():
		return a.callUnary(ctx, w, req, input)
	case transport.KindStream.String():
		return a.callStream(ctx, w, req, input)
	case transport.KindBidi.String():
		return a.callBidi(ctx, w, req, input)
	}
	return fmt.Errorf("method %q is of kind %s, whose bytes have no JSON form: connect to it from a program, with client.Worker.Dial",
		req.Method, methods[i].Kind)
}

// body returns the request of a call that has one at most.
func (a *app) body(input []string) (any, error) {
	switch {
	case len(input) == 0:
		return nil, nil
	case input[0] == fromStdin:
		return parseValue(a.stdin)
	}
	return parseValue(strings.NewReader(input[0]))
}

func (a *app) callUnary(ctx context.Context, w *client.Worker, req client.Request, input []string) (err error) {
	if req.Body, err = a.body(input); err != nil {
		return err
	}
	var reply cbor.RawMessage
	if err := w.Invoke(ctx, &req, &reply); err != nil {
		return err
	}
	return a.printValue(reply)
}

func (a *app) callStream(ctx context.Context, w *client.Worker, req client.Request, input []string) (err error) {
	if req.Body, err = a.body(input); err != nil {
		return err
	}
	req.Kind = transport.KindStream
	messages, err := w.Open(ctx, &req)
	if err != nil {
		return err
	}
	defer messages.Close()
	return a.printMessages(messages)
}

// callBidi sends what comes and prints what comes back, both as it comes.
func (a *app) callBidi(ctx context.Context, w *client.Worker, req client.Request, input []string) error {
	source := a.stdin
	if len(input) > 0 && input[0] != fromStdin {
		source = strings.NewReader(input[0])
	}
	req.Kind = transport.KindBidi
	if req.Timeout == 0 {
		req.Timeout = -1 // whoever types takes his time
	}
	messages, err := w.Open(ctx, &req)
	if err != nil {
		return err
	}
	defer messages.Close()
	sent := make(chan error, 1) // room for the one outcome
	go func() {                 // ends with the input or the call, or else with the process: a read of a terminal can't be given up
		err := sendAll(messages, newValueReader(source))
		sent <- err
		if err != nil {
			messages.Close()
		}
	}()
	err = a.printMessages(messages)
	select {
	case sendErr := <-sent:
		return firstCause(sendErr, err)
	default:
		return err
	}
}

// firstCause returns the error of the input, if there is one: then the call was cancelled because of it.
func firstCause(sendErr, err error) error {
	if sendErr != nil {
		return sendErr
	}
	return err
}

// sendAll sends each value. It is not an error of the sender if the worker ends the call before.
func sendAll(messages *client.Messages, values *valueReader) error {
	for {
		v, err := values.next()
		if err == io.EOF {
			_ = messages.CloseSend() // what is wrong with the call its reader learns
			return nil
		}
		if err != nil {
			return err
		}
		if err := messages.Send(v); err != nil {
			if _, refused := errors.AsType[*transport.Error](err); refused {
				return err
			}
			return nil
		}
	}
}

// printMessages prints each message until the call ends.
func (a *app) printMessages(messages *client.Messages) error {
	for {
		var message cbor.RawMessage
		switch err := messages.Recv(&message); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := a.printValue(message); err != nil {
			return err
		}
	}
}

func (a *app) printValue(message []byte) error {
	text, err := decodeValue(message)
	if err == nil {
		_, err = fmt.Fprintln(a.stdout, text)
	}
	return err
}
