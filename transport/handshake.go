package transport

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// The versions of the protocol that this package speaks.
const (
	minVersion = 1
	maxVersion = 1
)

// magic opens every connection, from both sides.
var magic = [4]byte{'u', 'n', 'r', 'f'}

// connSession is the kind of connection that carries calls. Other kinds share
// the socket and the handshake.
const connSession = 'Y'

// maxHandshake bounds a handshake's body, in bytes.
const maxHandshake = 16 << 10

// DefaultHandshakeTimeout is how long a worker waits for a connection's
// handshake where nothing else is set.
const DefaultHandshakeTimeout = 5 * time.Second

// Hello is what the caller's side of a connection says first.
type Hello struct {
	Name     string `cbor:"name"`     // the worker's name; "" accepts any
	Build    string `cbor:"build"`    // the build asked for; "" accepts any
	Instance string `cbor:"instance"` // the instance meant; "" accepts any
	Secret   []byte `cbor:"secret"`   // the instance's secret
	Pid      int    `cbor:"pid"`

	// MaxMessage is the largest message, in bytes, that the sender of the
	// hello takes.
	MaxMessage int `cbor:"max_message"`

	// Features are what the caller wants besides, see [FeatureOutput] and
	// [FeatureObserver]. Unknown ones are ignored.
	Features []string `cbor:"features"`
}

// The optional abilities that a handshake can name.
const (
	// FeatureOutput in a hello asks for the file that holds the worker's
	// output; in a welcome it says that the file came along.
	FeatureOutput = "output"

	// FeatureObserver in a hello says that the caller looks after workers and
	// is no client of this one: it does not keep an idle worker from leaving.
	FeatureObserver = "observer"

	// FeatureNotify in a welcome says that the worker takes notifications.
	FeatureNotify = "notify"
)

// Welcome is the worker's answer to a [Hello] that it accepts.
type Welcome struct {
	Version    int      `cbor:"version"`
	Name       string   `cbor:"name"`
	Build      string   `cbor:"build"`
	Instance   string   `cbor:"instance"`
	Pid        int      `cbor:"pid"`
	MaxMessage int      `cbor:"max_message"`
	Features   []string `cbor:"features"`
}

// MismatchError reports a handshake that one side refused: which field
// differs, what the refusing side wanted and what it got. The sentinels
// [ErrVersion], [ErrBuild], [ErrName], [ErrInstance] and [ErrSecret] match it
// by field.
type MismatchError struct {
	Field string `cbor:"field"`
	Want  string `cbor:"want"`
	Got   string `cbor:"got"`
}

// The fields that a handshake can fail on, as targets for [errors.Is].
var (
	ErrVersion  = &MismatchError{Field: "version"}
	ErrBuild    = &MismatchError{Field: "build"}
	ErrName     = &MismatchError{Field: "name"}
	ErrInstance = &MismatchError{Field: "instance"}
	ErrSecret   = &MismatchError{Field: "secret"}
)

var remedies = map[string]string{
	"version": "; rebuild the older of the two programs with the other's version of unref",
	"build":   "; rebuild the worker, or start it with the program that it was built for",
	"name":    "; check Command.Name and the worker's own name",
}

// Error names the field, both values and what to do.
func (e *MismatchError) Error() string {
	if e.Field == "secret" {
		return "handshake: wrong secret"
	}
	return fmt.Sprintf("handshake: %s mismatch: caller wants %q, worker is %q%s", e.Field, e.Want, e.Got, remedies[e.Field])
}

// Is reports whether target is the sentinel of e's field.
func (e *MismatchError) Is(target error) bool {
	t, ok := target.(*MismatchError)
	return ok && t.Field == e.Field && t.Want == "" && t.Got == ""
}

// preamble is the fixed part of a handshake message, which every version of
// the protocol can read:
//
//	magic   [4]byte  "unrf"
//	a, b    uint8    caller: lowest and highest version; worker: chosen version or 0, and 0
//	kind    uint8    'Y', a connection for calls
//	zero    uint8
//	length  uint32   of the CBOR body that follows, big endian
const preambleSize = 12

type preamble struct {
	a, b, kind byte
	length     uint32
}

func writeHandshake(w io.Writer, p preamble, body any) error {
	data, err := Codec{}.Encode(body)
	if err != nil {
		return err
	}
	msg := append(slices.Clone(magic[:]), p.a, p.b, p.kind, 0)
	msg = binary.BigEndian.AppendUint32(msg, uint32(len(data)))
	_, err = w.Write(append(msg, data...))
	return err
}

// readHandshake reads exactly one message and nothing beyond it: the bytes
// that follow belong to yamux.
func readHandshake(r io.Reader) (preamble, []byte, error) {
	var b [preambleSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return preamble{}, nil, noEOF(err)
	}
	return readBody(r, b)
}

