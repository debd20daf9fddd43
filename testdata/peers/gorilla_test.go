package peers

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestGorilla(t *testing.T) {
	goPeer{accept: gorillaAccept, dial: gorillaDial}.run(t)
}

func gorillaAccept(w http.ResponseWriter, r *http.Request) (conn, error) {
	return gorillaUpgrade(websocket.Upgrader{Subprotocols: []string{subprotocol}}, w, r)
}

func gorillaDeflate(w http.ResponseWriter, r *http.Request) (conn, error) {
	return gorillaUpgrade(websocket.Upgrader{Subprotocols: []string{subprotocol}, EnableCompression: true}, w, r)
}

func gorillaUpgrade(u websocket.Upgrader, w http.ResponseWriter, r *http.Request) (conn, error) {
	c, err := u.Upgrade(w, r, nil)
	if err != nil {
		return nil, err
	}
	return newGorilla(context.Background(), c), nil
}

func gorillaDial(ctx context.Context, url string, offer []string) (conn, error) {
	d := websocket.Dialer{Subprotocols: offer, EnableCompression: true}
	c, _, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	return newGorilla(ctx, c), nil
}

type gorillaConn struct {
	*websocket.Conn
	ctx     context.Context
	pongs   chan struct{}
	writing sync.Mutex // gorilla allows one writer of messages at a time
}

func newGorilla(ctx context.Context, c *websocket.Conn) *gorillaConn {
	g := &gorillaConn{Conn: c, ctx: ctx, pongs: make(chan struct{}, 1)}
	c.SetPongHandler(func(string) error { g.pongs <- struct{}{}; return nil })
	return g
}

func gorillaOpcode(op string) int {
	if op == "text" {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

func (c *gorillaConn) Send(op string, p []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.WriteMessage(gorillaOpcode(op), p)
}

// SendFragments leaves it to gorilla where to cut: it has no Flush, and sends
// a frame when its buffer of 4 KiB is full.
func (c *gorillaConn) SendFragments(op string, pieces [][]byte, between func() error) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	w, err := c.NextWriter(gorillaOpcode(op))
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

func (c *gorillaConn) Ping() error {
	err := c.WriteControl(websocket.PingMessage, []byte("gorilla"), time.Now().Add(patience))
	if err != nil {
		return err
	}
	return waitPong(c.ctx, c.pongs)
}

// waitPong waits for the pong that another goroutine receives.
func waitPong(ctx context.Context, pongs <-chan struct{}) error {
	select {
	case <-pongs:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *gorillaConn) Recv() (string, []byte, error) {
	op, p, err := c.ReadMessage()
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return "", nil, closedError{closed.Code, closed.Text}
	}
	if op == websocket.TextMessage {
		return "text", p, err
	}
	return "binary", p, err
}

// Close sends the close frame; FormatCloseMessage makes an empty one of 1005.
func (c *gorillaConn) Close(code int, reason string) error {
	return c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(patience))
}

func (c *gorillaConn) Cut() { c.Conn.Close() }
