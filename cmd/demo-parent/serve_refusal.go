package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

// badRequest is what is wrong with a request, in the client's words.
type badRequest struct{ text string }

func (e badRequest) Error() string { return e.text }

// errTooManyUploads reports a request whose image there is no room for in memory.
var errTooManyUploads = errors.New("too many images are being sent")

// statusClientGone stands for the answer that nobody gets. No standard has a number for it; this one is usual.
const statusClientGone = 499

// refusal is the answer to a request that was not done.
type refusal struct {
	status int
	text   string
	fault  bool // it is something for who runs the server to know
}

// refusalOf returns the answer for an error. What a worker says of an unusable image is for the client; of other errors
// the client is told in one line.
func refusalOf(err error) refusal {
	line := firstLine(err)
	bad, isBad := errors.AsType[badRequest](err)
	tooLarge, isTooLarge := errors.AsType[*http.MaxBytesError](err)
	said, isSaid := errors.AsType[*transport.Error](err)
	switch {
	case isBad:
		return refusal{status: http.StatusBadRequest, text: bad.text}
	case isTooLarge:
		return refusal{status: http.StatusRequestEntityTooLarge, text: fmt.Sprintf("the image has more than %d bytes", tooLarge.Limit)}
	case errors.Is(err, errSlowUpload):
		return refusal{status: http.StatusRequestTimeout, text: line}
	case isSaid && said.Code == transport.CodeInvalid:
		return refusal{status: http.StatusBadRequest, text: said.Message}
	case isSaid && said.Code == transport.CodeTooLarge:
		return refusal{status: http.StatusBadRequest, text: "the result is too large; ask for a smaller one"}
	case errors.Is(err, errTooManyUploads), errors.Is(err, client.ErrQueueFull), errors.Is(err, client.ErrQueueTimeout):
		return refusal{status: http.StatusServiceUnavailable, text: line}
	case isSaid && said.Code == transport.CodeCanceled:
		return refusal{status: statusClientGone, text: line}
	case client.SafeToRetry(err):
		return refusal{status: http.StatusServiceUnavailable, text: line, fault: true}
	case isSaid && said.Code == transport.CodeDeadline:
		return refusal{status: http.StatusGatewayTimeout, text: line, fault: true}
	case errors.Is(err, client.ErrWorkerExited), errors.Is(err, client.ErrConnectionLost), errors.Is(err, client.ErrClosed):
		return refusal{status: http.StatusBadGateway, text: line, fault: true}
	}
	return refusal{status: http.StatusInternalServerError, text: line, fault: true}
}
