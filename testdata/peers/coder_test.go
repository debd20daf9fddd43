package peers

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

func TestCoder(t *testing.T) {
	goPeer{accept: coderAccept, dial: coderDial}.run(t)
}

func coderAccept(w http.ResponseWriter, r *http.Request) (conn, error) {
	return coderUpgrade(w, r, websocket.CompressionDisabled)
}

func coderUpgrade(w http.ResponseWriter, r *http.Request, mode websocket.CompressionMode) (conn, error) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:         []string{subprotocol},
		CompressionMode:      mode,
		CompressionThreshold: 1,
	})
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(-1)
	return coderConn{c, context.Background()}, nil
}

func coderDial(ctx context.Context, url string, offer []string) (conn, error) {
	return coderConnect(ctx, url, offer, websocket.CompressionContextTakeover)
}

func coderConnect(ctx context.Context, url string, offer []string, mode websocket.CompressionMode) (conn, error) {
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		Subprotocols:         offer,
		CompressionMode:      mode,
		CompressionThreshold: 1,
	})
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(-1)
	return coderConn{c, ctx}, nil
}

type coderConn struct {
	*websocket.Conn
	ctx context.Context
}

func coderType(op string) websocket.MessageType {
	if op == "text" {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (c coderConn) Send(op string, p []byte) error { return c.Write(c.ctx, coderType(op), p) }

// SendFragments relies on coder sending one frame for each Write, and an empty
// one for Close.
func (c coderConn) SendFragments(op string, pieces [][]byte, between func() error) error {
	w, err := c.Writer(c.ctx, coderType(op))
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
	}
	return w.Close()
}

func (c coderConn) Ping() error { return c.Conn.Ping(c.ctx) }

func (c coderConn) Recv() (string, []byte, error) {
	op, p, err := c.Read(c.ctx)
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return "", nil, closedError{int(closed.Code), closed.Reason}
	}
	if op == websocket.MessageText {
		return "text", p, err
	}
	return "binary", p, err
}

func (c coderConn) Close(code int, reason string) error {
	return c.Conn.Close(websocket.StatusCode(code), reason)
}

func (c coderConn) Cut() { c.CloseNow() }
