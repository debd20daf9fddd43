package peers

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"example.com/websocket"
)

// ours is the library under test, in the clothes of a peer.
var ours = goPeer{
	accept: func(w http.ResponseWriter, r *http.Request) (conn, error) {
		// Pages of any origin: the tests in Chromium use pages of other servers.
		u := websocket.Upgrader{
			Subprotocols: []string{subprotocol},
			CheckOrigin:  func(*http.Request) bool { return true },
		}
		c, err := u.Upgrade(w, r)
		if err != nil {
			return nil, err
		}
		return ourConn{c, c.Context()}, nil
	},
	dial: func(ctx context.Context, url string, offer []string) (conn, error) {
		d := websocket.Dialer{Subprotocols: offer}
		c, _, err := d.Dial(ctx, url)
		if err != nil {
			return nil, err
		}
		return ourConn{c, ctx}, nil
	},
}

// oursStrict is the zero Upgrader: pages of its own host only.
func oursStrict(w http.ResponseWriter, r *http.Request) (conn, error) {
	c, err := websocket.Upgrade(w, r)
	if err != nil {
		return nil, err
	}
	return ourConn{c, c.Context()}, nil
}

type ourConn struct {
	*websocket.Conn
	ctx context.Context
}

func ourOpcode(op string) websocket.Opcode {
	if op == "text" {
		return websocket.OpText
	}
	return websocket.OpBinary
}

func (c ourConn) Send(op string, p []byte) error {
	return c.WriteMessage(c.ctx, ourOpcode(op), p)
}

func (c ourConn) SendFragments(op string, pieces [][]byte, between func() error) error {
	w, err := c.NextWriter(c.ctx, ourOpcode(op))
	if err != nil {
		return err
	}
	for i, p := range pieces {
		if i > 0 {
			if err := between(); err != nil {
				return err
			}
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c ourConn) Ping() error {
	_, err := c.Conn.Ping(c.ctx)
	return err
}

func (c ourConn) Recv() (string, []byte, error) {
	op, p, err := c.ReadMessage(c.ctx)
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code != websocket.StatusAbnormalClosure {
		return "", nil, closedError{int(closed.Code), closed.Reason}
	}
	if op == websocket.OpText {
		return "text", p, err
	}
	return "binary", p, err
}

// Close also tells what the peer answered, which Close of the library does not
// return but leaves with the context.
func (c ourConn) Close(code int, reason string) error {
	if err := c.Conn.Close(websocket.StatusCode(code), reason); err != nil {
		return err
	}
	var answer *websocket.CloseError
	if cause := context.Cause(c.Context()); !errors.As(cause, &answer) {
		return fmt.Errorf("no answer in the cause of the end: %w", cause)
	}
	return closedError{int(answer.Code), answer.Reason}
}

func (c ourConn) Cut() { c.CloseNow() }
