package api

import "time"

// EchoRequest is what [Echo] sends back.
type EchoRequest struct {
	Text string
	Data []byte
}

// EchoReply equals the request it answers.
type EchoReply struct {
	Text string
	Data []byte
}

// SleepRequest says how long [Sleep] waits; zero and negative mean not at all.
type SleepRequest struct {
	Duration time.Duration
}

// SleepReply says how long it took.
type SleepReply struct {
	Slept time.Duration
}

// SquareRequest is the number to multiply by itself.
type SquareRequest struct {
	N int64
}

// SquareReply is the product; it wraps around as int64 does.
type SquareReply struct {
	N int64
}

// CountRequest says what [Count] streams.
type CountRequest struct {
	// N is the number of messages; zero and negative mean none.
	N int
	// Size is the number of bytes of data in each message; zero and negative mean none.
	Size int
	// Pause is the time between two messages; zero and negative mean none.
	Pause time.Duration
}

// CountMessage is one message of [Count].
type CountMessage struct {
	// I counts from zero.
	I int
	// Data has the size asked for; each of its bytes is byte(I).
	Data []byte
}

// SumRequest is a number to add.
type SumRequest struct {
	N int64
}

// SumReply is the sum of all numbers so far.
type SumReply struct {
	Sum int64
}

// PrintRequest says what [Print] writes where. Empty texts are not written. Stdout and Stderr are written as they are,
// without a newline added.
type PrintRequest struct {
	Stdout string
	Stderr string
	Log    string // through the standard library's log
	Logrus string // through logrus's standard logger
	Slog   string // through slog's default logger
	// Level is the level of the logrus and slog entries: "debug", "info", "warn" or "error"; empty means info.
	Level string
	// Fields go with the logrus and slog entries.
	Fields map[string]string
	// Repeat is how often everything is written; zero and negative mean once.
	Repeat int
}

// PrintReply says that all has been written.
type PrintReply struct{}

// The ways in which [Crash] ends a call or its worker.
const (
	CrashExit0      = "exit0"          // exits with status 0
	CrashExit3      = "exit3"          // exits with status 3
	CrashPanic      = "panic"          // panics in the handler
	CrashStrayPanic = "stray-panic"    // panics in a goroutine of the handler's
	CrashGoexit     = "goexit"         // ends the handler's goroutine with runtime.Goexit
	CrashSegv       = "segv"           // a segmentation fault
	CrashKill       = "kill"           // SIGKILL
	CrashStop       = "stop"           // SIGSTOP: the worker does nothing until it gets SIGCONT
	CrashMapWrite   = "map-write"      // concurrent map writes: a fatal error that cannot be recovered from
	CrashStack      = "stack-overflow" // endless recursion: a fatal error that cannot be recovered from
	CrashDeadlock   = "deadlock"       // blocks for ever and ignores the context
	CrashSpin       = "spin"           // uses a CPU for ever and ignores the context
	CrashOOM        = "oom"            // runs out of memory below a limit that it gives itself; Linux only
)

// CrashRequest says how and when to crash.
type CrashRequest struct {
	// Kind is one of the Crash constants.
	Kind string
	// After is the time from the start of the call to the crash; zero and negative mean at once.
	After time.Duration
	// Message is the text of a panic, and is written to standard error before the others; empty means none.
	Message string
}

// CrashReply is sent by a worker that was stopped and has been continued. In all other cases a [Crash] that did not work
// returns an error.
type CrashReply struct{}

// ChildrenRequest says how many processes [Children] starts; zero and negative mean none.
type ChildrenRequest struct {
	// Children is the number of plain children.
	Children int
	// Daemons is the number of grandchildren in sessions of their own, whose parents have ended.
	Daemons int
}

// ChildrenReply names the processes that were started.
type ChildrenReply struct {
	Children []int
	Daemons  []int
}
