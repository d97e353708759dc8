package harness

// Spin is the payload that makes a worker busy.
const Spin = "spin"

// Echo is what a worker does with a request: it returns the payload. When that
// is [Spin] it also starts a goroutine that never ends and never waits.
func Echo(payload []byte) []byte {
	if string(payload) == Spin {
		go spin()
	}
	return payload
}

func spin() {
	for n := 0; ; n++ {
	}
}
