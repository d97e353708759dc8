package main

import "golang.org/x/sys/windows"

// alive reports whether there is a process with this pid.
func alive(pid int) bool {
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return false
	}
	defer windows.CloseHandle(h)
	event, err := windows.WaitForSingleObject(h, 0)
	return err == nil && event == uint32(windows.WAIT_TIMEOUT)
}

// ownSession says that there are no sessions.
func ownSession(int) (own, known bool) { return false, false }

// sharedFiles says that nothing is known of another process's files.
func sharedFiles(int) (shared []string, known bool) { return nil, false }
