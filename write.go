package websocket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
	"unsafe"
)

// An outbound is the writing half of a Conn. The two locks are one-slot
// channels, so that waiting for them can end with a context. They are taken in
// this order.
type outbound struct {
	message chan struct{} // held for a data message, with all its fragments
	frame   chan struct{} // held while the bytes of one frame go out

	// Constant after init.
	vectored bool // large payloads go out by writev(2)
	exact    bool // a write that timed out tells how much it wrote, and may go on

	// Behind frame.
	watch watch
	vec   [2][]byte
	bufs  net.Buffers

	z *deflation // behind message; nil unless compression was agreed on

	queued atomic.Int64 // bytes for BufferedAmount

	// The pong that is owed. "If an endpoint receives a Ping frame and has
	// not yet sent Pong frame(s) in response to previous Ping frame(s), the
	// endpoint MAY elect to send a Pong frame for only the most recently
	// processed Ping frame": so one is enough, whatever the peer sends.
	owed     atomic.Bool
	paying   atomic.Bool // a goroutine has taken it upon itself
	pongMu   sync.Mutex
	pong     [maxControlPayload]byte
	pongSize int
}

func (out *outbound) init(c *Conn) {
	out.message = make(chan struct{}, 1)
	out.frame = make(chan struct{}, 1)
	out.watch.init(c.nc.SetWriteDeadline)
	if c.compression != nil {
		out.z = &deflation{agreed: c.compression}
	}
	switch c.nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		out.vectored, out.exact = true, true
	case *pipeConn:
		out.exact = true
	default: // may be TLS below: "After a Write has timed out, the TLS state is corrupt"
	}
}

var errInvalidText = errors.New("websocket: write of a text message that is not UTF-8")

// WriteMessage sends a message, op being [OpText] or [OpBinary], in one frame.
// It returns when the operating system has taken all of it; p may be used
// again then, and is never modified. Any number of goroutines may write:
// messages go out whole, one after the other.
//
// If ctx ends, or [Options.WriteTimeout] passes, before a byte of the frame
// has left, the error says so and the connection stays usable. If part of it
// has, the stream is torn and the connection is lost: the error is then a
// [*CloseError] with [StatusAbnormalClosure] that wraps the reason. (Over TLS,
// and over any net.Conn that may have it below, a timeout always loses the
// connection.) Once the connection is ending, the
// error is the reason for that, as in [Conn.AppendMessage].
//
// Text that is not UTF-8 is refused, and another op is: nothing is sent then.
// See RFC 6455, section 6.1.
func (c *Conn) WriteMessage(ctx context.Context, op Opcode, p []byte) error {
	switch {
	case !op.IsData():
		return fmt.Errorf("websocket: write of a %v message, want text or binary", op)
	case op == OpText && !utf8.Valid(p):
		return errInvalidText
	}
	c.out.queued.Add(int64(len(p)))
	defer c.out.queued.Add(-int64(len(p)))

	if err := c.lock(ctx, c.out.message); err != nil {
		return err
	}
	defer unlock(c.out.message)
	return c.writeWhole(ctx, op, p)
}

// WriteText is [Conn.WriteMessage] for a text message in a string.
func (c *Conn) WriteText(ctx context.Context, s string) error {
	// A slice over the string's own bytes saves a copy of it. Nothing in this
	// package writes to a payload, and a net.Conn "must not modify the slice
	// data, even temporarily".
	return c.WriteMessage(ctx, OpText, unsafe.Slice(unsafe.StringData(s), len(s)))
}

// BufferedAmount returns how many bytes of messages have been given to the
// write methods, or to a [MessageWriter], and not yet been taken by the
// operating system, as the browsers' bufferedAmount does.
func (c *Conn) BufferedAmount() int { return int(c.out.queued.Load()) }

// writeWhole sends a message in one frame, compressed if that is agreed on and
// makes it shorter; the caller holds out.message.
func (c *Conn) writeWhole(ctx context.Context, op Opcode, p []byte) error {
	h := Header{Fin: true, Opcode: op}
	if !c.out.z.wants(len(p)) {
		return c.writeFrame(ctx, h, p)
	}
	b := getBuffer()
	defer putBuffer(b)
	z := c.out.z.deflate(b[:0], p)
	if len(z) >= len(p) {
		return c.writeFrame(ctx, h, p) // the peer's window will not have it, and ours has not
	}
	h.Rsv = RSV1
	if err := c.writeFrame(ctx, h, z); err != nil {
		return err
	}
	c.out.z.remember(p)
	return nil
}

