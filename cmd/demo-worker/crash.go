//lint:file-ignore SA4017,SA5002,SA5007 it is there to go wrong

package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/transport"
)

// crash ends the call or the process as it is asked to. It returns only if that did not work.
func crash(ctx context.Context, req api.CrashRequest) (api.CrashReply, error) {
	if err := wait(ctx, req.After); err != nil {
		return api.CrashReply{}, err
	}
	if req.Message != "" {
		fmt.Fprintln(os.Stderr, req.Message)
	}
	return api.CrashReply{}, crashNow(req)
}

func crashNow(req api.CrashRequest) error {
	switch req.Kind {
	case api.CrashExit0:
		os.Exit(0)
	case api.CrashExit3:
		os.Exit(3)
	case api.CrashPanic:
		panic("crash: " + req.Message)
	case api.CrashStrayPanic:
		stray(func() { panic("crash: " + req.Message) })
	case api.CrashGoexit:
		runtime.Goexit()
	case api.CrashSegv:
		return signalSelf(syscall.SIGSEGV)
	case api.CrashKill:
		return signalSelf(os.Kill)
	case api.CrashStop:
		return stopSelf()
	case api.CrashMapWrite:
		writeMap()
	case api.CrashStack:
		debug.SetMaxStack(16 << 20)
		stray(func() { overflow(0) })
	case api.CrashDeadlock:
		select {}
	case api.CrashSpin:
		for {
		}
	case api.CrashOOM:
		return exhaust()
	}
	return transport.Errorf(transport.CodeInvalid, "kind of crash %q: %w", req.Kind, errUnknown)
}

// stray runs f where nobody recovers, and never returns: f ends the process.
func stray(f func()) {
	go f() // ends with the process
	select {}
}

// signalSelf sends a signal to this process and waits for what comes of it.
func signalSelf(sig os.Signal) error {
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := self.Signal(sig); err != nil {
		return fmt.Errorf("send signal %v: %w", sig, err)
	}
	select {}
}

// writeMap writes a map from two goroutines until the runtime notices.
func writeMap() {
	m := make(map[int]int)
	write := func() {
		for i := 0; ; i++ {
			m[i%16] = i
		}
	}
	go write() // ends with the process
	write()
}

// overflow uses up the stack.
func overflow(n int) int { return overflow(n+1) + 1 }
