package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	attachPatience = time.Second            // how long an attach may take before the user is told whom it waits for
	lookPatience   = 500 * time.Millisecond // how long that is looked for
)

// tellWaiting has the user told whom the slot waits for, if that takes long. The returned function ends it.
func (s *slot) tellWaiting(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() {
		timer := time.NewTimer(attachPatience)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if text := s.waitsFor(ctx); ctx.Err() == nil {
			s.tell("%s", text)
		}
	})
	return func() {
		cancel()
		teller.Wait()
	}
}

// waitsFor says whom an attach waits for: a worker that does not answer, or another that has still to come.
func (s *slot) waitsFor(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	list, _ := s.dialer.List(ctx) // what can't be listed is not named
	for _, info := range list {
		if info.Name == s.name && info.Status == nil && !info.Displaced && info.Pid != 0 {
			return fmt.Sprintf("waiting for worker %d (%s), which does not answer and is replaced if it goes on like that", info.Pid, place(info))
		}
	}
	return fmt.Sprintf("waiting for a worker (%s)", s.name[len(namePrefix):])
}