// readBody reads what follows the preamble.
func readBody(r io.Reader, b [preambleSize]byte) (preamble, []byte, error) {
	p := preamble{a: b[4], b: b[5], kind: b[6], length: binary.BigEndian.Uint32(b[8:])}
	switch {
	case !bytes.Equal(b[:4], magic[:]):
		return preamble{}, nil, fmt.Errorf("%w: the other side is no unref process: it says %q", ErrProtocol, b[:])
	case p.length > maxHandshake:
		return preamble{}, nil, fmt.Errorf("%w: handshake of %d bytes, limit %d", ErrProtocol, p.length, maxHandshake)
	}
	body := make([]byte, p.length)
	if _, err := io.ReadFull(r, body); err != nil {
		return preamble{}, nil, noEOF(err)
	}
	return p, body, nil
}

// greet shakes hands as the caller. The file, nil if there is none, is what the
// worker handed over.
func greet(conn net.Conn, hello Hello) (Welcome, *os.File, error) {
	if err := writeHandshake(conn, preamble{a: minVersion, b: maxVersion, kind: connSession}, hello); err != nil {
		return Welcome{}, nil, err
	}
	var b [preambleSize]byte
	file, err := readWithFile(conn, b[:])
	if err != nil {
		return Welcome{}, nil, noEOF(err)
	}
	welcome, err := readAnswer(conn, b)
	if err != nil && file != nil {
		file.Close()
		file = nil
	}
	return welcome, file, err
}

// readAnswer reads the rest of the worker's message.
func readAnswer(conn net.Conn, b [preambleSize]byte) (Welcome, error) {
	p, body, err := readBody(conn, b)
	if err != nil {
		return Welcome{}, err
	}
	if p.a == 0 {
		refusal := new(MismatchError)
		if err := (Codec{}).Decode(body, refusal); err != nil {
			return Welcome{}, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		return Welcome{}, refusal
	}
	var welcome Welcome
	if p.a < minVersion || p.a > maxVersion {
		return Welcome{}, versionMismatch(minVersion, maxVersion, p.a, p.a)
	}
	if err := (Codec{}).Decode(body, &welcome); err != nil {
		return Welcome{}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return welcome, nil
}

// receive shakes hands as the worker.
func receive(conn net.Conn, cfg AcceptConfig) (Hello, error) {
	p, body, err := readHandshake(conn)
	if err != nil {
		return Hello{}, err
	}
	var hello Hello
	refusal := checkVersion(p)
	if refusal == nil {
		if err := (Codec{}).Decode(body, &hello); err != nil {
			return Hello{}, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		refusal = checkHello(hello, cfg.Self, cfg.Secret)
	}
	if refusal != nil {
		return Hello{}, errors.Join(refusal, writeHandshake(conn, preamble{kind: p.kind}, refusal))
	}
	if cfg.Admit != nil {
		if err := cfg.Admit(hello); err != nil {
			return Hello{}, err
		}
	}
	return hello, sendWelcome(conn, p, cfg, hello)
}

// sendWelcome sends the welcome, and with it the file if the caller wants it.
func sendWelcome(conn net.Conn, p preamble, cfg AcceptConfig, hello Hello) error {
	cfg.Self.Version = int(min(p.b, maxVersion))
	cfg.Self.Features = append(slices.Clip(cfg.Self.Features), FeatureNotify)
	answer := preamble{a: byte(cfg.Self.Version), kind: p.kind}
	if cfg.Output == nil || !slices.Contains(hello.Features, FeatureOutput) || !canSendFile(conn) {
		return writeHandshake(conn, answer, cfg.Self)
	}
	cfg.Self.Features = append(cfg.Self.Features, FeatureOutput)
	return writeHandshake(fileWriter{conn, cfg.Output}, answer, cfg.Self)
}

func checkVersion(p preamble) *MismatchError {
	if p.b < minVersion || p.a > maxVersion {
		return versionMismatch(p.a, p.b, minVersion, maxVersion)
	}
	if p.kind != connSession {
		return &MismatchError{Field: "kind", Want: string(p.kind), Got: string(rune(connSession))}
	}
	return nil
}

func checkHello(hello Hello, self Welcome, secret []byte) *MismatchError {
	switch {
	case subtle.ConstantTimeCompare(hello.Secret, secret) == 0:
		return &MismatchError{Field: "secret"}
	case hello.Instance != "" && hello.Instance != self.Instance:
		return &MismatchError{Field: "instance", Want: hello.Instance, Got: self.Instance}
	case hello.Name != "" && hello.Name != self.Name:
		return &MismatchError{Field: "name", Want: hello.Name, Got: self.Name}
	case hello.Build != "" && hello.Build != self.Build:
		return &MismatchError{Field: "build", Want: hello.Build, Got: self.Build}
	}
	return nil
}

func versionMismatch(wantMin, wantMax, gotMin, gotMax byte) *MismatchError {
	return &MismatchError{Field: "version", Want: versions(wantMin, wantMax), Got: versions(gotMin, gotMax)}
}

func versions(low, high byte) string {
	if low == high {
		return strconv.Itoa(int(low))
	}
	return fmt.Sprintf("%d to %d", low, high)
}
