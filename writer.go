package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// fragmentSize is how many bytes a MessageWriter gathers: with its header, the
// fragment then fits into a buffer, and so into one write.
const fragmentSize = bufferSize - MaxHeaderSize

// A MessageWriter sends one message in fragments. It gathers what is written
// and sends a fragment whenever 16 KiB are full; a message that is smaller
// goes out in a single frame. If compression was agreed on, fragments are
// compressed, and leave, one by one. Control frames pass between the fragments; other
// messages wait until Close or Abort, one of which must be called. One
// goroutine at a time may use it. See RFC 6455, section 5.4.
type MessageWriter struct {
	c      *Conn
	ctx    context.Context
	op     Opcode // of the next fragment
	text   bool   // the message is text
	check  validator
	buf    *buffer // nil once the message is finished
	n      int     // bytes gathered in buf
	queued int64   // bytes counted in out.queued
	sent   bool    // a fragment has left
	err    error   // why the message cannot be completed

	deflater *deflater // of a compressed message that has more than one fragment
}

// NextWriter begins a message, op being [OpText] or [OpBinary], that is
// written in pieces. It waits for the messages of other writers to be done,
// but not longer than ctx, which counts for all that the MessageWriter does.
func (c *Conn) NextWriter(ctx context.Context, op Opcode) (*MessageWriter, error) {
	if !op.IsData() {
		return nil, fmt.Errorf("websocket: write of a %v message, want text or binary", op)
	}
	if err := c.lock(ctx, c.out.message); err != nil {
		return nil, err
	}
	return &MessageWriter{c: c, ctx: ctx, op: op, text: op == OpText, buf: getBuffer()}, nil
}

var errWriterDone = errors.New("websocket: message is finished already")

// Write adds p to the message. After an error the message cannot be completed;
// [MessageWriter.Close] then does what [MessageWriter.Abort] does. Text is
// refused from the first byte on that is not UTF-8.
func (w *MessageWriter) Write(p []byte) (int, error) {
	if err := w.admit(p); err != nil {
		return 0, err
	}
	k := copy(w.buf[w.n:fragmentSize], p)
	w.n += k
	if k == len(p) {
		return k, nil
	}
	if err := w.fragment(more); err != nil {
		return 0, err
	}
	if rest := p[k:]; len(rest) < fragmentSize {
		w.n = copy(w.buf[:], rest)
		return len(p), nil
	}
	if err := w.send(p[k:], more); err != nil {
		return k, err
	}
	return len(p), nil
}

// ReadFrom adds all that r holds to the message, in fragments of 16 KiB. It is
// what [io.Copy] uses.
func (w *MessageWriter) ReadFrom(r io.Reader) (int64, error) {
	for total := int64(0); ; {
		if w.err != nil || w.buf == nil {
			return total, w.failed()
		}
		if w.n == fragmentSize {
			if err := w.fragment(more); err != nil {
				return total, err
			}
		}
		n, err := r.Read(w.buf[w.n:fragmentSize])
		if bad := w.admit(w.buf[w.n:][:n]); bad != nil {
			return total, bad
		}
		w.n += n
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Flush sends what has been gathered, as a fragment, and all that the peer
// needs to make use of it; with nothing gathered it does nothing.
func (w *MessageWriter) Flush() error {
	if w.err != nil || w.buf == nil {
		return w.failed()
	}
	if w.n == 0 {
		return nil
	}
	return w.fragment(flush)
}

// Close completes the message: it sends the final fragment. If a write failed
// before, or text ends inside a code point, it aborts the message and returns
// the error.
func (w *MessageWriter) Close() error {
	if w.buf == nil {
		return errWriterDone
	}
	if w.err == nil && w.text && !w.check.done() {
		w.err = errInvalidText
	}
	if w.err == nil {
		w.fragment(last)
	}
	if err := w.err; err != nil {
		w.Abort()
		return err
	}
	w.release()
	return nil
}

// Abort gives the message up. If nothing of it was sent, nothing will be, and
// the connection goes on. Otherwise the peer holds part of a message that
// cannot be taken back: Abort closes the connection with
// [StatusInternalError], as [Conn.Close] does. After Close, Abort does
// nothing: it may be deferred.
func (w *MessageWriter) Abort() error {
	if w.buf == nil {
		return nil
	}
	defer w.release()
	if !w.sent {
		return nil
	}
	if err := w.c.over(w.ctx); err != nil {
		return err
	}
	return w.c.Close(StatusInternalError, "message aborted")
}

// admit checks that p may be the message's next bytes, and counts them.
func (w *MessageWriter) admit(p []byte) error {
	if w.err != nil || w.buf == nil {
		return w.failed()
	}
	if w.text && !w.check.write(p) {
		w.err = errInvalidText
		return w.err
	}
	w.queued += int64(len(p))
	w.c.out.queued.Add(int64(len(p)))
	return nil
}

// failed returns why nothing can be written any more.
func (w *MessageWriter) failed() error {
	if w.err != nil {
		return w.err
	}
	return errWriterDone
}

// An urgency says what follows a fragment.
type urgency int

const (
	more  urgency = iota // another one
	flush                // perhaps nothing for long
	last                 // the next message
)

// fragment sends what has been gathered.
func (w *MessageWriter) fragment(u urgency) error {
	p := w.buf[:w.n]
	w.n = 0
	return w.send(p, u)
}

// send sends a fragment with content p.
func (w *MessageWriter) send(p []byte, u urgency) error {
	if err := w.frame(p, u); err != nil {
		w.err = err
		return err
	}
	w.op, w.sent = OpContinuation, true
	w.queued -= int64(len(p))
	w.c.out.queued.Add(-int64(len(p)))
	return nil
}

// frame sends a fragment by one of three ways: as the whole message, as a part
// of a compressed one, or as it is.
func (w *MessageWriter) frame(p []byte, u urgency) error {
	c := w.c
	if !w.sent && u == last {
		return c.writeWhole(w.ctx, w.op, p)
	}
	if !w.sent && c.out.z != nil {
		w.deflater = c.out.z.borrow(1 << maxWindowBits)
	}
	if w.deflater != nil {
		return w.deflate(p, u)
	}
	return c.writeFrame(w.ctx, Header{Fin: u == last, Opcode: w.op}, p)
}

// deflate sends p compressed, in fragments.
func (w *MessageWriter) deflate(p []byte, u urgency) error {
	for len(p) > fragmentSize {
		if err := w.deflateFragment(p[:fragmentSize], more); err != nil {
			return err
		}
		p = p[fragmentSize:]
	}
	return w.deflateFragment(p, u)
}

func (w *MessageWriter) deflateFragment(p []byte, u urgency) error {
	c, d := w.c, w.deflater
	b := getBuffer()
	defer putBuffer(b)
	z := d.write(b[:0], p)
	switch u {
	case flush:
		z = append(d.flush(z), inflateTail[:4]...)
	case last:
		z = d.flush(z)
	}
	h := Header{Fin: u == last, Opcode: w.op}
	if !w.sent {
		h.Rsv = RSV1
	}
	if err := c.writeFrame(w.ctx, h, z); err != nil {
		return err
	}
	w.op, w.sent = OpContinuation, true
	d.remember(p)
	return nil
}

// release lets other messages pass.
func (w *MessageWriter) release() {
	w.c.out.queued.Add(-w.queued)
	putBuffer(w.buf)
	w.buf = nil
	if w.deflater != nil {
		w.deflater.pending = bitBuffer{} // of a message that was aborted
		w.c.out.z.giveBack(w.deflater)
	}
	unlock(w.c.out.message)
}
