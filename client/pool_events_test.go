package client

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPoolIsClosedThoughAWorkerDoesNotAnswerASubscription(t *testing.T) {
	for how, end := range map[string]func(*Pool) error{"Close": (*Pool).Close, "Kill": (*Pool).Kill} {
		t.Run(how, func(t *testing.T) {
			simulate(t, PoolConfig{Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
				source, err := p.subscribe(t.Context(), []string{"progress"})
				if err != nil {
					t.Fatal(err)
				}
				defer source.stop()
				called := make(chan error, 1)
				go func() {
					_, err := do(t.Context(), p, 0)
					called <- err
				}()
				synctest.Wait()
				pass(20 * time.Millisecond) // it has started
				if err := end(p); how == "Kill" && err != nil {
					t.Error(err)
				}
				if err := <-called; err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("the call that waited = %v, want an answer or ErrClosed", err)
				}
			})
		})
	}
}
