package integration

import (
	"os"
	"syscall"
)

// blocks returns how many blocks of 512 bytes the file has.
func blocks(info os.FileInfo) int64 { return info.Sys().(*syscall.Stat_t).Blocks }
