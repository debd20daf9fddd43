//go:build !unix

package websocket

import (
	"net"
	"syscall"
)

// rawConn returns nil: sockets are read in the way that every net.Conn allows.
func rawConn(net.Conn) syscall.RawConn { return nil }

func (in *inbound) tryRead(uintptr) bool {
	panic("websocket: internal error: raw read without a raw connection")
}
