package server_test

import (
	"context"
	"io"
	"testing"

	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

func TestListenersConnectionEndsWithItsHandlerWhenTheWorkerClosesIt(t *testing.T) {
	handled := make(chan struct{})
	mux := new(server.Mux)
	mux.Use(func(next transport.Handler) transport.Handler {
		return func(ctx context.Context, call *transport.Call) ([]byte, error) {
			defer close(handled)
			return next(ctx, call)
		}
	})
	l := mux.Listener("raw")
	path, _ := serve(t, &server.Server{Mux: mux})
	theirs, err := dial(t, path).Connect(t.Context(), transport.Request{Method: "raw"})
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // closing again is harmless
		if err := ours.Close(); err != nil {
			t.Error(err)
		}
	}
	<-handled
	if n, err := theirs.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("got %d bytes, %v; want the end", n, err)
	}
}
