//go:build profile

package harness

import (
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"sync"
	"syscall"
)

// Profile begins a CPU profile of this process, if the environment asks for it
// with [ProfileVar], and returns what ends and writes it. [Main] calls it for
// the driver, and for a worker that it runs. From then on the process also
// writes its profile when SIGTERM ends it.
func Profile(role string) (stop func()) {
	prefix := os.Getenv(ProfileVar)
	if prefix == "" {
		return func() {}
	}
	f, err := os.Create(fmt.Sprintf("%s-%s-%d.prof", prefix, role, os.Getpid()))
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		note("profile", err)
		return func() {}
	}
	stop = sync.OnceFunc(func() {
		pprof.StopCPUProfile()
		_ = f.Close() // pprof does not tell either what it could not write
	})
	terminated := make(chan os.Signal, 1) // from the runtime
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		stop()
		os.Exit(0)
	}()
	return stop
}
