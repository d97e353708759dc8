package server

import (
	"context"

	"github.com/detached-workers/unref/transport"
)

type callKey struct{}

func withCall(ctx context.Context, call *transport.Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

// callOf returns the call that ctx belongs to, or nil.
func callOf(ctx context.Context) *transport.Call {
	if ctx == nil {
		return nil
	}
	call, _ := ctx.Value(callKey{}).(*transport.Call)
	return call
}

// MethodName returns the method that ctx, a handler's context, belongs to, or
// "" for another context.
func MethodName(ctx context.Context) string {
	if call := callOf(ctx); call != nil {
		return call.Method
	}
	return ""
}

// Metadata returns what the caller sent along with the call that ctx, a
// handler's context, belongs to; nil if nothing. It must not be changed.
func Metadata(ctx context.Context) map[string]string {
	if call := callOf(ctx); call != nil {
		return call.Metadata
	}
	return nil
}
