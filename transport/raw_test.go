package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// upper answers a connection with what it reads, in upper case.
func upper(_ context.Context, call *Call) ([]byte, error) {
	conn, err := call.Hijack()
	if err != nil {
		return nil, err
	}
	data := make([]byte, 5)
	if _, err := io.ReadFull(conn, data); err != nil {
		return nil, err
	}
	_, err = conn.Write(bytes.ToUpper(data))
	return nil, err
}

func TestARawConnectionCarriesBytesAndEndsWithItsHandler(t *testing.T) {
	c, _ := pair(t, handlers{"upper": upper}.serve)
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := c.Connect(ctx, Request{Method: "upper"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel() // it bounded the connecting only
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "HELLO" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := c.Call(t.Context(), Request{Method: "nope"}); !errors.Is(err, CodeUnknownMethod) {
		t.Errorf("the connection below it: %v", err)
	}
}

func TestARawConnectionThatIsRefusedIsTheWorkersError(t *testing.T) {
	c, _ := pair(t, handlers{"refuse": func(context.Context, *Call) ([]byte, error) {
		return nil, Refuse(&Error{Code: CodeUnavailable, Message: "closed"})
	}}.serve)
	_, err := c.Connect(t.Context(), Request{Method: "refuse"})
	wantErr(t, err, CodeUnavailable)
	if e, _ := errors.AsType[*Error](err); e == nil || !e.NotRun {
		t.Errorf("got %v, want a call that has not run", err)
	}
}

func TestConnectingObeysItsContext(t *testing.T) {
	began := make(chan struct{})
	c, _ := pair(t, handlers{"wait": func(ctx context.Context, _ *Call) ([]byte, error) {
		close(began)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}.serve)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := c.Connect(ctx, Request{Method: "wait"})
		result <- err
	}()
	receiveFrom(t, "the handler", began)
	cancel()
	wantErr(t, receiveFrom(t, "the error", result), context.Canceled)
}

func TestOnlyARawCallCanBeHijackedAndOnce(t *testing.T) {
	results := make(chan error, 2)
	hijack := func(_ context.Context, call *Call) ([]byte, error) {
		_, _ = call.Hijack()
		_, err := call.Hijack()
		results <- err
		return nil, nil
	}
	c, _ := pair(t, handlers{"hijack": hijack}.serve)
	if _, err := c.Call(t.Context(), Request{Method: "hijack"}); err != nil {
		t.Fatal(err)
	}
	conn, err := c.Connect(t.Context(), Request{Method: "hijack"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		if err := receiveFrom(t, "the outcome", results); err == nil {
			t.Error("it was hijacked")
		}
	}
}

// held is a handler that holds its connection and does nothing with it.
func held(ctx context.Context, call *Call) ([]byte, error) {
	if _, err := call.Hijack(); err != nil {
		return nil, err
	}
	<-ctx.Done()
	return nil, nil
}

func TestARawConnectionHasTheMannersOfANetConn(t *testing.T) {
	c, _ := pair(t, handlers{"held": held}.serve)
	conn, err := c.Connect(t.Context(), Request{Method: "held"})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(past)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read after its deadline: %v", err)
	}
	conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
	for err = nil; err == nil; { // until the window is full
		_, err = conn.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a write that nobody reads: %v", err)
	}
	conn.SetDeadline(time.Time{})
	waiting := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		waiting <- err
	}()
	for range 2 {
		if err := conn.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	wantErr(t, receiveFrom(t, "the end of the read", waiting), net.ErrClosed)
	_, err = conn.Write([]byte("x"))
	wantErr(t, err, net.ErrClosed)
}

func TestADrainDoesNotWaitForRawConnections(t *testing.T) {
	c, sc := pair(t, handlers{"held": held}.serve)
	conn, err := c.Connect(t.Context(), Request{Method: "held"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := sc.Drain(within(t, patience)); err != nil {
		t.Error(err)
	}
}

func TestTheRawExamplesInTheDocHold(t *testing.T) {
	doc := golden(t)
	req := Request{Method: "http"}
	head := req.appendHeader(context.Background(), nil)
	same(t, "raw-request", bytes.NewReader(newFrame(header{typ: frameRequest, flags: flagRaw, id: 7}, head).frame()), doc["raw-request"])
	same(t, "raw-connect", bytes.NewReader(newFrame(header{typ: frameConnect, id: 7}).frame()), doc["raw-connect"])
}
