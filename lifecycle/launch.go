package lifecycle

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	// envInstance names the instance directory to the worker, and nothing else does. The worker removes it from its
	// environment before it can start anything.
	envInstance = "UNREF_INSTANCE"
	// envWorker is the mark that everything below a worker inherits: the worker's id.
	envWorker = "UNREF_WORKER"

	launchName    = "launch"
	launchVersion = 2
	firstExtraFD  = 3
)

// launch is the launch file: all that a worker is told at start.
type launch struct {
	Version     int             `json:"version"`
	Name        string          `json:"name"`
	Self        bool            `json:"self,omitempty"`
	Secret      []byte          `json:"secret"`
	Owner       identity        `json:"owner"`             // Pid 0 means none
	OwnerFD     int             `json:"owner_fd,omitzero"` // descriptor of the owner's pidfd, 0 means none
	Spool       fileID          `json:"spool"`
	Build       string          `json:"build,omitempty"`
	LogLevel    string          `json:"log_level,omitempty"`
	IdleTimeout time.Duration   `json:"idle_timeout,omitzero"` // all three in nanoseconds
	MaxLifetime time.Duration   `json:"max_lifetime,omitzero"`
	Grace       time.Duration   `json:"grace"`
	Limits      Limits          `json:"limits,omitzero"`
	Config      json.RawMessage `json:"config,omitempty"`
	Program     rawText         `json:"program"`
	RuntimeDir  rawText         `json:"runtime_dir"`      // that was asked for; the instance may be in the short one
	Shared      *sharing        `json:"shared,omitempty"` // nil if the worker is its starter's alone
}

// sharing is what a shared worker is told besides.
type sharing struct {
	Name         string        `json:"name"`
	Generation   int           `json:"generation"`    // of the record that it will be published with
	Registry     string        `json:"registry"`      // its directory
	Starter      identity      `json:"starter"`       // who publishes the name
	DrainTimeout time.Duration `json:"drain_timeout"` // in nanoseconds, 0 means none
	// What it takes to start the worker again.
	Args           []rawText     `json:"args"` // the program's name first
	Env            []rawText     `json:"env"`
	Dir            rawText       `json:"dir,omitempty"` // empty if the command said none
	StarterDir     rawText       `json:"starter_dir"`
	FingerprintEnv []string      `json:"fingerprint_env,omitempty"`
	StartTimeout   time.Duration `json:"start_timeout,omitzero"`
}

// fileID tells one file from another on the same machine. The zero value means not known.
type fileID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

func (l *launch) sharedName() string {
	if l.Shared == nil {
		return ""
	}
	return l.Shared.Name
}

func (l *launch) write(dir string) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, launchName), data, 0o600)
}

func readLaunch(dir string) (*launch, error) {
	data, err := os.ReadFile(filepath.Join(dir, launchName))
	if err != nil {
		return nil, fmt.Errorf("read launch file: %w", err)
	}
	var l launch
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("read launch file: %w", err)
	}
	if l.Version != launchVersion {
		return nil, fmt.Errorf("launch file has version %d, this program knows %d: build starter and worker with the same version of unref",
			l.Version, launchVersion)
	}
	return &l, nil
}
