//go:build !linux

package main

import (
	"context"
	"errors"
	"time"
)

type pidfd int

func openPid(int) (pidfd, error) { return 0, errors.ErrUnsupported }

func (pidfd) await(context.Context, time.Duration) bool { return false }

func (pidfd) kill() {}

func (pidfd) close() {}
