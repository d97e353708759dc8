// Package failpoint lets tests end a process at one exact point of the code.
//
// Without the build tag unref_failpoints, which nothing but a test sets, its functions do nothing and compile to nothing.
// With it the variable UNREF_FAILPOINT names the point at which the process sends itself SIGKILL; "=n" after the name means
// the nth time that it gets there.
package failpoint

// The points, in the order in which an attach and a worker come to them.
const (
	Claimed     = "claimed"     // a name was claimed
	Started     = "started"     // a shared worker's process was started
	Armed       = "armed"       // a shared worker watches its starter
	Bound       = "bound"       // a worker listens
	Welcoming   = "welcoming"   // a caller was counted and not told so
	Answered    = "answered"    // a shared worker has answered its starter
	Publishing  = "publishing"  // a record was written and not put into its place
	Published   = "published"   // it was
	Frame       = "frame"       // half of a frame was written
	Withdrawing = "withdrawing" // a name is to be taken out of the registry
	Removing    = "removing"    // an instance directory is to be removed
)
