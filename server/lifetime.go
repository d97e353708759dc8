package server

import (
	"fmt"
	"time"
)

const (
	// firstClient is how long a shared worker waits for its first client, if
	// its idle timeout is shorter: who has started it has yet to come.
	firstClient = 30 * time.Second

	// claimedPause is how long a worker that wants to give up its name waits
	// when somebody has claimed the name, who will probably come in.
	claimedPause = 10 * time.Millisecond
)

// armIdle starts the idle time if no client is connected; mu is held.
func (s *Server) armIdle(d time.Duration) {
	if s.idle <= 0 || s.isShut() || s.clients > 0 {
		return
	}
	if s.idleTimer == nil {
		s.idleTimer = time.AfterFunc(d, s.leaveIfIdle)
		return
	}
	s.idleTimer.Reset(d)
}

// leaveIfIdle ends the worker unless somebody is connected. It decides while it
// holds the name, so that no client finds a worker that has decided to leave:
// either the client is counted before, or it gets no answer and starts another
// worker.
func (s *Server) leaveIfIdle() {
	reason := fmt.Sprintf("no client for the IdleTimeout of %v", s.idle)
	left := false
	free := s.worker.Withdraw(func() bool {
		left = s.refuseIfIdle(reason)
		return left
	})
	switch {
	case left:
		s.quit(reason)
	case !free:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.armIdle(claimedPause)
	}
}

// refuseIfIdle refuses all clients from now on if none is connected, and reports
// whether it does. The door stays open, because the end of Serve would be that
// of the process, which still has a name to give up.
func (s *Server) refuseIfIdle(reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients == 0 && s.refuse(reason)
}

// refuse takes no new clients from now on, and reports whether it did before; mu
// is held.
func (s *Server) refuse(reason string) bool {
	if s.isShut() {
		return false
	}
	s.retiring = reason
	return true
}

// giveUpName takes no new clients and gives up the name, at one blow for who looks
// for a worker. free is false if somebody else has claimed the name, and retires
// is true if the worker had not begun to leave before.
func (s *Server) giveUpName(reason string) (free, retires bool) {
	free = s.worker.Withdraw(func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		retires = s.refuse(reason)
		return true
	})
	return free, retires
}

// expire ends the worker because its time is over.
func (s *Server) expire() {
	reason := fmt.Sprintf("MaxLifetime of %v is over", s.worker.MaxLifetime)
	if s.worker.SharedName == "" {
		s.worker.LeaveBecause(reason)
		return
	}
	switch free, retires := s.giveUpName(reason); {
	case !free:
		time.AfterFunc(claimedPause, s.expire)
	case retires:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.drain()
	}
}

// retire takes no new clients and ends the worker when those it has are gone, or
// after the drain timeout.
func (s *Server) retire(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse(reason) {
		s.drain()
	}
}

// drain ends a worker that takes no new clients when those it has are gone, or
// after the drain timeout; mu is held. The door stays open for observers.
func (s *Server) drain() {
	reason := s.retiring
	if s.clients == 0 || s.worker.DrainTimeout <= 0 {
		s.quit(reason)
		return
	}
	s.drainTimer = time.AfterFunc(s.worker.DrainTimeout, func() { s.quit(reason) })
}

// shut refuses everything from now on; mu is held.
func (s *Server) shut() {
	if s.stopping {
		return
	}
	s.stopping = true
	s.close()
	if s.listener != nil {
		s.listener.Close()
	}
	for _, conn := range s.pending {
		conn.Close()
	}
}
