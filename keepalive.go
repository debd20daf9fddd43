package websocket

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"time"
)

// A liveness knows the pings that wait for their pong, and how long the peer
// has been silent.
type liveness struct {
	c *Conn

	mu     sync.Mutex
	number uint64        // of the newest ping
	pings  []pendingPing // in the order they were sent

	// For KeepAlive. Silence is what passes while a read waits; when nobody
	// reads, the peer may have sent what it likes.
	timer  *time.Timer
	silent time.Duration // before since
	since  time.Time     // when the wait under way began; zero: none is
	pinged bool          // because of this silence
	rests  bool          // the timer is not set, because nobody reads
}

// A pendingPing is a call of Ping.
type pendingPing struct {
	number uint64
	done   chan struct{}
}

func (l *liveness) init(c *Conn) {
	l.c = c
	if d := c.opts.KeepAlive; d > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.timer = time.AfterFunc(d, l.check)
	}
}

func (l *liveness) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}

// Ping sends a ping and waits for its pong; it returns the time between. Some
// goroutine must be reading, or nobody sees the pong. It ends with ctx, or
// with the connection, whose fate it does not change. Any goroutine may call
// it; a pong answers all pings sent before its own. See RFC 6455, section
// 5.5.2.
func (c *Conn) Ping(ctx context.Context) (rtt time.Duration, err error) {
	l := &c.live
	p := l.add()
	defer l.remove(p.number)
	start := time.Now()
	if err := c.sendPing(ctx, p.number); err != nil {
		return 0, err
	}
	select {
	case <-p.done:
		return time.Since(start), nil
	case <-ctx.Done():
		return 0, c.ctxError("ping", ctx)
	case <-c.ending:
		return 0, c.over(ctx)
	}
}

// sendPing sends a ping whose payload is its number.
func (c *Conn) sendPing(ctx context.Context, number uint64) error {
	var p [8]byte
	binary.BigEndian.PutUint64(p[:], number)
	return c.writeControl(ctx, OpPing, p[:])
}

// add makes a ping with the next number.
func (l *liveness) add() pendingPing {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number++
	p := pendingPing{l.number, make(chan struct{})}
	l.pings = append(l.pings, p)
	return p
}

// remove forgets a ping.
func (l *liveness) remove(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range l.pings {
		if p.number == number {
			l.pings = append(l.pings[:i], l.pings[i+1:]...)
			return
		}
	}
}

// pong takes note of a pong. One that nobody asked for is ignored: "a response
// to an unsolicited Pong frame is not expected".
func (l *liveness) pong(payload []byte) {
	if len(payload) != 8 {
		return
	}
	number := binary.BigEndian.Uint64(payload)
	l.mu.Lock()
	defer l.mu.Unlock()
	if number > l.number {
		return
	}
	for len(l.pings) > 0 && l.pings[0].number <= number {
		close(l.pings[0].done)
		l.pings = l.pings[1:]
	}
}

// waiting notes that a read waits for the peer, and heard that it does not any
// longer; with no error, bytes came.
func (l *liveness) waiting() {
	if l.timer == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = time.Now()
	if l.rests {
		l.rests = false
		l.timer.Reset(l.patience(l.silent))
	}
}

func (l *liveness) heard(err error) {
	if l.timer == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent += time.Since(l.since)
	if err == nil {
		l.silent, l.pinged = 0, false
	}
	l.since = time.Time{}
}

// check runs on the timer: a ping after one interval of silence, the end after
// two. While nobody reads, silence does not grow: the timer then rests until a
// read waits again.
func (l *liveness) check() {
	c, d := l.c, l.c.opts.KeepAlive
	if c.ended() != nil {
		return // the end has bounds of its own
	}
	silence, number := l.judge()
	switch {
	case silence >= 2*d:
		c.lose(fmt.Errorf("no sign of life for %v, twice KeepAlive: %w", silence, os.ErrDeadlineExceeded))
		return
	case number > 0:
		// If it cannot be sent, the silence will tell.
		ctx, cancel := context.WithTimeout(c.ctx, 2*d-silence)
		defer cancel()
		c.sendPing(ctx, number)
	}
	l.again()
}

// judge returns how long the peer has been silent, 0 if nobody reads, and the
// number of the ping that has to be sent because of that, or 0.
func (l *liveness) judge() (silence time.Duration, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		return 0, 0
	}
	silence = l.silent + time.Since(l.since)
	if l.pinged || silence < l.c.opts.KeepAlive {
		return silence, 0
	}
	l.pinged = true
	l.number++
	return silence, l.number
}

// again sets the timer, unless the connection has ended or nobody reads.
func (l *liveness) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.since.IsZero():
		l.rests = true
	case l.c.ended() == nil:
		l.timer.Reset(l.patience(l.silent + time.Since(l.since)))
	}
}

// patience returns how long it takes until silence calls for something. The
// caller holds mu.
func (l *liveness) patience(silence time.Duration) time.Duration {
	d := l.c.opts.KeepAlive
	if l.pinged {
		d *= 2
	}
	return max(0, d-silence)
}
