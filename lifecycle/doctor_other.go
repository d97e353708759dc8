//go:build !linux

package lifecycle

// diagnoseSystem has nothing to look at here: what is used of the kernel every version has.
func diagnoseSystem(string) []Check { return nil }
