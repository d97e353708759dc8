package lifecycle

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Whoever needs the starter at the same time has the same thread, and it stays
// until the last of them has let it go.
func TestStartsShareAThreadThatOutlivesEachOfThem(t *testing.T) {
	var pool starterPool
	first := pool.acquire()
	var all sync.WaitGroup
	threads := make(chan int, 50)
	for range cap(threads) {
		all.Go(func() {
			thread := pool.acquire()
			defer pool.release()
			_ = thread.run(func() error { threads <- unix.Gettid(); return nil })
		})
	}
	all.Wait()
	close(threads)
	_ = first.run(func() error {
		for got := range threads {
			if got != unix.Gettid() {
				t.Errorf("thread %d, want %d", got, unix.Gettid())
			}
		}
		return nil
	})
	pool.release()
	if pool.thread != nil || pool.users != 0 {
		t.Errorf("%d users are left, and the thread is %v", pool.users, pool.thread)
	}
	select {
	case <-first.ended:
	default:
		t.Error("the goroutine has not ended")
	}
}
