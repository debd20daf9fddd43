//go:build unix

package websocket

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestConn_unixSocket talks over a Unix socket, which is read without a buffer
// held while waiting, as TCP is.
func TestConn_unixSocket(t *testing.T) {
	overUnix := transport{name: "Unix", dial: func(tb testing.TB) (ours, theirs net.Conn) {
		tb.Helper()
		l, err := net.Listen("unix", filepath.Join(tb.TempDir(), "s"))
		if err != nil {
			tb.Fatal(err)
		}
		defer l.Close()
		if theirs, err = net.Dial("unix", l.Addr().String()); err != nil {
			tb.Fatal(err)
		}
		if ours, err = l.Accept(); err != nil {
			tb.Fatal(err)
		}
		return ours, theirs
	}}
	eachPeer(t, []transport{overUnix}, Options{}, func(t *testing.T, p *peer) {
		if p.c.in.rc == nil {
			t.Error("a Unix socket is not read raw")
		}
		p.wantAlive()
		large := strings.Repeat("large", 1<<16)
		done := make(chan error, 1)
		go func() { done <- p.c.WriteText(context.Background(), large) }()
		p.want(OpText, large)
		if err := <-done; err != nil {
			t.Errorf("WriteText: %v", err)
		}
		p.closed()
	})
}
