package lifecycle

import (
	"runtime"
	"sync"
)

// endThreads makes n threads end, as goroutines do that return while they are locked to theirs.
func endThreads(n int) {
	var all sync.WaitGroup
	for range n {
		all.Go(func() { runtime.LockOSThread() })
	}
	all.Wait()
}
