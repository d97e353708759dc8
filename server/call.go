package server

import (
	"context"

	"github.com/detached-workers/unref/transport"
)

// MethodName returns the method that ctx, a handler's context, belongs to, or
// "" for another context.
func MethodName(ctx context.Context) string {
	if call := transport.CallOf(ctx); call != nil {
		return call.Method
	}
	return ""
}

// Metadata returns what the caller sent along with the call that ctx, a
// handler's context, belongs to; nil if nothing. It must not be changed.
func Metadata(ctx context.Context) map[string]string {
	if call := transport.CallOf(ctx); call != nil {
		return call.Metadata
	}
	return nil
}
