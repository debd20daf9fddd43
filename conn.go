package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Options are the settings that servers and clients share. The zero value is
// safe to use on the open internet.
type Options struct {
	// ReadLimit is how many bytes of application data one message may have,
	// all fragments together. A longer one fails the connection with
	// [StatusMessageTooBig], as soon as a declared length shows it; if it is
	// compressed, as soon as it has inflated to that.
	// 0 means 16 MiB; negative: no limit, so that a peer may fill the memory.
	ReadLimit int64

	// WriteTimeout bounds how long the operating system may take to accept
	// one frame: a message, or a fragment that a [MessageWriter] sends. A
	// peer that stops reading costs no more than this. It runs beside the
	// context of the call. 0 means 10 s; negative: no bound.
	WriteTimeout time.Duration

	// CloseTimeout bounds the closing handshake, from our close frame to the
	// end of the TCP connection. 0 means 5 s.
	CloseTimeout time.Duration

	// KeepAlive sends a ping when the peer has been silent for this long
	// while we were reading, and fails the connection after twice that. Any
	// byte counts as a sign of life. 0 or negative: off. Behind a proxy, 30 s
	// or less keeps the proxy from giving up on the connection.
	KeepAlive time.Duration

	// Compression turns permessage-deflate (RFC 7692) on, if the peer agrees:
	// &Compression{} is a good setting. nil: it is neither offered nor
	// accepted.
	Compression *Compression

	// OnPing and OnPong, if set, are called for each ping and pong frame with
	// its payload, which is valid during the call only. They run on the
	// goroutine that reads; reading waits for them. A pong has been sent, or
	// is about to be, when OnPing runs. Any method of the Conn may be called
	// but those that read, and Ping, which waits for what only reading finds.
	OnPing, OnPong func(*Conn, []byte)
}

const (
	defaultReadLimit    = 16 << 20
	defaultWriteTimeout = 10 * time.Second
	defaultCloseTimeout = 5 * time.Second
)

// check reports the settings that cannot be honoured.
func (o *Options) check() error { return o.Compression.check() }

// withDefaults returns the settings in force: no duration or limit is 0 but
// KeepAlive.
func (o Options) withDefaults() Options {
	if o.ReadLimit == 0 {
		o.ReadLimit = defaultReadLimit
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = defaultCloseTimeout
	}
	return o
}

// A State says how far a connection is in its life, with the numbers that the
// browsers' readyState has. There is no state 0: a Conn exists only once the
// opening handshake is done.
type State int

const (
	StateOpen    State = 1 // messages can be read and written
	StateClosing State = 2 // the closing handshake is under way, or the connection is failing
	StateClosed  State = 3 // the connection is gone
)

// String returns the RFC's name for s.
func (s State) String() string {
	switch s {
	case StateOpen:
		return "open"
	case StateClosing:
		return "closing"
	case StateClosed:
		return "closed"
	}
	return fmt.Sprintf("state %d", int(s))
}

// errClosed is what every method returns once this side has closed.
var errClosed = fmt.Errorf("websocket: connection closed on this side: %w", net.ErrClosed)

// A Conn is a WebSocket connection, of a server ([Upgrade]) or of a client
// ([Dial]).
//
// Every method may be called from any goroutine at any time. Any number of
// goroutines may write: each message goes out whole. One goroutine at a time
// may read; a second one gets an error, and no harm is done. Pings are
// answered, and the peer's close frame is seen, while a goroutine reads.
//
// A Conn must be closed by [Conn.Close] or [Conn.CloseNow] unless a read has
// failed for good: `defer c.CloseNow()` is never wrong.
type Conn struct {
	// Constant after newConn.
	nc     net.Conn
	client bool
	opts   Options
	ctx    context.Context // done when the connection is
	cancel context.CancelCauseFunc
	ending chan struct{} // closed when cause is set
	agreement

	in   inbound
	out  outbound
	live liveness

	mu     sync.Mutex
	cause  error       // why the connection is ending; the first reason stays
	answer *CloseError // what the peer's close frame said that came after ours
	failed error       // a write failed: what the peer still sent may be read
	grace  *time.Timer // ends the connection after that
}

// An agreement is what the two sides have agreed on in the opening handshake.
type agreement struct {
	subprotocol string
	compression *Compression // nil: none
}

