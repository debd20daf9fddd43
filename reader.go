package websocket

import (
	"context"
	"errors"
	"io"
)

// NextReader waits for the next data message and returns a reader of its
// payload, for messages that are better not held in memory as a whole. Bytes
// are delivered as they arrive, before the message is complete: if it breaks a
// rule later, or is cut off, the reader ends with the error, never with
// [io.EOF]. ctx counts for every Read.
//
// Of a compressed message, what a fragment inflates to is delivered when all of
// the fragment has come, or 16 KiB of it. Until such a message has come to its
// end it holds about 100 KiB and a goroutine.
//
// The next call of a read method skips what is left of the message, and the
// reader then returns an error. But when a Read has ended with the error of
// ctx, nothing is lost: NextReader, called again, returns a reader of the rest.
//
// Errors, and who may call: as for [Conn.AppendMessage]; the reader's Read
// counts as a read method.
func (c *Conn) NextReader(ctx context.Context) (Opcode, io.Reader, error) {
	if err := c.enter(ctx); err != nil {
		return 0, nil, err
	}
	defer c.leave()
	if in := &c.in; in.stream == nil || !in.stream.cut {
		if err := c.toMessage(); err != nil {
			return 0, nil, err
		}
	}
	c.in.stream = &messageReader{c: c, ctx: ctx}
	return c.in.rcv.kind, c.in.stream, nil
}

// A messageReader is the reader that NextReader returns.
type messageReader struct {
	c   *Conn
	ctx context.Context
	cut bool  // a Read ended with the error of ctx
	err error // of every further Read
}

func (r *messageReader) Read(p []byte) (int, error) {
	c := r.c
	if err := c.acquire(r.ctx); err != nil {
		return 0, err
	}
	defer c.leave()
	if r.err == nil && c.in.stream != r {
		r.err = errors.New("websocket: message skipped by a later read")
	}
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.ctx.Err() != nil {
		r.cut = true
		return 0, c.ctxError("read", r.ctx)
	}
	c.in.ctx = r.ctx
	n, err := c.readStream(p)
	if err == io.EOF || c.ended() != nil {
		r.err = err
		return n, err
	}
	r.cut = err != nil // of ctx: nothing else ends a read and not the connection
	return n, err
}

// readStream reads payload of the message under way, or its end.
func (c *Conn) readStream(p []byte) (int, error) {
	in := &c.in
	if len(in.partial) > 0 { // a read of the whole message was cut short
		n := copy(p, in.partial)
		in.partial = in.partial[n:]
		return n, nil
	}
	n, err := c.readContent(p)
	if err == io.EOF {
		in.take()
		in.stream = nil
	}
	return n, err
}
