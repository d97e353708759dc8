//lint:file-ignore SA4010 it is there to use memory

package main

import (
	"fmt"
	"os"
	"syscall"
)

// exhaust limits the address space to little more than what is in use, and then uses it.
func exhaust() error {
	var pages uint64
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		return fmt.Errorf("decode /proc/self/statm: %w", err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_AS, &limit); err != nil {
		return fmt.Errorf("read the limit of the address space: %w", err)
	}
	const room = 256 << 20
	limit.Cur = pages*uint64(os.Getpagesize()) + room
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &limit); err != nil {
		return fmt.Errorf("limit the address space: %w", err)
	}
	var hold [][]byte
	for {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = 1
		}
		hold = append(hold, block)
	}
}