// newConn takes over nc after the opening handshake. ctx gives the values of
// [Conn.Context], and behind the bytes that came behind the handshake; it is
// copied.
func newConn(ctx context.Context, nc net.Conn, client bool, o *Options, a agreement, behind []byte) *Conn {
	c := &Conn{
		nc:        nc,
		client:    client,
		opts:      o.withDefaults(),
		agreement: a,
		ending:    make(chan struct{}),
	}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.in.init(c, behind)
	c.out.init(c)
	c.live.init(c)
	return c
}

// Context returns a context that carries the values of the request's context
// (server) or of the one given to Dial (client), but not its end: it is done
// when the connection is. [context.Cause] then returns the reason: a
// [*CloseError] if the peer closed or the connection was lost, a
// [*ProtocolError] or [ErrMessageTooBig] if the peer was thrown out,
// [net.ErrClosed] if this side closed, which then also wraps a [*CloseError]
// with what the peer answered.
//
// It is also the cheapest context for a read or a write that nothing else
// shall cut short, as context.Background() is.
func (c *Conn) Context() context.Context { return c.ctx }

// State returns the state of the connection.
func (c *Conn) State() State {
	if c.ctx.Err() != nil {
		return StateClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil || c.failed != nil {
		return StateClosing
	}
	return StateOpen
}

// Subprotocol returns what the opening handshake agreed on, or "".
func (c *Conn) Subprotocol() string { return c.subprotocol }

// NetConn returns the connection that carries the frames, as a *net.TCPConn or
// a *tls.Conn, for its settings and addresses. Reading it, writing it or
// setting its deadlines breaks c.
func (c *Conn) NetConn() net.Conn { return c.nc }

// LocalAddr returns the address of this end.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the address of the other end: of the proxy, if there is
// one between.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// end sets the reason why the connection ends, unless there is one already,
// and reports whether it did. No message is read or written from then on.
func (c *Conn) end(cause error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return false
	}
	c.cause = cause
	close(c.ending)
	return true
}

// ended returns the reason why the connection is ending, or nil.
func (c *Conn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// over returns the reason why the connection is ending, or nil. It does so
// when the end has come, or ctx ends: a handler that hears of it earlier would
// return, and its deferred CloseNow cut off the closing handshake which another
// goroutine is just performing.
func (c *Conn) over(ctx context.Context) error {
	cause := c.ended()
	if cause == nil {
		return nil
	}
	select {
	case <-c.ctx.Done():
	case <-ctx.Done():
	}
	return cause
}

// shut ends the TCP connection, whatever is under way on it. end must have
// been called.
func (c *Conn) shut() {
	nc := c.nc
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn() // its own Close sends an alert first, and may wait for that
	}
	nc.Close()
	c.cancel(c.reason())
	c.in.abandon()
	c.live.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.grace != nil {
		c.grace.Stop()
	}
}

// reason returns the cause of the connection's end for its context. If both
// sides closed, it holds what the other one said, too.
func (c *Conn) reason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == errClosed && c.answer != nil {
		return fmt.Errorf("%w; the peer: %w", errClosed, c.answer)
	}
	return c.cause
}

// lose ends a connection that failed below the protocol, and returns the
// reason, which may be an earlier one.
func (c *Conn) lose(err error) error {
	c.end(lost(err))
	c.shut()
	return c.ended()
}

// ctxError describes the end of ctx during op. If the connection has ended, the
// reason for that is told: ctx may come from its context.
func (c *Conn) ctxError(op string, ctx context.Context) error {
	if c.ctx.Err() != nil {
		return c.ended()
	}
	return fmt.Errorf("websocket: %s: %w", op, ctxReason(ctx))
}

// ctxReason returns why ctx has ended: its error, and its cause if it has one.
func ctxReason(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// isTimeout reports whether err is that of a deadline that passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// A buffer is what frames are received into and written from. Connections
// share a pool of them and hold one only while bytes move.
type buffer [bufferSize]byte

const bufferSize = 16 << 10

var bufferPool = sync.Pool{New: func() any { return new(buffer) }}

func getBuffer() *buffer { return bufferPool.Get().(*buffer) }

func putBuffer(b *buffer) {
	if pattern != nil {
		*b = *pattern
	}
	bufferPool.Put(b)
}

// pattern is what a buffer is filled with when it is given back, so that what
// is left in one shows. Tests set it.
var pattern *buffer
