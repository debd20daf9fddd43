package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Pipe is a connection like any other, server's end first.
func TestPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := Pipe(&Options{ReadLimit: 5}, nil)
		ctx := context.Background()
		if s.client || !c.client {
			t.Error("Pipe returns the client's end first, want the server's")
		}
		if err := s.WriteText(ctx, "to the client"); err != nil { // nobody reads yet
			t.Errorf("WriteText: %v", err)
		}
		if err := c.WriteText(ctx, "five!"); err != nil {
			t.Errorf("WriteText: %v", err)
		}
		wantNext(t, c, OpText, "to the client")
		wantNext(t, s, OpText, "five!")
		if err := c.WriteText(ctx, "six!!!"); err != nil {
			t.Errorf("WriteText: %v", err)
		}
		end := make(chan error)
		go func() { _, _, err := c.ReadMessage(ctx); end <- err }()
		if _, _, err := s.ReadMessage(ctx); !errors.Is(err, ErrMessageTooBig) {
			t.Errorf("ReadMessage of 6 bytes, limit 5: %v, want ErrMessageTooBig", err)
		}
		if err := <-end; verdict(err) != `closed 1009 "message too big"` {
			t.Errorf("ReadMessage at the other end: %v, want 1009", err)
		}
	})
}

// Close from one end takes no time if the other reads.
func TestPipe_close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 2 {
			s, c := Pipe(nil, nil)
			start := time.Now()
			end := make(chan error)
			go func() { _, _, err := s.ReadMessage(context.Background()); end <- err }()
			if err := c.Close(4000, "bye"); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := <-end; verdict(err) != `closed 4000 "bye"` {
				t.Errorf("ReadMessage: %v, want 4000 bye", err)
			}
			wantTook(t, "end", start, 0)
		}
	})
}

// Each direction holds pipeCapacity bytes, and then a write waits for a read.
func TestNetPipe_capacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netPipe()
		defer a.Close()
		defer b.Close()
		if n, err := a.Write(make([]byte, pipeCapacity)); n != pipeCapacity || err != nil {
			t.Fatalf("Write of the capacity = %d, %v", n, err)
		}
		written := make(chan int, 1)
		go func() {
			n, err := a.Write(make([]byte, 10))
			if err != nil {
				t.Errorf("Write: %v", err)
			}
			written <- n
		}()
		synctest.Wait()
		if len(written) > 0 {
			t.Fatal("Write beyond the capacity did not wait")
		}
		if n, err := b.Read(make([]byte, 9)); n != 9 || err != nil {
			t.Errorf("Read = %d, %v", n, err)
		}
		synctest.Wait()
		if len(written) > 0 {
			t.Fatal("Write returned with a byte unwritten")
		}
		b.Read(make([]byte, 1))
		if n := <-written; n != 10 {
			t.Errorf("Write = %d, want 10", n)
		}
		if n, err := b.Write([]byte("the other way")); n != 13 || err != nil {
			t.Errorf("Write in the other direction = %d, %v", n, err)
		}
	})
}

// The two halves end one by one; what was written before is still read.
func TestNetPipe_halfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netPipe()
		io.WriteString(a, "last words")
		a.(*pipeConn).CloseWrite()
		if _, err := a.Write([]byte("x")); err == nil {
			t.Error("Write after CloseWrite: nil, want an error")
		}
		if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
			t.Errorf("ReadAll = %q, %v, want last words", got, err)
		}
		go io.WriteString(b, "reply")
		buf := make([]byte, 10)
		if n, err := a.Read(buf); string(buf[:n]) != "reply" || err != nil {
			t.Errorf("Read on the half that is open = %q, %v", buf[:n], err)
		}

		blocked := make(chan error, 2)
		go func() { _, err := b.Write(make([]byte, pipeCapacity+1)); blocked <- err }()
		synctest.Wait()
		a.Close()
		if err := <-blocked; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write to an end that closes: %v, want io.ErrClosedPipe", err)
		}
		if _, err := a.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v, want net.ErrClosed", err)
		}
		if _, err := a.Write(buf); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v, want net.ErrClosed", err)
		}
		if n, err := b.Read(buf); n != 0 || err != io.EOF {
			t.Errorf("Read from an end that has closed = %d, %v, want EOF", n, err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// What follows is what nettest.TestConn of golang.org/x/net asks of a net.Conn.

// bothEnds runs f with both ends of a pipe, in a bubble.
func bothEnds(t *testing.T, f func(t *testing.T, a, b net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, b := netPipe()
		defer a.Close()
		defer b.Close()
		f(t, a, b)
	})
}

func wantTimeout(t *testing.T, what string, err error) {
	t.Helper()
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %v, want a net.Error that is a timeout", what, err)
	}
}

// BasicIO: eight megabytes there and back.
func TestNetPipe_basicIO(t *testing.T) {
	bothEnds(t, func(t *testing.T, a, b net.Conn) {
		want := make([]byte, 8<<20)
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range want {
			want[i] = byte(rnd.Uint32())
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := io.Copy(a, bytes.NewReader(want)); err != nil {
				t.Errorf("Copy: %v", err)
			}
			a.(*pipeConn).CloseWrite()
		})
		wg.Go(func() {
			io.Copy(b, b)
			b.Close()
		})
		got, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d bytes back, %v, want the %d that were sent", len(got), err, len(want))
		}
		wg.Wait()
	})
}

