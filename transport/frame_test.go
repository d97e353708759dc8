package transport

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
)

func TestAFrameHeaderSurvivesTheTrip(t *testing.T) {
	for _, h := range []header{
		{typ: frameRequest, flags: flagEnd, id: 1},
		{typ: frameGoAway},
		{length: 1<<32 - 1, typ: frameMessage, flags: 255, id: 1<<64 - 1},
	} {
		b := h.append(nil)
		if got, err := readHeader(bytes.NewReader(b)); err != nil || got != h || len(b) != headerSize {
			t.Errorf("got %+v, %v, want %+v", got, err, h)
		}
	}
}

func TestABadFrameHeaderIsAProtocolViolation(t *testing.T) {
	for _, b := range [][]byte{
		make([]byte, headerSize), // type 0
		{4: byte(frameTypeEnd), 15: 0},
		{4: 255, 15: 0},
		{4: byte(frameResult), 6: 1, 15: 0},
		{4: byte(frameResult), 7: 1, 15: 0},
	} {
		_, err := readHeader(bytes.NewReader(b))
		wantErr(t, err, ErrProtocol)
	}
}

func TestAnEndOfInputIsEOFOnlyBetweenFrames(t *testing.T) {
	frame := newFrame(header{typ: frameResult, id: 1}, []byte("payload")).frame()
	for cut := range frame {
		r := bytes.NewReader(frame[:cut])
		h, err := readHeader(r)
		if err == nil {
			_, err = readPayload(r, h)
		}
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[cut == 0]; err != want {
			t.Errorf("cut after %d bytes: %v, want %v", cut, err, want)
		}
	}
}

// A header that promises 4 GiB costs no more memory than bytes come.
func TestAHeaderAloneAllocatesNothingLarge(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readPayload(bytes.NewReader(make([]byte, 100)), header{length: 1<<32 - 1})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("allocated %d bytes", n)
	}
}

func TestAPayloadOfSeveralStepsIsWhole(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcde"), 300_000)
	got, err := readPayload(bytes.NewReader(append(want, "rest"...)), header{length: uint32(len(want))})
	if err != nil || !bytes.Equal(got.bytes(), want) {
		t.Errorf("got %d bytes, %v", len(got.bytes()), err)
	}
}
