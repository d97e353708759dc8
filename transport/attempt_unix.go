//go:build unix

package transport

import (
	"errors"
	"syscall"
)

// attemptedWrite writes to a descriptor without waiting. It keeps what the
// callback needs, so that a write allocates nothing.
type attemptedWrite struct {
	p   []byte
	n   int
	err error
	run func(fd uintptr) bool
}

func (a *attemptedWrite) init() { a.run = a.attempt }

// write returns how much the descriptor took, which may be nothing.
func (a *attemptedWrite) write(raw syscall.RawConn, p []byte) (int, error) {
	a.p, a.n, a.err = p, 0, nil
	err := raw.Write(a.run)
	a.p = nil
	if err != nil {
		return 0, err
	}
	return a.n, a.err
}

func (a *attemptedWrite) attempt(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), a.p)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if !errors.Is(err, syscall.EAGAIN) {
			a.n, a.err = max(n, 0), err
		}
		return true
	}
}
