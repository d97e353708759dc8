package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// diagnoseSystem looks at what is used of the kernel, all of which can be done without, and at the file system.
func diagnoseSystem(root string) []Check {
	return []Check{
		checkFileSystem(root), checkSpool(root), checkInotify(root), checkPidfd(), checkExitStatus(),
	}
}

// networkFileSystems are those on which locks and unlinked files are as good as somebody else's server.
var networkFileSystems = map[int64]string{
	unix.NFS_SUPER_MAGIC: "nfs", unix.SMB_SUPER_MAGIC: "smb", unix.SMB2_SUPER_MAGIC: "smb", unix.CIFS_SUPER_MAGIC: "cifs",
	unix.V9FS_MAGIC: "9p", unix.AFS_SUPER_MAGIC: "afs", unix.CEPH_SUPER_MAGIC: "ceph", unix.FUSE_SUPER_MAGIC: "fuse",
}

// littleSpace is less than what a single worker's output may take.
const littleSpace = 16 << 20

func checkFileSystem(root string) Check {
	const name = "file system"
	var stat unix.Statfs_t
	if err := unix.Statfs(root, &stat); err != nil {
		return failed(name, "use another runtime directory", "%v", err)
	}
	free := int64(stat.Bavail) * int64(stat.Bsize)       //nolint:unconvert // the types differ between architectures
	kind, remote := networkFileSystems[int64(stat.Type)] //nolint:unconvert // the types differ between architectures
	switch {
	case stat.Flags&unix.ST_RDONLY != 0:
		return failed(name, remedyFor(root, unix.EROFS), "%s is read-only", root)
	case stat.Blocks > 0 && free == 0:
		return failed(name, remedyFor(root, unix.ENOSPC), "%s is full", root)
	case stat.Blocks > 0 && free < littleSpace:
		return warned(name, remedyFor(root, unix.ENOSPC), "%d MiB are free; the output of one worker takes up to 8", free>>20)
	case remote:
		return warned(name, "use a runtime directory on a local file system", "%s is on %s: locks are as good as that is", root, kind)
	}
	return passed(name, "%d MiB are free", free>>20)
}

func checkSpool(root string) Check {
	const name = "output files"
	f, err := os.OpenFile(root, unix.O_TMPFILE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return checkUnlinkedSpool(root, err)
	}
	defer f.Close()
	return checkHoles(name, f, passed(name, "files without a name (O_TMPFILE), with holes"))
}

// checkUnlinkedSpool is for file systems that know no files without a name. cause is what they say.
func checkUnlinkedSpool(root string, cause error) Check {
	const name, remedy = "output files", "use a runtime directory on a local file system, tmpfs say"
	dir, err := os.MkdirTemp(root, ".doctor-")
	if err != nil {
		return failed(name, remedyFor(filepath.Join(root, "*"), err), "%v", err)
	}
	defer os.RemoveAll(dir)
	f, err := createUnlinked(dir)
	if err != nil {
		return failed(name, remedyFor(filepath.Join(dir, "*"), err), "%v", err)
	}
	defer f.Close()
	return checkHoles(name, f, warned(name, remedy, "no O_TMPFILE (%v): files are created and unlinked", cause))
}

// checkHoles sees whether old output can be dropped without moving the rest. If so it returns the check given.
func checkHoles(name string, f *os.File, rest Check) Check {
	const size = 64 << 10
	if _, err := f.Write(make([]byte, size)); err != nil {
		return failed(name, remedyFor(f.Name(), err), "%v", err)
	}
	if err := dropOutput(f, 0, size/2); err != nil {
		return warned(name, "use a runtime directory on tmpfs, ext4, xfs or btrfs",
			"old output can't be dropped by a hole (%v): it is all dropped when the file is full", err)
	}
	return rest
}

func checkInotify(root string) Check {
	const name = "inotify"
	limits := fmt.Sprintf("limits per user: %s instances, %s watches", inotifyLimit("max_user_instances"), inotifyLimit("max_user_watches"))
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		defer unix.Close(fd)
		_, err = unix.InotifyAddWatch(fd, root, unix.IN_DELETE|unix.IN_ONLYDIR)
	}
	if err != nil {
		return warned(name, inotifyRemedy(err), "none to be had (%v; %s): output is looked for every %v", err, limits, growthPoll)
	}
	return passed(name, "%s", limits)
}

func inotifyRemedy(err error) string {
	switch {
	case errors.Is(err, unix.EMFILE):
		return "raise fs.inotify.max_user_instances with sysctl, or the limit of open files with ulimit -n"
	case errors.Is(err, unix.ENOSPC):
		return "raise fs.inotify.max_user_watches with sysctl"
	}
	return "allow the system calls inotify_init1 and inotify_add_watch"
}

// inotifyLimit returns one of the kernel's settings as it is written there.
func inotifyLimit(setting string) string {
	data, err := os.ReadFile("/proc/sys/fs/inotify/" + setting)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}

func checkPidfd() Check {
	const name = "pidfd"
	fd, err := unix.PidfdOpen(os.Getpid(), unix.PIDFD_NONBLOCK)
	if err != nil {
		return warned(name, "use Linux 5.10 or later, and allow the system call pidfd_open",
			"none to be had (%v): the death of owners is looked for every %v", err, identityPoll)
	}
	unix.Close(fd)
	return passed(name, "processes are watched by descriptor")
}

// checkExitStatus asks about a process that lives, which a kernel that knows the question answers.
func checkExitStatus() Check {
	const name, remedy = "exit status of others", "use Linux 6.15 or later"
	const detail = "the kernel does not tell (%v): of a worker that another program has started it is not known how it ended"
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return warned(name, remedy, detail, err)
	}
	defer unix.Close(fd)
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
	if errno != 0 {
		return warned(name, remedy, detail, errno)
	}
	return passed(name, "the kernel tells (PIDFD_GET_INFO)")
}
