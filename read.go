package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"syscall"
)

const (
	// smallBuffer is the size of the array that a connection waits in if it
	// cannot wait without one.
	smallBuffer = 512

	// firstGrowth is how many bytes of memory a frame's declared length is
	// worth before any of its payload has come.
	firstGrowth = 1024
)

// An inbound is the reading half of a Conn. Whoever holds own may touch the
// fields behind it: the read method that runs, or Close in its place.
type inbound struct {
	busy atomic.Bool   // a read method runs; a second one is refused
	own  chan struct{} // one slot

	rcv  receiver
	z    *inflation      // nil unless compression was agreed on
	ctx  context.Context // of the read method that runs
	data []byte          // received and not parsed yet: in buf, small or carry
	buf  *buffer         // from the pool; nil while data is empty

	// Sockets are read through rc, so that waiting takes no buffer: tryRead,
	// as try, leaves its result in data and tryErr. rc is nil for TLS, pipes
	// and on some systems; then small is what we wait in.
	rc     syscall.RawConn
	try    func(fd uintptr) bool
	tryErr error
	small  []byte
	carry  [32]byte // data that is too little to hold a buffer for
	direct int64    // a payload with as much to come is read straight to its destination

	controlling bool                    // the frame under way is a control frame
	control     [maxControlPayload]byte // its payload
	controlSize int
	closed      bool // a close frame has come that Close waits for

	partial []byte         // of a message whose read was cut short
	stream  *messageReader // reads the message under way
	skip    bool           // the rest of the message under way is not wanted

	watch watch // of ctx
}

func (in *inbound) init(c *Conn, behind []byte) {
	in.own = make(chan struct{}, 1)
	in.rcv.server = !c.client
	in.rcv.limit = c.opts.ReadLimit
	if c.compression != nil {
		in.z = newInflation(c.compression)
		in.rcv.rsv = RSV1
	}
	in.data = bytes.Clone(behind)
	in.watch.init(c.nc.SetReadDeadline)
	if in.rc = rawConn(c.nc); in.rc != nil {
		in.try = in.tryRead
		in.direct = bufferSize / 2
		return
	}
	in.small = make([]byte, smallBuffer)
	in.direct = smallBuffer
}

// errConcurrentRead is the second reader's.
var errConcurrentRead = errors.New("websocket: another goroutine is reading")

// ReadMessage reads the next data message and returns it in a slice of its
// own, which is never nil. It is [Conn.AppendMessage] without a destination.
func (c *Conn) ReadMessage(ctx context.Context) (Opcode, []byte, error) {
	op, p, err := c.AppendMessage(ctx, nil)
	if err == nil && p == nil {
		p = []byte{}
	}
	return op, p, err
}

// AppendMessage reads the next data message and appends its payload, at most
// [Options.ReadLimit] bytes, to dst. It returns the extended slice, which
// shares dst's array if the message fitted: then nothing is allocated.
//
// Errors: [*CloseError] when the peer closed or the connection was lost,
// [*ProtocolError] and [ErrMessageTooBig] when the peer was thrown out,
// [net.ErrClosed] when this side closed; they are final, and come again from
// every further call. The error of ctx is not: what has arrived of a message
// or of a frame stays in c, and the next read goes on from there. On error the
// slice is dst.
//
// A message that [Conn.NextReader] began and that was not read to its end is
// skipped. One goroutine at a time may read; a second one gets an error. See
// RFC 6455, section 6.2.
func (c *Conn) AppendMessage(ctx context.Context, dst []byte) (Opcode, []byte, error) {
	if err := c.enter(ctx); err != nil {
		return 0, dst, err
	}
	defer c.leave()
	if err := c.toMessage(); err != nil {
		return 0, dst, err
	}
	msg, err := c.appendMessage(dst)
	if err != nil {
		return 0, dst, err
	}
	return c.in.take(), msg, nil
}

// enter begins a read method under ctx, and leave ends it.
func (c *Conn) enter(ctx context.Context) error {
	over := ctx.Err() != nil // a nil ctx panics here, where nothing is taken yet
	if err := c.acquire(ctx); err != nil {
		return err
	}
	if over {
		c.leave()
		return c.ctxError("read", ctx)
	}
	c.in.ctx = ctx
	return nil
}

