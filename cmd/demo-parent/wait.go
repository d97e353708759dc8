package main

import (
	"context"
	"fmt"
	"time"
)

const (
	attachPatience = time.Second            // how long an attach may take before the user is told whom it waits for
	lookPatience   = 500 * time.Millisecond // how long that is looked for
)

// tellWaiting has the user told whom a slot waits for, if that takes long before the returned function is called. Workers
// that are ours alone wait for nobody.
func (c *crew) tellWaiting(slot int) (ready context.CancelFunc) {
	if c.group == "" {
		return nil
	}
	ctx, ready := context.WithCancel(context.Background())
	c.tasks.Go(func() {
		timer := time.NewTimer(attachPatience)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if text := c.waitsFor(ctx, slot); ctx.Err() == nil {
			c.tell("%s", text)
		}
	})
	return ready
}

// waitsFor says whom an attach waits for: a worker that does not answer, or another that has still to come.
func (c *crew) waitsFor(ctx context.Context, slot int) string {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	name := slotName(c.group, slot+1)
	list, _ := c.dialer.List(ctx) // what can't be listed is not named
	for _, info := range list {
		if info.Name == name && info.Status == nil && !info.Displaced && info.Pid != 0 {
			return fmt.Sprintf("waiting for worker %d (%s), which does not answer and is replaced if it goes on like that", info.Pid, place(info))
		}
	}
	return fmt.Sprintf("waiting for a worker (%s)", name[len(namePrefix):])
}
