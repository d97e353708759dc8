package server

import (
	"context"
	"maps"
	"runtime"
	"slices"

	"github.com/detached-workers/unref/transport"
)

// builtin registers the methods that every worker has.
func (m *Mux) builtin(s *Server) {
	Handle(m, transport.MethodShutdown, func(context.Context, struct{}) (struct{}, error) {
		s.quit("a client asked for it")
		return struct{}{}, nil
	})
	Handle(m, transport.MethodStacks, func(context.Context, struct{}) (string, error) { return stacks(), nil })
	Handle(m, transport.MethodMethods, func(context.Context, struct{}) ([]string, error) { return m.names(), nil })
}

func (m *Mux) names() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.methods))
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
