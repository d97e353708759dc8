package main

import (
	"net"

	"github.com/hashicorp/yamux"
)

// serve answers until the first connection, which is the starter's, ends.
func serve(l net.Listener) error {
	owner, err := l.Accept()
	if err != nil {
		return err
	}
	go acceptMore(l)
	return serveSession(owner)
}

func acceptMore(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { _ = serveSession(c) }() // who attaches and fails sees that itself
	}
}

// serveSession returns when the other end is gone.
func serveSession(c net.Conn) error {
	session, err := yamux.Server(c, config())
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return nil
		}
		go settings.New(stream).Serve()
	}
}
