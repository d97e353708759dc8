package lifecycle

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// oomCounter is the count of out-of-memory kills of a process's cgroup (v2) at one time. Another process of that group
// may have been the victim; together with a SIGKILL that nobody here sent it is still the likeliest explanation.
type oomCounter struct {
	events string // path of the group's memory.events; empty where there is none
	kills  int
}

func countOutOfMemory(pid int) oomCounter {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return oomCounter{}
	}
	for line := range strings.Lines(string(groups)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			events := "/sys/fs/cgroup" + strings.TrimSpace(path) + "/memory.events"
			kills, _ := outOfMemoryKills(events)
			return oomCounter{events, kills}
		}
	}
	return oomCounter{}
}

// grew is whether the group has had a kill since.
func (c oomCounter) grew() bool {
	kills, err := outOfMemoryKills(c.events)
	return err == nil && kills > c.kills
}

func outOfMemoryKills(events string) (int, error) {
	data, err := os.ReadFile(events)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strconv.Atoi(strings.TrimSpace(count))
		}
	}
	return 0, os.ErrNotExist
}
