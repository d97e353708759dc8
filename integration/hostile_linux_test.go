package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

// LESSONS 7, 23
func TestHostileConnectionsAreDroppedAndDisturbNobody(t *testing.T) {
	t.Parallel()
	garbage := bytes.Repeat([]byte("garbage!"), 8<<10)
	tests := []struct {
		name     string
		count    int
		say      func(w *client.Worker, i int) []byte
		hangUp   bool
		accepted bool // the handshake is
	}{
		{name: "silence", count: 1, say: func(*client.Worker, int) []byte { return nil }},
		{name: "a flood of silent ones", count: 500, say: func(*client.Worker, int) []byte { return nil }},
		{name: "silence after each byte of a handshake", count: 100, say: func(w *client.Worker, i int) []byte {
			whole := hello(w, nil)
			return whole[:i%len(whole)]
		}},
		{name: "garbage", count: 20, say: func(*client.Worker, int) []byte { return garbage }},
		{name: "an oversized handshake", count: 20, say: func(w *client.Worker, _ int) []byte { return append(oversized(w), garbage...) }},
		{name: "a handshake that is no CBOR", count: 20, say: func(w *client.Worker, _ int) []byte { return undecodable(w) }},
		{name: "no secret", count: 20, say: func(w *client.Worker, _ int) []byte { return hello(w, nil) }},
		{name: "the right handshake and then garbage", count: 20, accepted: true, say: func(w *client.Worker, _ int) []byte {
			return append(hello(w, w.Process().Secret()), garbage...)
		}},
		{name: "hanging up at once", count: 200, hangUp: true, say: func(w *client.Worker, _ int) []byte {
			return hello(w, w.Process().Secret())
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			if _, err := client.Call(t.Context(), w, echo, nil); err != nil {
				t.Fatal(err)
			}
			before := len(descriptors(t, w.Pid()))
			stop := keepCalling(t, w)
			defer stop()
			var dropped sync.WaitGroup
			for i := range tt.count {
				conn := intrude(t, w, tt.say(w, i), tt.hangUp)
				dropped.Go(func() { awaitDrop(t, conn, tt.accepted) })
			}
			dropped.Wait()
			stop()
			await(t, "the descriptors to be closed", func() bool { return len(descriptors(t, w.Pid())) <= before })
			if pid, err := workerPid(t.Context(), w); err != nil || pid != w.Pid() {
				t.Errorf("got worker %d, %v", pid, err)
			}
		})
	}
}

// intrude connects to the worker and says this. It does not matter how much of
// it the worker takes.
func intrude(t *testing.T, w *client.Worker, say []byte, hangUp bool) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", w.Process().Socket())
	if err != nil {
		t.Fatal(err)
	}
	conn.Write(say)
	if hangUp {
		conn.Close()
	}
	return conn
}

// keepCalling makes calls, each within less than the worker's handshake
// timeout, until the function that it returns is called.
func keepCalling(t *testing.T, w *client.Worker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var made atomic.Int64
	var calling sync.WaitGroup
	calling.Go(func() {
		for ctx.Err() == nil {
			_, err := client.Call(t.Context(), w, echo, []byte("x"), client.Timeout(transport.DefaultHandshakeTimeout/2))
			if err != nil && ctx.Err() == nil {
				t.Errorf("call %d: %v", made.Load(), err)
				return
			}
			made.Add(1)
		}
	})
	await(t, "the first call", func() bool { return made.Load() > 0 || t.Failed() })
	return func() {
		cancel()
		calling.Wait()
	}
}

// awaitDrop reads what the worker answers until it closes the connection, at
// its handshake timeout at the latest.
func awaitDrop(t *testing.T, conn net.Conn, accepted bool) {
	t.Helper()
	defer conn.Close()
	const limit = 4 * transport.DefaultHandshakeTimeout // on a busy machine
	conn.SetReadDeadline(time.Now().Add(limit))
	answer, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("not dropped within %v", limit)
	}
	if bytes.HasPrefix(answer, []byte("unrf\x01")) != accepted {
		t.Errorf("answered with %q, accepted %v", answer, accepted)
	}
}

// hello returns the opening of a connection to the worker, with a secret.
func hello(w *client.Worker, secret []byte) []byte {
	body, err := transport.Codec{}.Encode(transport.Hello{Name: w.Name(), Instance: w.Process().ID(), Secret: secret, Pid: os.Getpid()})
	must(err)
	msg := binary.BigEndian.AppendUint32([]byte{'u', 'n', 'r', 'f', 1, 1, 'Y', 0}, uint32(len(body)))
	return append(msg, body...)
}

func oversized(w *client.Worker) []byte {
	msg := hello(w, w.Process().Secret())
	binary.BigEndian.PutUint32(msg[8:], 1<<31)
	return msg
}

func undecodable(w *client.Worker) []byte {
	msg := hello(w, w.Process().Secret())
	for i := range msg[12:] {
		msg[12+i] = 0x9f // an array that begins in an array, and so on
	}
	return msg
}

func TestConnectionWithAWrongSecretIsRefusedAndToldSo(t *testing.T) {
	t.Parallel()
	w := start(t)
	secret := w.Process().Secret()
	secret[0]++
	for _, h := range []transport.Hello{{}, {Secret: secret}, {Instance: w.Process().ID(), Secret: secret[:8]}} {
		conn, err := transport.Dial(t.Context(), w.Process().Socket(), transport.DialConfig{Hello: h})
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, transport.ErrSecret) {
			t.Errorf("got %v, want ErrSecret", err)
		}
	}
}
