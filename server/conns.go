package server

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/detached-workers/unref/transport"
)

// knock counts a connection that has not shaken hands yet.
func (s *Server) knock(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		conn.Close()
	}
	if len(s.pending) == maxPending {
		s.pending[0].Close()
		s.pending = slices.Delete(s.pending, 0, 1)
	}
	s.pending = append(s.pending, conn)
}

// admit ends the handshake of a connection; c is nil if it failed.
func (s *Server) admit(conn net.Conn, c *transport.ServerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.pending, conn); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	if c == nil {
		s.refused++
		return
	}
	if s.stopping {
		conn.Close()
	}
	s.conns[c] = struct{}{}
	s.knocked = false
	if s.idleTimer != nil {
		s.idleTimer.Stop()
	}
}

func (s *Server) detach(c *transport.ServerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.armIdle(s.idle)
}

// armIdle starts the idle time if no client is connected; mu is held.
func (s *Server) armIdle(d time.Duration) {
	if s.idle <= 0 || s.stopping || len(s.conns) > 0 {
		return
	}
	if s.idleTimer == nil {
		s.idleTimer = time.AfterFunc(d, s.leaveIfIdle)
		return
	}
	s.idleTimer.Reset(d)
}

// handshakePause is how much later an idle worker leaves when somebody is
// shaking hands just then.
const handshakePause = 50 * time.Millisecond

// leaveIfIdle ends the worker unless somebody has connected. Who has not shaken
// hands only delays it.
func (s *Server) leaveIfIdle() {
	s.mu.Lock()
	busy := len(s.conns) > 0
	if !busy && len(s.pending) > 0 && !s.knocked {
		s.knocked, busy = true, true
		s.armIdle(handshakePause)
	}
	s.mu.Unlock()
	if !busy {
		s.quit(fmt.Sprintf("no client for the IdleTimeout of %v", s.idle))
	}
}

// refusals returns how many connections were refused since it was asked last.
func (s *Server) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.refused
	s.refused = 0
	return n
}
