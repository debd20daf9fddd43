package websocket

import (
	"context"
	"errors"
	"iter"
	"net"
)

// A Message is what [Conn.Messages] yields.
type Message struct {
	Opcode Opcode // OpText or OpBinary
	Data   []byte // valid until the loop's next step, or its end
}

// Messages returns an iterator over the messages to come. Their Data is valid
// until the loop's next step or its end; between messages it holds no memory,
// and 16 KiB from a message's header on. The loop
// ends without an error when the connection is closed in a normal way: by the
// peer with [StatusNormalClosure], [StatusGoingAway] or an empty close frame,
// or by this side. Any other error of [Conn.AppendMessage] is the last thing
// it yields; after one of ctx, reading may go on.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for c.yieldMessage(ctx, yield) {
		}
	}
}

// yieldMessage reads a message into a buffer of the pool, which it holds for
// as long as the loop's body runs.
func (c *Conn) yieldMessage(ctx context.Context, yield func(Message, error) bool) bool {
	b, m, err := c.pooledMessage(ctx)
	switch {
	case err == nil:
		defer putBuffer(b)
		return yield(m, nil)
	case err != c.ended() || !isNormalEnd(err): // ctx may have ended by a like reason
		yield(Message{}, err)
	}
	return false
}

// pooledMessage waits for a message and only then takes a buffer for it, which
// is the caller's unless there is an error.
func (c *Conn) pooledMessage(ctx context.Context) (*buffer, Message, error) {
	if err := c.enter(ctx); err != nil {
		return nil, Message{}, err
	}
	defer c.leave()
	if err := c.toMessage(); err != nil {
		return nil, Message{}, err
	}
	b := getBuffer()
	data, err := c.appendMessage(b[:0])
	if err != nil {
		putBuffer(b)
		return nil, Message{}, err
	}
	return b, Message{Opcode: c.in.take(), Data: data}, nil
}

// isNormalEnd reports whether err is no failure but the end of a connection.
func isNormalEnd(err error) bool {
	var ce *CloseError
	if !errors.As(err, &ce) {
		return errors.Is(err, net.ErrClosed)
	}
	switch ce.Code {
	case StatusNormalClosure, StatusGoingAway, StatusNoStatusReceived:
		return true
	}
	return false
}
