package server

import (
	"errors"
	"net"
	"slices"
	"time"

	"github.com/detached-workers/unref/internal/failpoint"
	"github.com/detached-workers/unref/transport"
)

// knock counts a connection that has not shaken hands yet, and returns how often
// the bells were rung by then.
func (s *Server) knock(conn net.Conn) (rung int) {
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
	return s.rung
}

var errLeaving = errors.New("the worker is leaving")

// welcome counts a caller as a client, before it is told that it is welcome: from
// then on the worker does not leave for want of clients. What comes later is
// turned away without an answer, so that it looks for another worker. It is not
// among those who knock any more, whom nobody has promised anything.
func (s *Server) welcome(conn net.Conn, hello transport.Hello) (client bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	observer := slices.Contains(hello.Features, transport.FeatureObserver)
	if s.stopping || s.retiring != "" && !observer {
		return false, errLeaving
	}
	s.forget(conn)
	s.greeting++
	if observer {
		return false, nil
	}
	s.clients++
	if s.idleTimer != nil {
		s.idleTimer.Stop()
	}
	failpoint.Here(failpoint.Welcoming)
	return true, nil
}

// shaken ends the handshake of a connection; c is nil if it failed. If the bells
// were rung meanwhile, which were rung rung times before, its own has missed that.
func (s *Server) shaken(conn net.Conn, c *transport.ServerConn, rung int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(conn)
	if c == nil {
		s.refused++
		return
	}
	s.conns[c] = struct{}{}
	if s.rung != rung {
		c.Ring()
	}
}

// greet ends what welcome has begun, once the connection can be drained or has
// failed.
func (s *Server) greet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greeting--; s.greeting == 0 && s.greeted != nil {
		close(s.greeted)
		s.greeted = nil
	}
}

// forget takes a connection from those that knock; mu is held.
func (s *Server) forget(conn net.Conn) {
	if i := slices.Index(s.pending, conn); i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
}

// part ends what knock and welcome have begun. Whoever leaves may have put
// another worker into this one's place.
func (s *Server) part(c *transport.ServerConn, client bool) {
	s.mu.Lock()
	delete(s.conns, c)
	if client {
		s.clients--
	}
	deserted := client && s.clients == 0
	if deserted {
		s.idleSince = time.Now()
		s.armIdle(s.idle)
	}
	reason := s.retiring
	s.mu.Unlock()
	if s.worker != nil {
		s.worker.CheckName()
	}
	if deserted && reason != "" {
		s.quit(reason)
	}
}

// isShut reports whether no new clients are taken; mu is held.
func (s *Server) isShut() bool { return s.stopping || s.retiring != "" }

// refusals returns how many connections were refused since it was asked last.
func (s *Server) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.refused
	s.refused = 0
	return n
}
