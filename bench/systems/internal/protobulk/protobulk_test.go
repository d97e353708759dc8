package protobulk

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// stream is both ends in one: Receive runs when the caller wants the reply.
type stream struct {
	sent   [][]byte
	closed bool
	lose   bool // the first message
}

func (s *stream) SendMsg(m any) error {
	b, err := proto.Marshal(m.(proto.Message))
	s.sent = append(s.sent, b)
	return err
}

func (s *stream) CloseSend() error {
	s.closed = true
	return nil
}

func (s *stream) RecvMsg(m any) error {
	if !s.closed {
		return errors.New("the stream is open")
	}
	if s.lose {
		s.sent = s.sent[1:]
	}
	reply, err := Receive(receiver{s})
	if err != nil {
		return err
	}
	proto.Merge(m.(proto.Message), reply)
	return nil
}

type receiver struct{ *stream }

func (r receiver) RecvMsg(m any) error {
	if len(r.sent) == 0 {
		return io.EOF
	}
	next := r.sent[0]
	r.sent = r.sent[1:]
	return proto.Unmarshal(next, m.(proto.Message))
}

func TestPushIsConfirmed(t *testing.T) {
	for _, size := range []int{1, chunk, 3*chunk + 1} {
		if err := Push(new(stream), size); err != nil {
			t.Errorf("push of %d bytes: %v", size, err)
		}
	}
}

func TestPushMissesAMessageThatIsLost(t *testing.T) {
	err := Push(&stream{lose: true}, 3*chunk)
	if err == nil || !strings.Contains(err.Error(), "the worker has got 524288 bytes") {
		t.Errorf("got %v", err)
	}
}
