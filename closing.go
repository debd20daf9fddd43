package websocket

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

const (
	// lingerTime is how long, after the closing handshake, we wait for the
	// peer to end its half of the TCP connection.
	lingerTime = 2 * time.Second

	// lingerBytes is how much we read meanwhile to throw it away: a peer
	// that was in the middle of a large message needs a moment to notice.
	lingerBytes = 4 << 20
)

// Close performs the closing handshake: it sends a close frame with code and
// reason, waits for the peer's, and ends the TCP connection, all within
// [Options.CloseTimeout]. Messages that the peer sent meanwhile are discarded.
// A read or a wait to write under way, and every call from then on, ends with
// [net.ErrClosed] when Close is done: so a handler that closes the connection
// as it returns does not cut Close short on another goroutine. What the peer
// answered is in the cause of [Conn.Context].
//
// code must be one that may be sent (see [StatusCode.Sendable]), or
// [StatusNoStatusReceived] with no reason for an empty close frame; reason is
// UTF-8 of at most [MaxCloseReason] bytes. Otherwise Close returns an error
// and has done nothing.
//
// Close returns nil if the peer answered, also if it had closed first. It
// waits for a Close under way on another goroutine, and returns net.ErrClosed
// if this side had closed already. See RFC 6455, sections 7.1.1 to 7.1.3.
func (c *Conn) Close(code StatusCode, reason string) error {
	var buf [maxControlPayload]byte
	payload, err := AppendClosePayload(buf[:0], code, reason)
	if err != nil {
		return err
	}
	if !c.end(errClosed) {
		return c.closeAgain()
	}
	defer c.shut()
	start := time.Now()
	var late atomic.Bool
	watchdog := time.AfterFunc(c.opts.CloseTimeout, func() {
		late.Store(true)
		c.shut()
	})
	defer watchdog.Stop()

	c.in.watch.take() // a read under way gives way
	err = c.sendClose(payload)
	if err == nil {
		err = c.awaitClose()
	}
	switch {
	case err == nil:
	case late.Load():
		return fmt.Errorf("websocket: closing handshake not completed within %v: %w", c.opts.CloseTimeout, os.ErrDeadlineExceeded)
	case c.ctx.Err() != nil: // by CloseNow
		return errClosed
	default:
		return err
	}
	defer c.in.release()
	c.finish(watchdog, start)
	return nil
}

// closeAgain is Close on a connection that is ending already.
func (c *Conn) closeAgain() error {
	<-c.ctx.Done()
	if ce, ok := c.ended().(*CloseError); ok && ce.Code != StatusAbnormalClosure {
		return nil
	}
	return errClosed
}

// CloseNow ends the TCP connection at once, without a closing handshake: the
// peer sees [StatusAbnormalClosure]. It cuts short what is under way, a Close
// included. It returns [net.ErrClosed] if the connection was gone already.
func (c *Conn) CloseNow() error {
	c.end(errClosed)
	if c.ctx.Err() != nil {
		return errClosed
	}
	c.shut()
	return nil
}

// awaitClose takes over from the goroutine that reads, if there is one, and
// reads on to the peer's close frame. "After sending a control frame
// indicating the connection should be closed, a peer does not send any further
// data"; what the other side sends until it sees that is discarded.
// If it returns nil, the caller holds c.in and must release it.
func (c *Conn) awaitClose() error {
	select {
	case c.in.own <- struct{}{}:
	case <-c.ctx.Done():
		return c.ended()
	}
	if err := c.discardToClose(); err != nil {
		c.in.release()
		return err
	}
	return nil
}

// discardToClose reads up to the peer's close frame, which it keeps as the
// peer's answer. The caller holds c.in.
func (c *Conn) discardToClose() error {
	in := &c.in
	c.nc.SetReadDeadline(noDeadline)
	in.ctx = nil
	in.rcv.discard = true
	for !in.closed {
		in.skipPayload()
		ready, err := in.step()
		switch {
		case err != nil:
			return err
		case ready && in.controlling:
			if op, payload := in.takeControl(); op == OpClose {
				return c.answered(payload)
			}
		case !ready || len(in.data) == 0 && in.rcv.left > 0:
			if err := c.receive(); err != nil {
				return lost(err)
			}
		}
	}
	return nil
}

// answered keeps what the peer's close frame says that came after ours.
func (c *Conn) answered(payload []byte) error {
	code, reason, err := ParseClosePayload(payload)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = &CloseError{Code: code, Reason: reason}
	return nil
}

// peerClosed acts upon the peer's close frame: it is answered, unless it is
// the answer to ours, with the code that came.
func (c *Conn) peerClosed(payload []byte) error {
	code, reason, err := ParseClosePayload(payload)
	if err != nil {
		return c.fail(err)
	}
	if !c.end(&CloseError{Code: code, Reason: reason}) {
		c.in.closed = true // Close is about to take over, and need not wait
		c.answered(payload)
		return c.ended()
	}
	if len(payload) > 2 {
		payload = payload[:2]
	}
	c.part(payload, true)
	return c.ended()
}

// fail fails the WebSocket connection because of what the peer sent: it gets
// the code that goes with err, and nothing more is read. See RFC 6455, section
// 7.1.7.
func (c *Conn) fail(err error) error {
	if !c.end(err) {
		return c.ended()
	}
	code, reason := wireClose(err)
	var buf [maxControlPayload]byte
	payload, bad := AppendClosePayload(buf[:0], code, reason)
	if bad != nil {
		panic("websocket: internal error: close frame of our own: " + bad.Error())
	}
	c.part(payload, false)
	return err
}

// part ends the connection from the goroutine that reads it: our close frame,
// then FIN, and only when the peer has seen both the end of the socket. Closing
// a socket with input unread makes the kernel send a reset instead, which may
// reach the peer before it has read what we sent.
func (c *Conn) part(payload []byte, done bool) {
	defer c.shut()
	start := time.Now()
	watchdog := time.AfterFunc(c.opts.CloseTimeout, c.shut)
	defer watchdog.Stop()

	c.in.watch.disarm()
	if c.sendClose(payload) != nil {
		return
	}
	if done {
		c.finish(watchdog, start)
		return
	}
	c.halfClose()
	c.linger()
}

// finish ends the TCP connection after the closing handshake. The server ends
// its half first, and the client waits for that, as section 7.1.1 asks: so it
// is the server that has to remember the connection for a while.
// The closing handshake began at start, for the time that watchdog keeps.
func (c *Conn) finish(watchdog *time.Timer, start time.Time) {
	if left := c.opts.CloseTimeout - time.Since(start); left > lingerTime && watchdog.Stop() {
		watchdog.Reset(lingerTime)
	}
	if c.client {
		c.linger()
		c.halfClose()
		return
	}
	c.halfClose()
	c.linger()
}

// halfClose ends our half of the TCP connection, if that is possible.
func (c *Conn) halfClose() {
	if h, ok := c.nc.(interface{ CloseWrite() error }); ok {
		h.CloseWrite()
	}
}

// linger reads until the peer ends its half of the connection, and throws away
// what comes. It is bounded in bytes here, and in time by the caller's
// watchdog.
func (c *Conn) linger() {
	b := getBuffer()
	defer putBuffer(b)
	for n := 0; n < lingerBytes; {
		m, err := c.nc.Read(b[:])
		if err != nil {
			return
		}
		n += m
	}
}
