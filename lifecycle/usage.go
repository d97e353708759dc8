package lifecycle

import "time"

// Usage is what a process uses.
type Usage struct {
	RSS int64         `json:"rss"` // memory that is resident, in bytes
	CPU time.Duration `json:"cpu"` // processor time since its start, in nanoseconds
}
