package lifecycle

import (
	"runtime"
	"sync"
)

// starters starts all processes, so that many starts at once need one thread and not one each.
var starters starterPool

// starterPool has a thread while somebody needs it: in Go threads end at any time, healthy program or not, and with them
// would end what they have started.
type starterPool struct {
	mu     sync.Mutex // protects what follows
	users  int
	thread *starter
}

// starter is a goroutine that keeps its thread.
type starter struct {
	jobs  chan func()
	ended chan struct{}
}

// acquire returns the thread, which stays until release was called as often.
func (s *starterPool) acquire() *starter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users++; s.users == 1 {
		s.thread = &starter{jobs: make(chan func()), ended: make(chan struct{})}
		go s.thread.loop()
	}
	return s.thread
}

// release lets the thread go when nobody else needs it, and waits for that.
func (s *starterPool) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		close(s.thread.jobs)
		<-s.thread.ended
		s.thread = nil
	}
}

func (s *starter) loop() {
	defer close(s.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for job := range s.jobs {
		job()
	}
}

// run runs f on the thread.
func (s *starter) run(f func() error) error {
	done := make(chan error, 1)
	s.jobs <- func() { done <- f() }
	return <-done
}
