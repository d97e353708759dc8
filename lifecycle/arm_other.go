//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package lifecycle

// callOff has nothing to call off: there is no guard of the start phase here.
func callOff() {}

// adopt does nothing: orphans cannot be adopted here.
func (w *Worker) adopt() {}

// closeInherited does nothing: on Windows only named handles are inherited.
func closeInherited() {}
