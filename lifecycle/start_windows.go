package lifecycle

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

func workerAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		HideWindow:    true,
		CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP,
	}
}

// terminate kills: a process without a console cannot be asked.
func terminate(process *os.Process) error { return process.Kill() }

// quit can't be asked for either.
func quit(*os.Process) error { return errors.ErrUnsupported }

// killedByUs is whether a process that was killed for a reason really died of it: Process.Kill ends it with status 1.
func killedByUs(_ syscall.Signal, code int) bool { return code == 1 }

// awaitExit leaves the waiting to the process handle.
func awaitExit(int) {}

func calledOff(int, *os.File) bool { return true }
