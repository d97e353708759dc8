package frames

import (
	"bytes"
	"net"
	"testing"
)

// pair returns a caller's end whose worker's end serves.
func pair(t *testing.T, s Settings) *Conn {
	t.Helper()
	a, b := net.Pipe()
	served := make(chan struct{})
	go func() {
		s.New(b).Serve()
		close(served)
	}()
	t.Cleanup(func() {
		a.Close()
		<-served
	})
	return s.New(a)
}

func TestEchoReturnsWhatWasSentHoweverLarge(t *testing.T) {
	c := pair(t, Settings{Joined: 100, Chunk: 10})
	for _, size := range []int{0, 1, 100, 101, 1 << 20, 7} {
		payload := bytes.Repeat([]byte("a"), size)
		if got, err := c.Echo(t.Context(), payload); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("echo of %d bytes: %d bytes, %v", size, len(got), err)
		}
	}
}

func TestPushIsConfirmed(t *testing.T) {
	c := pair(t, Settings{Joined: 100, Chunk: 1000})
	for _, size := range []int{1, 1000, 1001, 1 << 20} {
		if err := c.Push(t.Context(), size); err != nil {
			t.Errorf("push of %d bytes: %v", size, err)
		}
	}
}
