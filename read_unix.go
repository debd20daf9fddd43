//go:build unix

package websocket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// rawConn returns the raw connection under nc if it is a socket that can be
// read without a buffer held while waiting, else nil.
func rawConn(nc net.Conn) syscall.RawConn {
	var rc syscall.RawConn
	switch nc := nc.(type) {
	case *net.TCPConn:
		rc, _ = nc.SyscallConn()
	case *net.UnixConn:
		rc, _ = nc.SyscallConn()
	}
	return rc
}

// tryRead fetches what has come on the socket fd behind in.data, and reports
// false, with no buffer held, if nothing has: the runtime then parks the
// goroutine and calls again when there is something.
func (in *inbound) tryRead(fd uintptr) bool {
	b := getBuffer()
	k := copy(b[:], in.data)
	n, err := readSocket(int(fd), b[k:])
	if err == syscall.EAGAIN {
		putBuffer(b)
		return false
	}
	if err != nil {
		putBuffer(b)
		in.tryErr = os.NewSyscallError("read", err)
		return true
	}
	in.buf, in.data = b, b[:k+n]
	in.tryErr = nil
	if n == 0 {
		in.tryErr = io.EOF
	}
	return true
}

// readSocket is read(2) that is not disturbed by signals.
func readSocket(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