// writeFrame sends a frame with header h, but for its length and mask. For a
// frame of a data message the caller holds out.message.
func (c *Conn) writeFrame(ctx context.Context, h Header, p []byte) error {
	h.Length = int64(len(p))
	return c.locked(ctx, func() error { return c.sendFrame(ctx, h, p) })
}

// writeControl sends a control frame.
func (c *Conn) writeControl(ctx context.Context, op Opcode, p []byte) error {
	return c.writeFrame(ctx, Header{Fin: true, Opcode: op}, p)
}

// locked calls send with out.frame held, if the connection is still open.
func (c *Conn) locked(ctx context.Context, send func() error) error {
	if err := c.lock(ctx, c.out.frame); err != nil {
		return err
	}
	err := c.writable()
	if err == nil {
		err = send()
	}
	unlock(c.out.frame)
	c.settlePong(err == nil && c.isPatient(ctx))
	if err == nil {
		return nil
	}
	if cause := c.over(ctx); cause != nil {
		return cause
	}
	return err
}

// lock takes l, unless ctx or the connection ends before.
func (c *Conn) lock(ctx context.Context, l chan struct{}) error {
	if err := c.over(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return c.ctxError("write", ctx)
	}
	select {
	case l <- struct{}{}:
		return nil
	default:
	}
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return c.ctxError("write", ctx)
	case <-c.ending:
		return c.over(ctx)
	}
}

// unlock releases what lock took.
func unlock(l chan struct{}) {
	select {
	case <-l:
	default:
		panic("websocket: internal error: unlock of an unlocked half")
	}
}

// writable returns why nothing may be sent any more, or nil.
func (c *Conn) writable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	return c.failed
}

// sendFrame sends a frame; the caller holds out.frame.
func (c *Conn) sendFrame(ctx context.Context, h Header, p []byte) error {
	if c.client {
		h.Masked, h.Mask = true, newMask()
	}
	b := getBuffer()
	defer putBuffer(b)
	c.armWrite(ctx)
	sent, err := c.transmit(b, h, p)
	c.out.watch.disarm()
	if err != nil {
		return c.writeFailed(ctx, sent, err)
	}
	return nil
}

// transmit writes a frame: in one call if it fits into b, and without a copy
// of what does not if p need not be masked. It returns the bytes that left.
func (c *Conn) transmit(b *buffer, h Header, p []byte) (sent int, err error) {
	size := len(AppendHeader(b[:0], h))
	if !h.Masked && c.out.vectored && size+len(p) > len(b) {
		return c.writev(b[:size], p)
	}
	for pos := 0; ; size = 0 {
		n := min(len(p), len(b)-size)
		chunk := b[:size+n]
		if h.Masked {
			pos = MaskCopy(chunk[size:], p[:n], h.Mask, pos)
		} else {
			copy(chunk[size:], p)
		}
		m, err := c.nc.Write(chunk)
		sent += m
		p = p[n:]
		if err != nil || len(p) == 0 {
			return sent, err
		}
	}
}

// writev writes a and b by one system call.
func (c *Conn) writev(a, b []byte) (int, error) {
	out := &c.out
	out.vec = [2][]byte{a, b}
	out.bufs = out.vec[:]
	n, err := out.bufs.WriteTo(c.nc)
	out.vec, out.bufs = [2][]byte{}, nil
	return int(n), err
}

// writeFailed says what the failure of a write means that sent some bytes.
func (c *Conn) writeFailed(ctx context.Context, sent int, err error) error {
	if cause := c.ended(); cause != nil {
		if sent > 0 {
			c.shut() // no close frame can follow half a frame
		}
		return cause
	}
	if !isTimeout(err) {
		return c.loseWrite(err)
	}
	if ctx.Err() != nil {
		err = ctxReason(ctx)
	}
	if sent == 0 && c.out.exact {
		return fmt.Errorf("websocket: write: %w", err)
	}
	return c.lose(fmt.Errorf("write cut after %d bytes: %w", sent, err))
}

