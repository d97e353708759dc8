//go:build !unix

package transport

import "syscall"

// attemptedWrite writes nothing: here no descriptor tells whether it would
// block, so that all writes are left to a goroutine.
type attemptedWrite struct{}

func (*attemptedWrite) init() {}

func (*attemptedWrite) write(syscall.RawConn, []byte) (int, error) { return 0, nil }