// ReadTimeout, PastTimeout, PresentTimeout, FutureTimeout, for reads.
func TestNetPipe_readDeadline(t *testing.T) {
	bothEnds(t, func(t *testing.T, a, b net.Conn) {
		buf := make([]byte, 10)
		for _, d := range []time.Duration{-time.Hour, 0, 1, time.Hour} {
			start := time.Now()
			a.SetReadDeadline(start.Add(d))
			for range 2 {
				n, err := a.Read(buf)
				if n != 0 {
					t.Errorf("Read = %d, want 0", n)
				}
				wantTimeout(t, "Read", err)
			}
			wantTook(t, "Read with a deadline", start, max(0, d))
		}
		io.WriteString(b, "kept")
		_, err := a.Read(buf)
		wantTimeout(t, "Read behind the deadline, with data", err)
		a.SetReadDeadline(time.Time{})
		if n, err := a.Read(buf); string(buf[:n]) != "kept" || err != nil {
			t.Errorf("Read after the deadline was taken back = %q, %v", buf[:n], err)
		}

		late := make(chan error, 1)
		go func() { _, err := a.Read(buf); late <- err }()
		synctest.Wait()
		a.SetReadDeadline(aLongTimeAgo) // while it waits
		wantTimeout(t, "Read cut by a deadline", <-late)
		a.SetReadDeadline(time.Now().Add(time.Hour))
		go func() { _, err := a.Read(buf); late <- err }()
		synctest.Wait()
		a.SetReadDeadline(time.Now().Add(2 * time.Hour)) // put off
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		if len(late) > 0 {
			t.Errorf("Read ended at a deadline that was put off: %v", <-late)
		}
		io.WriteString(b, "in time")
		if err := <-late; err != nil {
			t.Errorf("Read before its deadline: %v", err)
		}
	})
}

// The same for writes.
func TestNetPipe_writeDeadline(t *testing.T) {
	bothEnds(t, func(t *testing.T, a, b net.Conn) {
		for _, d := range []time.Duration{-time.Hour, 0} {
			a.SetWriteDeadline(time.Now().Add(d))
			n, err := a.Write([]byte("never"))
			if n != 0 {
				t.Errorf("Write behind its deadline = %d, want 0", n)
			}
			wantTimeout(t, "Write", err)
		}
		start := time.Now()
		a.SetDeadline(start.Add(time.Hour))
		n, err := a.Write(make([]byte, pipeCapacity+5))
		if n != pipeCapacity {
			t.Errorf("Write that was cut = %d, want %d", n, pipeCapacity)
		}
		wantTimeout(t, "Write", err)
		wantTook(t, "Write", start, time.Hour)
		_, err = a.Read(make([]byte, 1))
		wantTimeout(t, "Read", err)

		cut := make(chan error, 1)
		a.SetDeadline(time.Time{})
		go func() { _, err := a.Write([]byte("x")); cut <- err }()
		synctest.Wait()
		a.SetWriteDeadline(aLongTimeAgo)
		wantTimeout(t, "Write cut by a deadline", <-cut)
		a.SetWriteDeadline(time.Time{})
		io.ReadFull(b, make([]byte, pipeCapacity))
		if _, err := a.Write([]byte("works again")); err != nil {
			t.Errorf("Write after the deadline was taken back: %v", err)
		}
	})
}

// CloseTimeout: Close ends what waits, with and without a deadline.
func TestNetPipe_closeWhileWaiting(t *testing.T) {
	for _, deadline := range []bool{false, true} {
		bothEnds(t, func(t *testing.T, a, b net.Conn) {
			if deadline {
				a.SetDeadline(time.Now().Add(time.Hour))
			}
			a.Write(make([]byte, pipeCapacity))
			errs := make(chan error, 2)
			go func() { _, err := a.Read(make([]byte, 1)); errs <- err }()
			go func() { _, err := a.Write([]byte{1}); errs <- err }()
			synctest.Wait()
			a.Close()
			for range 2 {
				if err := <-errs; !errors.Is(err, net.ErrClosed) {
					t.Errorf("Read or Write on an end that closes: %v, want net.ErrClosed", err)
				}
			}
			a.SetDeadline(time.Now()) // does no harm
		})
	}
}

// RacyRead, RacyWrite, ConcurrentMethods: everything at once.
func TestNetPipe_concurrent(t *testing.T) {
	bothEnds(t, func(t *testing.T, a, b net.Conn) {
		go io.Copy(b, b)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				buf := make([]byte, 1024)
				for i := range 100 {
					a.SetWriteDeadline(time.Now().Add(time.Duration(i)))
					a.Write(buf)
					a.SetReadDeadline(time.Now().Add(time.Duration(i)))
					a.Read(buf)
					a.SetDeadline(time.Now().Add(time.Millisecond))
					a.LocalAddr()
					a.RemoteAddr()
				}
			})
		}
		wg.Wait()
	})
}