// acquire makes the calling read method the only one.
func (c *Conn) acquire(ctx context.Context) error {
	if err := c.over(ctx); err != nil {
		return err
	}
	if !c.in.busy.CompareAndSwap(false, true) {
		return errConcurrentRead
	}
	select {
	case c.in.own <- struct{}{}:
		return nil
	default: // Close came between
		c.in.busy.Store(false)
		return c.over(ctx)
	}
}

func (c *Conn) leave() {
	ctx := c.in.ctx
	c.in.watch.disarm()
	c.in.ctx = nil
	c.in.tidy()
	if c.in.z != nil {
		c.in.z.src.tidy()
	}
	c.in.release()
	c.in.busy.Store(false)
	if c.ctx.Err() != nil {
		c.in.abandon()
	}
	if ctx != nil {
		c.over(ctx) // Close may go on now: see there
	}
}

// release gives up the right to touch in.
func (in *inbound) release() {
	select {
	case <-in.own:
	default:
		panic("websocket: internal error: reading half released twice")
	}
}

// abandon lets go of the message under way, after the end of the connection,
// unless another goroutine reads: that does it then. It is called behind every
// event that can be the last one, see there.
func (in *inbound) abandon() {
	select {
	case in.own <- struct{}{}:
		if in.z != nil {
			in.z.end()
		}
		in.release()
	default:
	}
}

// tidy gives the buffers back unless they hold more than a few bytes.
func (in *inbound) tidy() {
	if in.buf == nil || len(in.data) > len(in.carry) {
		return
	}
	in.data = in.carry[:copy(in.carry[:], in.data)]
	putBuffer(in.buf)
	in.buf = nil
}

// take ends the message under way, all of which has come.
func (in *inbound) take() Opcode {
	in.rcv.begun = false
	if in.rcv.compressed {
		in.z.end()
	}
	return in.rcv.kind
}

// toMessage reads to the payload of the message that is next.
func (c *Conn) toMessage() error {
	in := &c.in
	if in.stream != nil {
		in.stream, in.partial, in.skip = nil, nil, in.rcv.begun
	}
	if in.skip {
		if err := c.skipMessage(); err != nil {
			return err
		}
		in.skip = false
	}
	return c.toPayload()
}

