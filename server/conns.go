package server

import (
	"net"
	"slices"
	"time"

	"github.com/detached-workers/unref/transport"
)

// knock counts a connection that has not shaken hands yet.
func (s *Server) knock(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idleTimer != nil {
		s.idleTimer.Stop()
	}
	if s.stopping {
		conn.Close()
	}
	if len(s.pending) == maxPending {
		s.pending[0].Close()
		s.pending = slices.Delete(s.pending, 0, 1)
	}
	s.pending = append(s.pending, conn)
}

func (s *Server) admitted(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.pending, conn); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
}

func (s *Server) attach(c *transport.ServerConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		c.Close()
	}
	s.conns[c] = struct{}{}
}

func (s *Server) detach(c *transport.ServerConn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.released()
}

// released starts the idle time when the last connection has gone.
func (s *Server) released() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armIdle()
}

// armIdle starts the idle time if nobody is connected; mu is held.
func (s *Server) armIdle() {
	if s.idle <= 0 || s.stopping || len(s.conns)+len(s.pending) > 0 {
		return
	}
	if s.idleTimer == nil {
		s.idleTimer = time.AfterFunc(s.idle, s.leaveIfIdle)
		return
	}
	s.idleTimer.Reset(s.idle)
}

// leaveIfIdle closes the server unless somebody connected just now.
func (s *Server) leaveIfIdle() {
	s.mu.Lock()
	idle := len(s.conns)+len(s.pending) == 0
	s.mu.Unlock()
	if idle {
		s.quit()
	}
}
