//go:build !unref_failpoints

package failpoint

// Here marks a point.
func Here(string) {}

// After marks a point that comes after f, which runs only if the process is to end there.
func After(string, func()) {}
