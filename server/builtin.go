package server

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/transport"
)

// builtin registers the methods that every worker has.
func (m *Mux) builtin(s *Server) {
	Handle(m, transport.MethodShutdown, func(context.Context, struct{}) (struct{}, error) {
		s.quit("a client asked for it")
		return struct{}{}, nil
	})
	Handle(m, transport.MethodStacks, func(context.Context, struct{}) (string, error) { return stacks(), nil })
	Handle(m, transport.MethodMethods, func(context.Context, struct{}) ([]transport.MethodInfo, error) { return m.infos(), nil })
	Handle(m, transport.MethodStatus, func(context.Context, struct{}) (transport.Status, error) { return s.status(), nil })
	HandleStream(m, transport.MethodEvents, s.serveEvents)
	m.events.limit(s.MaxMessage)
}

// infos describes all methods.
func (m *Mux) infos() []transport.MethodInfo {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []transport.MethodInfo
	for _, name := range slices.Sorted(maps.Keys(m.methods)) {
		list = append(list, transport.MethodInfo{Name: name, Kind: m.methods[name].kind.String()})
	}
	return list
}

// stacks returns as much as fits into a message of the default size.
func stacks() string {
	for size := 64 << 10; ; size *= 4 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size || size > transport.DefaultMaxMessage/4 {
			return string(buf[:n])
		}
	}
}

// handle counts the calls of the program's own methods.
func (s *Server) handle(ctx context.Context, call *transport.Call) ([]byte, error) {
	if strings.HasPrefix(call.Method, transport.ReservedPrefix) {
		return s.Mux.serve(ctx, call)
	}
	s.inFlight.Add(1)
	defer func() {
		s.inFlight.Add(-1)
		s.ended.Add(1)
		s.checkFiles()
	}()
	return s.Mux.serve(ctx, call)
}

// notificationFailed logs the error of a handler whose caller has its answer.
func (s *Server) notificationFailed(call *transport.Call, err *transport.Error) {
	entry := s.Logger.WithFields(logrus.Fields{methodField: call.Method, logrus.ErrorKey: err})
	if err.Stack != "" {
		entry = entry.WithField("stack", err.Stack)
	}
	entry.Warn("notification failed")
}

func (s *Server) status() transport.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := transport.Status{
		Started: s.started, Clients: s.clients, InFlight: s.inFlight.Load(), Done: s.ended.Load(), Leaving: s.retiring,
	}
	if s.clients == 0 {
		status.Idle = time.Since(s.idleSince)
	}
	return status
}
