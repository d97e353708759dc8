// Package protobulk is the push of the systems that speak protobuf, all of
// which have streams from the caller to the worker.
//
// At any point in time a stream carries chunks as google.protobuf.BytesValue,
// in order, and when the caller has sent the last one the worker's receipt comes
// back as google.protobuf.StringValue. Start with [Push] and [Receive].
package protobulk

import (
	"errors"
	"io"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/detached-workers/unref/bench/harness"
)

// chunk is the size of a push's messages.
const chunk = 256 << 10

// Sender is the caller's end of a stream.
type Sender interface {
	SendMsg(m any) error
	CloseSend() error
	RecvMsg(m any) error
}

// Receiver is the worker's end of a stream. RecvMsg returns io.EOF at its end.
type Receiver interface {
	RecvMsg(m any) error
}

// Push sends size bytes and returns when the worker has confirmed them.
func Push(stream Sender, size int) error {
	var receipt harness.Receipt
	for b := range harness.Chunks(size, chunk) {
		receipt.Add(b)
		if err := stream.SendMsg(wrapperspb.Bytes(b)); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var confirmed wrapperspb.StringValue
	if err := stream.RecvMsg(&confirmed); err != nil {
		return err
	}
	return receipt.Check(confirmed.GetValue())
}

// Receive reads a stream to its end and returns what the worker has to reply.
func Receive(stream Receiver) (*wrapperspb.StringValue, error) {
	var receipt harness.Receipt
	for {
		var b wrapperspb.BytesValue
		err := stream.RecvMsg(&b)
		if errors.Is(err, io.EOF) {
			return wrapperspb.String(receipt.String()), nil
		}
		if err != nil {
			return nil, err
		}
		receipt.Add(b.GetValue())
	}
}