// loseWrite ends the writing half after an error of the network. The other
// half lives on for a while: what the peer sent before it went, its close
// frame not the least, may still be read. When it has been, or nobody reads,
// the connection is lost.
func (c *Conn) loseWrite(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = lost(err)
		c.grace = time.AfterFunc(c.opts.CloseTimeout, func() { c.lose(err) })
	}
	return c.failed
}

// sendClose sends the close frame. Only the caller whose end set the reason
// may do so, so there is only one; and no other frame is sent after end.
func (c *Conn) sendClose(payload []byte) error {
	select {
	case c.out.frame <- struct{}{}:
	case <-c.ctx.Done():
		return c.ended()
	}
	defer unlock(c.out.frame)
	h := Header{Fin: true, Opcode: OpClose, Length: int64(len(payload))}
	if c.client {
		h.Masked, h.Mask = true, newMask()
	}
	b := getBuffer()
	defer putBuffer(b)
	c.nc.SetWriteDeadline(noDeadline) // the caller's watchdog bounds it
	if _, err := c.transmit(b, h, payload); err != nil {
		return lost(err)
	}
	return nil
}

// answerPing owes the peer a pong, and pays it under the context of the read.
func (c *Conn) answerPing(payload []byte) {
	out := &c.out
	out.pongMu.Lock()
	out.pongSize = copy(out.pong[:], payload)
	out.owed.Store(true)
	out.pongMu.Unlock()
	c.settlePong(c.isPatient(c.in.ctx))
}

// isPatient reports whether a call under ctx lasts as long as the connection.
func (c *Conn) isPatient(ctx context.Context) bool { return ctx == c.ctx || ctx.Done() == nil }

// settlePong sees to the pong that is owed, if one is. A peer that does not
// read may keep it waiting for a whole write timeout: a caller that may have to
// return before that leaves it to a goroutine, of which there is one at most.
func (c *Conn) settlePong(patient bool) {
	switch {
	case !c.out.owed.Load():
	case patient:
		c.payPong()
	case c.out.paying.CompareAndSwap(false, true):
		go c.payPongAside()
	}
}

// payPongAside sends the pong that is owed as soon as frames can be sent, and
// whichever come to be owed meanwhile.
func (c *Conn) payPongAside() {
	out := &c.out
	for again := true; again; again = out.owed.Load() && out.paying.CompareAndSwap(false, true) {
		select {
		case out.frame <- struct{}{}:
			c.sendPong()
			unlock(out.frame)
		case <-c.ending:
			return
		}
		out.paying.Store(false)
	}
}

// payPong sends the pong that is owed, unless a frame is just going out: its
// sender then sees to it.
func (c *Conn) payPong() {
	for c.out.owed.Load() {
		select {
		case c.out.frame <- struct{}{}:
			c.sendPong()
			unlock(c.out.frame)
		default:
			return
		}
	}
}

// sendPong sends the pong that is owed. A peer that does not even take that
// within the write timeout is lost.
func (c *Conn) sendPong() {
	out := &c.out
	var payload [maxControlPayload]byte
	out.pongMu.Lock()
	n := copy(payload[:], out.pong[:out.pongSize])
	owed := out.owed.Swap(false)
	out.pongMu.Unlock()
	if !owed || c.writable() != nil {
		return
	}
	h := Header{Fin: true, Opcode: OpPong, Length: int64(n)}
	if err := c.sendFrame(c.ctx, h, payload[:n]); err != nil && c.writable() == nil {
		c.lose(err)
	}
}

// armWrite bounds the write that follows by the write timeout and by ctx.
func (c *Conn) armWrite(ctx context.Context) {
	if c.opts.WriteTimeout > 0 {
		c.nc.SetWriteDeadline(time.Now().Add(c.opts.WriteTimeout))
	}
	if !c.isPatient(ctx) {
		c.out.watch.arm(ctx)
	}
}

// newMask returns a masking key that no peer and no application can predict.
// The generator is ChaCha8, seeded by the operating system: one call of the
// system for each of them instead of for each frame. See RFC 6455, sections
// 5.3 and 10.3.
func newMask() [4]byte {
	g := maskPool.Get().(*mathrand.ChaCha8)
	defer maskPool.Put(g)
	k := g.Uint64()
	return [4]byte{byte(k), byte(k >> 8), byte(k >> 16), byte(k >> 24)}
}

var maskPool = sync.Pool{New: func() any {
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	return mathrand.NewChaCha8(seed)
}}
