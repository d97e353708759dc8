package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

// get asks the worker's web server through the worker's own socket.
func get(t *testing.T, w *client.Worker, path string) (string, error) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return w.Dial(ctx, "http")
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://worker"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestHTTPIsSpokenWithAWorkerOverItsOwnSocket(t *testing.T) {
	w := start(t)
	if _, err := client.Call(t.Context(), w, serve, struct{}{}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := get(t, w, "/hello")
		if want := fmt.Sprintf("/hello from %d", w.Pid()); err != nil || got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := client.Call(t.Context(), w, echo, nil); err != nil {
		t.Fatal(err)
	}
}

func TestDialOfAListenerThatThereIsNotIsRefused(t *testing.T) {
	w := start(t)
	_, err := w.Dial(t.Context(), "gopher")
	checkRefused(t, err, transport.CodeUnknownMethod)
	_, err = w.Dial(t.Context(), "echo")
	checkRefused(t, err, transport.CodeUnknownMethod)
}

func TestRawConnectionsEndWithTheWorker(t *testing.T) {
	w := start(t)
	conn, err := w.Dial(t.Context(), "http") // nobody accepts it
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	if err := w.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("a byte came out of a dead worker")
	}
}

// LESSONS 29
func TestRawConnectionsKeepTheirDeadlinesOnAStoppedWorker(t *testing.T) {
	w := start(t)
	conn, err := w.Dial(t.Context(), "http")
	if err != nil {
		t.Fatal(err)
	}
	suspend(t, w.Pid())
	conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
	for err == nil {
		_, err = conn.Write(make([]byte, 1<<20))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want the end of the deadline", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}
