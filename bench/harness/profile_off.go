//go:build !profile

package harness

// Profile begins a CPU profile of this process, if the environment asks for it
// with [ProfileVar], and returns what ends and writes it. [Main] calls it for
// the driver, and for a worker that it runs.
//
// Here it does nothing: only programs that were built with the tag "profile"
// carry the profiler, which others would pay for with memory.
func Profile(string) (stop func()) { return func() {} }
