package websocket

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"
)

// A Prepared is a message that was encoded once, to be sent to many
// connections by [Conn.WritePrepared]. It does not change, and any number of
// goroutines may use it.
type Prepared struct {
	op      Opcode
	payload []byte
	frame   []byte // as a server sends it; payload is its end
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
	var head [MaxHeaderSize]byte
	h := AppendHeader(head[:0], Header{Fin: true, Opcode: op, Length: int64(len(p))})
	frame := bytes.Join([][]byte{h, p}, nil)
	return &Prepared{op: op, payload: frame[len(h):], frame: frame}, nil
}

// WritePrepared sends a message that [Prepare] made, as [Conn.WriteMessage]
// does. On a server nothing of it is copied; a client has to mask it, with a
// key of its own each time.
func (c *Conn) WritePrepared(ctx context.Context, m *Prepared) error {
	n := int64(len(m.payload))
	c.out.queued.Add(n)
	defer c.out.queued.Add(-n)

	if err := c.lock(ctx, c.out.message); err != nil {
		return err
	}
	defer unlock(c.out.message)
	if c.client {
		return c.writeFrame(ctx, m.op, true, m.payload)
	}
	return c.locked(ctx, func() error {
		c.armWrite(ctx)
		sent, err := c.nc.Write(m.frame)
		c.out.watch.disarm()
		if err != nil {
			return c.writeFailed(ctx, sent, err)
		}
		return nil
	})
}
