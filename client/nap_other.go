//go:build !linux

package client

import "time"

// nap waits for less than a millisecond, or a little more.
func nap(d time.Duration) { time.Sleep(d) }
