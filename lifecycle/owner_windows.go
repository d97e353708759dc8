package lifecycle

import (
	"os"
	"strconv"

	"golang.org/x/sys/windows"
)

const ownerAccess = windows.SYNCHRONIZE | windows.PROCESS_QUERY_LIMITED_INFORMATION

// identify reads the identity of a running process.
func identify(pid int) (identity, error) {
	handle, start, err := openProcess(pid)
	if err != nil {
		return identity{}, err
	}
	windows.CloseHandle(handle)
	return identity{Pid: pid, Start: start}, nil
}

// openProcess opens a process that runs and returns its creation time.
func openProcess(pid int) (windows.Handle, string, error) {
	handle, err := windows.OpenProcess(ownerAccess, false, uint32(pid))
	if err == windows.ERROR_INVALID_PARAMETER {
		return 0, "", os.ErrProcessDone
	}
	if err != nil {
		return 0, "", err
	}
	var created, exited, kernel, user windows.Filetime
	err = windows.GetProcessTimes(handle, &created, &exited, &kernel, &user)
	if event, waitErr := windows.WaitForSingleObject(handle, 0); err == nil && waitErr == nil && event == windows.WAIT_OBJECT_0 {
		err = os.ErrProcessDone
	}
	if err != nil {
		windows.CloseHandle(handle)
		return 0, "", err
	}
	return handle, strconv.FormatInt(created.Nanoseconds(), 10), nil
}

// resolve returns the identity to hand to a worker. No handle is passed on.
func (o Owner) resolve() (identity, *os.File, error) {
	if o.none {
		return identity{}, nil, nil
	}
	if o.id.Pid == 0 {
		id, err := identify(os.Getpid())
		return id, nil, err
	}
	if now, err := identify(o.id.Pid); err != nil || now != o.id {
		return identity{}, nil, ErrOwnerGone
	}
	return o.id, nil, nil
}

// ownerWatch waits for the death of one process.
type ownerWatch struct {
	handle windows.Handle
}

// watchIdentity prepares to wait for the death of the process.
func watchIdentity(id identity, _ int) (*ownerWatch, error) {
	handle, start, err := openProcess(id.Pid)
	switch {
	case err == os.ErrProcessDone:
		return nil, ErrOwnerGone
	case err != nil:
		return nil, errUnseen
	case start != id.Start:
		windows.CloseHandle(handle)
		return nil, ErrOwnerGone
	}
	return &ownerWatch{handle}, nil
}

// alive is whether the process lives.
func (w *ownerWatch) alive() bool {
	event, err := windows.WaitForSingleObject(w.handle, 0)
	return err == nil && event != windows.WAIT_OBJECT_0
}

// wait returns when the process is dead. It takes a thread.
func (w *ownerWatch) wait() {
	_, _ = windows.WaitForSingleObject(w.handle, windows.INFINITE)
}
