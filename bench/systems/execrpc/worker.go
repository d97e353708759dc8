package main

import (
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/bep/execrpc"

	"github.com/detached-workers/unref/bench/harness"
)

// serve answers until the parent is gone.
func serve() error {
	s, err := execrpc.NewServerRaw(execrpc.ServerRawOptions{Call: answer})
	if err != nil {
		return err
	}
	if err := s.Start(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func answer(request execrpc.Message, d execrpc.Dispatcher) error {
	reply := execrpc.Message{Header: request.Header}
	reply.Header.Status = execrpc.MessageStatusOK
	switch request.Header.Status {
	case statusEcho:
		reply.Body = harness.Echo(request.Body)
	case statusSink:
		reply.Body = []byte(harness.ReceiptOf(request.Body).String())
	case statusPid:
		reply.Body = strconv.AppendInt(nil, int64(os.Getpid()), 10)
	}
	d.SendMessage(reply)
	return nil
}