// skipMessage reads the rest of the message under way, by the same rules as if
// it were wanted.
func (c *Conn) skipMessage() error {
	b := getBuffer()
	defer putBuffer(b)
	for {
		_, err := c.readContent(b[:])
		if err == io.EOF {
			c.in.take()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readContent reads content of the message under way into p, at least a byte,
// or returns io.EOF at its end.
func (c *Conn) readContent(p []byte) (int, error) {
	if c.in.rcv.compressed {
		return c.inflate(p, true)
	}
	if err := c.toPayload(); err != nil {
		return 0, err
	}
	if c.in.rcv.atEnd() {
		return 0, io.EOF
	}
	return c.readPayload(p)
}

// inflate is readContent for a compressed message. Unless it is to be prompt,
// it waits for as much of the message as a buffer holds.
func (c *Conn) inflate(p []byte, prompt bool) (int, error) {
	in := &c.in
	for {
		if in.z.begun() {
			n, err := in.z.read(p)
			if err != errMore {
				return c.inflated(p[:n], err)
			}
		}
		if err := c.gather(prompt); err != nil {
			return 0, err
		}
		if !in.z.begun() {
			in.z.begin()
		}
	}
}

// inflated judges p, content of the message under way, and err.
func (c *Conn) inflated(p []byte, err error) (int, error) {
	switch {
	case err == nil:
		err = c.in.rcv.content(p)
	case err == io.EOF:
		if err := c.in.rcv.contentEnd(); err != nil {
			return 0, c.fail(err)
		}
		return 0, io.EOF
	}
	if err != nil {
		return 0, c.fail(err)
	}
	return len(p), nil
}

// gather reads compressed bytes of the message under way: all that are still
// to come, or a full buffer; if it is to be prompt, at most those of a frame.
func (c *Conn) gather(prompt bool) error {
	in, src := &c.in, &c.in.z.src
	for !src.isFull() {
		src.tidy() // before a wait
		if err := c.toPayload(); err != nil {
			return err
		}
		if in.rcv.left > 0 {
			if len(in.data) == 0 && src.buf == nil {
				if err := c.fill(); err != nil {
					return err
				}
			}
			n, err := c.readPayload(src.room())
			if err != nil {
				return err
			}
			src.gather(n)
		}
		if in.rcv.atEnd() {
			src.final = true
			return nil
		}
		if prompt && in.rcv.left == 0 {
			return nil
		}
	}
	return nil
}

// toPayload reads on until payload of a message is next, or the message is at
// its end. Control frames on the way are acted upon: they may stand between
// any two frames.
func (c *Conn) toPayload() error {
	in := &c.in
	for {
		ready, err := in.step()
		switch {
		case err != nil:
			return c.fail(err)
		case !ready:
			if err := c.fill(); err != nil {
				return err
			}
		case in.controlling:
			if err := c.handleControl(in.takeControl()); err != nil {
				return err
			}
		case in.rcv.left > 0 || in.rcv.atEnd():
			return nil
		}
	}
}

// step goes on in the stream as far as data reaches: into a data frame's
// payload, to the end of a message, or to the end of a control frame.
func (in *inbound) step() (ready bool, err error) {
	r := &in.rcv
	if !in.controlling {
		if r.left > 0 || r.atEnd() {
			return true, nil
		}
		n, err := r.header(in.data)
		if n == 0 || err != nil {
			return false, err
		}
		in.data = in.data[n:]
		in.controlling = r.head.Opcode.IsControl()
		in.controlSize = 0
	}
	if !in.controlling {
		return true, nil
	}
	n := int(min(r.left, int64(len(in.data))))
	err = r.payload(in.control[in.controlSize:][:n], in.data[:n])
	in.data = in.data[n:]
	in.controlSize += n
	return r.left == 0, err
}

// takeControl ends the control frame under way, all of which has come.
func (in *inbound) takeControl() (Opcode, []byte) {
	in.controlling = false
	return in.rcv.head.Opcode, in.control[:in.controlSize]
}

// skipPayload drops what data holds of the data frame under way, and ends the
// message if that is all.
func (in *inbound) skipPayload() {
	if in.controlling {
		return
	}
	n := min(in.rcv.left, int64(len(in.data)))
	in.data = in.data[n:]
	in.rcv.left -= n
	if in.rcv.atEnd() {
		in.take()
	}
}

// handleControl acts upon a control frame.
func (c *Conn) handleControl(op Opcode, payload []byte) error {
	switch op {
	case OpPing:
		c.answerPing(payload)
		return c.callHook(c.opts.OnPing, payload)
	case OpPong:
		c.live.pong(payload)
		return c.callHook(c.opts.OnPong, payload)
	}
	return c.peerClosed(payload)
}

// callHook calls a hook of the user's, which may call Close: it can have the
// reading half meanwhile.
func (c *Conn) callHook(hook func(*Conn, []byte), payload []byte) error {
	if hook == nil {
		return nil
	}
	payload = bytes.Clone(payload)
	c.in.release()
	defer func() { c.in.own <- struct{}{} }()
	hook(c, payload)
	return c.ended()
}

// appendMessage appends the payload of the message under way to dst, up to its
// end. If the read is cut short, what has come of it is kept for the next one.
func (c *Conn) appendMessage(dst []byte) ([]byte, error) {
	in := &c.in
	if len(in.partial) == 0 {
		msg, err := c.appendPayload(dst)
		if err != nil && c.ended() == nil {
			in.partial = bytes.Clone(msg[len(dst):])
		}
		return msg, err
	}
	var err error
	if in.partial, err = c.appendPayload(in.partial); err != nil {
		return dst, err
	}
	msg := in.partial
	in.partial = nil
	if dst == nil {
		return msg, nil
	}
	return append(dst, msg...), nil
}

// appendPayload appends payload of the message under way to dst, up to its end
// or to the point where the read is cut short.
func (c *Conn) appendPayload(dst []byte) ([]byte, error) {
	in, start := &c.in, len(dst)
	if in.rcv.compressed {
		return c.appendInflated(dst)
	}
	for {
		if err := c.toPayload(); err != nil {
			return dst, err
		}
		if in.rcv.atEnd() {
			return dst, nil
		}
		if in.rcv.left > int64(math.MaxInt-len(dst)) { // where int has 32 bits
			return dst, c.fail(fmt.Errorf("%w: %d bytes do not fit into memory", ErrMessageTooBig, in.rcv.left))
		}
		dst = reserve(dst, in.rcv.left, max(len(dst)-start, len(in.data)))
		n, err := c.readPayload(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err != nil {
			return dst, err
		}
	}
}

// appendInflated is appendPayload for a compressed message.
func (c *Conn) appendInflated(dst []byte) ([]byte, error) {
	start := len(dst)
	for {
		p := dst[len(dst):cap(dst)]
		full := len(p) == 0
		if full { // it may be the end: do not grow for that
			p = c.in.z.probe[:]
		}
		n, err := c.inflate(p, false)
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		case full:
			more := max(3*(len(dst)-start), firstGrowth)
			dst = append(slices.Grow(dst, min(more, math.MaxInt-len(dst))), p[:n]...)
		default:
			dst = dst[:len(dst)+n]
		}
	}
}

// reserve makes room in dst for want more bytes, but for no more than three
// times what has arrived already: memory follows what a peer has sent, not what
// it declares. (Doubling instead would copy a message of 64 KiB twice.)
func reserve(dst []byte, want int64, arrived int) []byte {
	n := int(min(want, int64(max(3*arrived, firstGrowth))))
	return slices.Grow(dst, n)
}

// readPayload reads payload of the frame under way into p, at least a byte.
func (c *Conn) readPayload(p []byte) (int, error) {
	in := &c.in
	p = p[:min(in.rcv.left, int64(len(p)))]
	if len(in.data) > 0 {
		return c.takePayload(p, in.data)
	}
	if int64(len(p)) < in.direct {
		if err := c.fill(); err != nil {
			return 0, err
		}
		return c.takePayload(p, in.data)
	}
	in.tidy()
	n, err := c.readInto(p)
	if err != nil {
		return 0, c.readFailed(err)
	}
	if err := in.rcv.payload(p[:n], p[:n]); err != nil {
		return 0, c.fail(err)
	}
	return n, nil
}

// takePayload moves payload from the start of data to p, as much as fits.
func (c *Conn) takePayload(p, data []byte) (int, error) {
	n := min(len(p), len(data))
	err := c.in.rcv.payload(p[:n], data[:n])
	c.in.data = data[n:] // also with an error: a Close under way reads on
	if err != nil {
		return 0, c.fail(err)
	}
	return n, nil
}

// fill waits for more bytes behind data, which holds part of a header at most.
func (c *Conn) fill() error {
	if err := c.receive(); err != nil {
		return c.readFailed(err)
	}
	return nil
}

// receive is fill without a judgement on the error.
func (c *Conn) receive() error {
	in := &c.in
	if in.rc == nil {
		k := copy(in.small, in.data)
		n, err := c.readInto(in.small[k:])
		in.data = in.small[:k+n]
		return err
	}
	in.tidy()
	c.armRead()
	c.live.waiting()
	err := in.rc.Read(in.try)
	if err == nil {
		err = in.tryErr
	}
	c.live.heard(err)
	return err
}

// readInto waits for bytes in p.
func (c *Conn) readInto(p []byte) (int, error) {
	c.armRead()
	c.live.waiting()
	n, err := c.nc.Read(p)
	if n > 0 {
		err = nil // it comes again
	}
	c.live.heard(err)
	return n, err
}

// readFailed says what an error of the network means for the read under way.
func (c *Conn) readFailed(err error) error {
	if cause := c.ended(); cause != nil {
		return cause
	}
	if !isTimeout(err) {
		return c.lose(err)
	}
	if c.in.ctx.Err() != nil {
		return c.ctxError("read", c.in.ctx)
	}
	return fmt.Errorf("websocket: read: %w", err) // a deadline on NetConn
}

// armRead lets the end of the read's context cut what waits for the network.
// It is called before the first wait, so that a message that has arrived
// already costs nothing of it.
func (c *Conn) armRead() {
	if c.in.ctx != nil && !c.isPatient(c.in.ctx) {
		c.in.watch.arm(c.in.ctx)
	}
}
