//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package lifecycle

// callOff has nothing to call off: there is no guard of the start phase here.
func callOff() {}

// adopt does nothing: orphans cannot be adopted here.
func (w *Worker) adopt() {}

// closeInherited closes every descriptor from 3 on that is not closed on exec. Whatever Go opened itself is.
func closeInherited() { closeInheritedUpTo(inheritedLimit()) }
