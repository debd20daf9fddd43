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
// goes out in a single frame. Control frames pass between the fragments; other
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
	if err := w.fragment(false); err != nil {
		return 0, err
	}
	if rest := p[k:]; len(rest) < fragmentSize {
		w.n = copy(w.buf[:], rest)
		return len(p), nil
	}
	if err := w.send(p[k:], false); err != nil {
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
			if err := w.fragment(false); err != nil {
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

// Flush sends what has been gathered, as a fragment; with nothing gathered it
// does nothing.
func (w *MessageWriter) Flush() error {
	if w.err != nil || w.buf == nil {
		return w.failed()
	}
	if w.n == 0 {
		return nil
	}
	return w.fragment(false)
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
		w.fragment(true)
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
	if err := w.c.ended(); err != nil {
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

// fragment sends what has been gathered.
func (w *MessageWriter) fragment(fin bool) error {
	p := w.buf[:w.n]
	w.n = 0
	return w.send(p, fin)
}

// send sends a fragment with payload p.
func (w *MessageWriter) send(p []byte, fin bool) error {
	if err := w.c.writeFrame(w.ctx, w.op, fin, p); err != nil {
		w.err = err
		return err
	}
	w.op, w.sent = OpContinuation, true
	w.queued -= int64(len(p))
	w.c.out.queued.Add(-int64(len(p)))
	return nil
}

// release lets other messages pass.
func (w *MessageWriter) release() {
	w.c.out.queued.Add(-w.queued)
	putBuffer(w.buf)
	w.buf = nil
	unlock(w.c.out.message)
}
