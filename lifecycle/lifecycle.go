// Package lifecycle starts, watches, stops and cleans up detached worker processes.
//
// At any point in time a worker that [Command.Start] started is watched from both ends: its starter reaps it and
// removes what it left behind, and the worker itself leaves when its owner has died. Whichever end is killed, at
// whatever instant, the other one or the next start cleans up; nobody has to.
//
// Start with [Command] and [Process] on the starter's side, and with [Current] and [Worker] on the worker's side. The
// package knows nothing of messages: what the two ends say to each other over the worker's socket is not its business.
//
// # What a worker is
//
// A worker has a session of its own, the null device as standard input, and no other descriptor of its starter. Its
// standard output and standard error are the spool: one unlinked file that both ends hold open (see [OutputReader]).
// A private instance directory holds its launch file and its socket, and one environment variable names it. The
// package's init arms the worker before any code of the program runs, so that a program that merely imports this package
// leaves when its owner dies, closes what it inherited, and adopts and reaps its orphaned grandchildren.
//
// Processes that a worker starts belong to it and are killed with it, daemonised ones included. Another worker that was
// started from within a worker does not: it has an owner and lifetimes of its own.
//
// # Limits
//
// On systems other than Linux the watch of the owner is complete (kqueue, wait handles), but descriptors, descendants
// and output are handled with less precision; each function says how. A descendant that clears its environment and
// outlives a worker which was killed by a third party escapes. A filesystem without hole punching loses more output
// than one with it.
package lifecycle
