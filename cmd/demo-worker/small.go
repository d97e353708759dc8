package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

func echo(_ context.Context, req api.EchoRequest) (api.EchoReply, error) {
	return api.EchoReply(req), nil
}

func sleep(ctx context.Context, req api.SleepRequest) (api.SleepReply, error) {
	start := time.Now()
	err := wait(ctx, req.Duration)
	return api.SleepReply{Slept: time.Since(start)}, err
}

// wait returns when d has passed, or with the reason when ctx ends first.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func square(_ context.Context, req api.SquareRequest) (api.SquareReply, error) {
	return api.SquareReply{N: req.N * req.N}, nil
}

func count(ctx context.Context, req api.CountRequest, send func(api.CountMessage) error) error {
	for i := range req.N {
		if i > 0 && req.Pause > 0 {
			if err := wait(ctx, req.Pause); err != nil {
				return err
			}
		}
		data := bytes.Repeat([]byte{byte(i)}, max(0, req.Size))
		if err := send(api.CountMessage{I: i, Data: data}); err != nil {
			return err
		}
	}
	return nil
}

func sum(_ context.Context, stream *server.BidiStream[api.SumRequest, api.SumReply]) error {
	var total int64
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		total += req.N
		if err := stream.Send(api.SumReply{Sum: total}); err != nil {
			return err
		}
	}
}

// print writes everywhere it is asked to.
func print(ctx context.Context, req api.PrintRequest) (api.PrintReply, error) {
	level, slogLevel, err := levels(req.Level)
	if err != nil {
		return api.PrintReply{}, err
	}
	fields, attrs := logrus.Fields{}, []slog.Attr{}
	for k, v := range req.Fields {
		fields[k] = v
		attrs = append(attrs, slog.String(k, v))
	}
	for range max(1, req.Repeat) {
		_, outErr := io.WriteString(os.Stdout, req.Stdout)
		_, errErr := io.WriteString(os.Stderr, req.Stderr)
		if err := errors.Join(outErr, errErr); err != nil {
			return api.PrintReply{}, err
		}
		if req.Log != "" {
			log.Print(req.Log)
		}
		if req.Logrus != "" {
			logrus.WithContext(ctx).WithFields(fields).Log(level, req.Logrus)
		}
		if req.Slog != "" {
			slog.LogAttrs(ctx, slogLevel, req.Slog, attrs...)
		}
	}
	return api.PrintReply{}, nil
}

// levels returns the level of this name for both loggers.
func levels(name string) (logrus.Level, slog.Level, error) {
	switch name {
	case "debug":
		return logrus.DebugLevel, slog.LevelDebug, nil
	case "", "info":
		return logrus.InfoLevel, slog.LevelInfo, nil
	case "warn":
		return logrus.WarnLevel, slog.LevelWarn, nil
	case "error":
		return logrus.ErrorLevel, slog.LevelError, nil
	}
	return 0, 0, transport.Errorf(transport.CodeInvalid, "level %q: %w", name, errUnknown)
}

var errUnknown = errors.New("not known")
