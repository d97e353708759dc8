package transport

import "golang.org/x/sys/unix"

// solLocal is the level of LOCAL_PEERCRED.
const solLocal = unix.SOL_LOCAL
