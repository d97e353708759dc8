package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Proc is a file of /proc with lines of the form "NAME: VALUE".
type Proc map[string]string

// ReadProc reads such a file. Of lines with one name the last counts.
func ReadProc(path string) (Proc, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := make(Proc)
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		p[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return p, nil
}

// Number returns a number without a unit, 0 if there is none.
func (p Proc) Number(name string) int {
	n, _ := strconv.Atoi(p[name])
	return n
}

// Bytes returns a size in bytes, 0 if there is none.
func (p Proc) Bytes(name string) int {
	kb, _ := strconv.Atoi(strings.TrimSuffix(p[name], " kB"))
	return kb << 10
}

// memory returns a size of a process in bytes by its name in /proc/PID/status:
// VmRSS or, for the greatest so far, VmHWM. It is 0 if that can't be told.
func memory(pid int, name string) int {
	status, _ := ReadProc(fmt.Sprintf("/proc/%d/status", pid))
	return status.Bytes(name)
}

// cpuTime returns the processor time that the threads of a process have used,
// to the nanosecond, 0 if that can't be told.
func cpuTime(pid int) time.Duration {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var total time.Duration
	for _, file := range files {
		data, _ := os.ReadFile(file)
		first, _, _ := bytes.Cut(data, []byte(" "))
		ns, _ := strconv.ParseInt(string(first), 10, 64)
		total += time.Duration(ns)
	}
	return total
}
