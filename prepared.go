package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

// A Prepared is a message that was encoded once, to be sent to many
// connections by [Conn.WritePrepared]. Compressed it is once for each window
// size that was agreed on with one of them. It does not change, and any number
// of goroutines may use it.
type Prepared struct {
	op       Opcode
	plain    encoding
	deflated [maxWindowBits + 1]struct { // by window bits
		once sync.Once
		encoding
	}
}

// An encoding is a message in a frame.
type encoding struct {
	frame   []byte // as a server sends it
	payload []byte // its end; nil: there is no such encoding
}

func encode(h Header, payload []byte) encoding {
	var head [MaxHeaderSize]byte
	h.Length = int64(len(payload))
	b := AppendHeader(head[:0], h)
	frame := bytes.Join([][]byte{b, payload}, nil)
	return encoding{frame: frame, payload: frame[len(b):]}
}

// Prepare encodes a message, op being [OpText] or [OpBinary], for
// [Conn.WritePrepared]. It keeps a copy of p. Text that is not UTF-8 is
// refused.
func Prepare(op Opcode, p []byte) (*Prepared, error) {
	switch {
	case !op.IsData():
		return nil, fmt.Errorf("websocket: prepared %v message, want text or binary", op)
	case op == OpText && !utf8.Valid(p):
		return nil, errInvalidText
	}
	return &Prepared{op: op, plain: encode(Header{Fin: true, Opcode: op}, p)}, nil
}

// deflate returns the message compressed for a window, by itself: so it fits
// into any connection's stream, whatever came before. Its payload is nil if it
// does not shrink.
func (m *Prepared) deflate(windowBits int) encoding {
	z := &m.deflated[windowBits]
	z.once.Do(func() {
		d := getDeflater(windowBits, len(m.plain.payload))
		defer putDeflater(d)
		d.thorough = true // it is done but once
		if p := d.flush(d.write(nil, m.plain.payload)); len(p) < len(m.plain.payload) {
			z.encoding = encode(Header{Fin: true, Rsv: RSV1, Opcode: m.op}, p)
		}
	})
	return z.encoding
}

// WritePrepared sends a message that [Prepare] made, as [Conn.WriteMessage]
// does. On a server nothing of it is copied; a client has to mask it, with a
// key of its own each time.
func (c *Conn) WritePrepared(ctx context.Context, m *Prepared) error {
	if !m.op.IsData() {
		return errors.New("websocket: write of a Prepared that Prepare did not make")
	}
	n := int64(len(m.plain.payload))
	c.out.queued.Add(n)
	defer c.out.queued.Add(-n)

	if err := c.lock(ctx, c.out.message); err != nil {
		return err
	}
	defer unlock(c.out.message)
	if z := c.out.z; z.wants(len(m.plain.payload)) {
		if e := m.deflate(z.agreed.WriteWindowBits); e.payload != nil {
			err := c.writeEncoding(ctx, Header{Fin: true, Rsv: RSV1, Opcode: m.op}, e)
			if err == nil {
				z.remember(m.plain.payload)
			}
			return err
		}
	}
	return c.writeEncoding(ctx, Header{Fin: true, Opcode: m.op}, m.plain)
}

// writeEncoding sends e, whose header is h but for its length and mask.
func (c *Conn) writeEncoding(ctx context.Context, h Header, e encoding) error {
	if c.client {
		return c.writeFrame(ctx, h, e.payload)
	}
	return c.locked(ctx, func() error {
		c.armWrite(ctx)
		sent, err := c.nc.Write(e.frame)
		c.out.watch.disarm()
		if err != nil {
			return c.writeFailed(ctx, sent, err)
		}
		return nil
	})
}
