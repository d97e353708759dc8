package main

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strconv"
	"time"
)

// A process that is just becoming another program has no environment for a
// moment, so that one look in vain does not tell.
const (
	looksInVain = 3
	lookPause   = 10 * time.Millisecond
)

// sweep ends every process that carries this run's mark, whoever started it
// and wherever it hides, until there is none.
func (b *bench) sweep() {
	vain := 0
	for deadline := time.Now().Add(closeLimit); vain < looksInVain && time.Now().Before(deadline); time.Sleep(lookPause) {
		marked := b.marked()
		for _, pid := range marked {
			b.end(pid)
		}
		if vain++; len(marked) > 0 {
			vain = 0
		}
	}
}

// marked returns the processes that carry the mark.
func (b *bench) marked() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && b.isMarked(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (b *bench) isMarked(pid int) bool {
	env, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return string(v) == b.mark })
}

// end kills a marked process and waits for its end. The mark is looked at again
// when the process can no longer be mistaken for another.
func (b *bench) end(pid int) {
	p, err := openPid(pid)
	if err != nil {
		return
	}
	defer p.close()
	if b.isMarked(pid) {
		p.kill()
		p.await(context.Background(), time.Second)
	}
}
