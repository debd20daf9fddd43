package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"example.com/websocket"
)

// echo is the server that most of the examples talk to.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Upgrade(w, r)
	if err != nil {
		return // the client has been told why
	}
	defer c.CloseNow()
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return
		}
		if err := c.WriteMessage(c.Context(), m.Opcode, m.Data); err != nil {
			return
		}
	}
}

func ExampleUpgrade() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.WriteText(c.Context(), "welcome to "+r.URL.Path)
		c.Close(websocket.StatusNormalClosure, "that was all")
	}))
	defer srv.Close()

	c, _, err := websocket.Dial(context.Background(), srv.URL+"/chat")
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	_, p, err := c.ReadMessage(context.Background())
	fmt.Printf("%s, %v\n", p, err)
	_, _, err = c.ReadMessage(context.Background())
	fmt.Println(err)
	// Output:
	// welcome to /chat, <nil>
	// websocket: closed by peer: 1000 normal closure: "that was all"
}

func ExampleDial() {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.WriteText(ctx, "hello"); err != nil {
		log.Fatal(err)
	}
	op, p, err := c.ReadMessage(ctx)
	fmt.Printf("%v %s %v\n", op, p, err)
	fmt.Println(c.Close(websocket.StatusNormalClosure, ""))
	// Output:
	// text hello <nil>
	// <nil>
}

func ExampleUpgrader_origins() {
	up := &websocket.Upgrader{Origins: []string{"https://app.example", "https://*.app.example"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r); err == nil {
			c.Close(websocket.StatusNormalClosure, "")
		}
	}))
	defer srv.Close()

	for _, origin := range []string{"https://app.example", "https://eu.app.example", "https://evil.example"} {
		d := websocket.Dialer{Header: http.Header{"Origin": {origin}}}
		c, resp, err := d.Dial(context.Background(), srv.URL)
		if err == nil {
			c.CloseNow()
		}
		fmt.Println(origin, resp.StatusCode)
	}
	// Output:
	// https://app.example 101
	// https://eu.app.example 101
	// https://evil.example 403
}

func ExampleUpgrader_subprotocols() {
	up := &websocket.Upgrader{Subprotocols: []string{"chat.v2", "chat.v1"}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := up.Upgrade(w, r); err == nil {
			c.Close(websocket.StatusNormalClosure, "")
		}
	}))
	defer srv.Close()

	d := websocket.Dialer{Subprotocols: []string{"chat.v1", "chat.v2", "json"}}
	c, _, err := d.Dial(context.Background(), srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	fmt.Println(c.Subprotocol())
	// Output: chat.v2
}

func ExampleHandshakeError() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "the chat is closed on Sundays", http.StatusServiceUnavailable)
	}))
	defer srv.Close()

	_, _, err := websocket.Dial(context.Background(), srv.URL)
	var he *websocket.HandshakeError
	if errors.As(err, &he) {
		body, _ := io.ReadAll(he.Response.Body)
		fmt.Printf("%d %s", he.Status, body)
	}
	// Output: 503 the chat is closed on Sundays
}

// A read loop that tells the ways in which a connection can end. The order
// matters only in that ctx comes last: it says nothing about the connection.
func ExampleConn_ReadMessage() {
	server, client := websocket.Pipe(nil, nil)
	go func() {
		server.WriteText(server.Context(), "one")
		server.Close(4000, "enough")
	}()

	for {
		op, p, err := client.ReadMessage(client.Context())
		var ce *websocket.CloseError
		var pe *websocket.ProtocolError
		switch {
		case err == nil:
			fmt.Printf("%v %s\n", op, p)
			continue
		case errors.As(err, &ce) && ce.Code == websocket.StatusAbnormalClosure:
			fmt.Println("connection lost:", err)
		case errors.As(err, &ce):
			fmt.Printf("peer closed: %d %q\n", ce.Code, ce.Reason)
		case errors.As(err, &pe):
			fmt.Println("peer broke section", pe.Rule)
		case errors.Is(err, net.ErrClosed):
			fmt.Println("closed by us")
		}
		break
	}
	// Output:
	// text one
	// peer closed: 4000 "enough"
}

// A read that timed out has lost nothing: the connection goes on.
func ExampleConn_ReadMessage_timeout() {
	server, client := websocket.Pipe(nil, nil)
	defer server.CloseNow()
	defer client.CloseNow()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err := client.ReadMessage(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))

	server.WriteText(server.Context(), "late, but here")
	_, p, err := client.ReadMessage(client.Context())
	fmt.Printf("%s, %v\n", p, err)
	// Output:
	// true
	// late, but here, <nil>
}

// Reading into one slice again and again allocates nothing.
func ExampleConn_AppendMessage() {
	server, client := websocket.Pipe(nil, nil)
	defer server.CloseNow()
	go func() {
		for _, s := range []string{"tick", "tock"} {
			client.WriteText(client.Context(), s)
		}
		client.Close(websocket.StatusNormalClosure, "")
	}()

	buf := make([]byte, 0, 4096)
	for {
		_, msg, err := server.AppendMessage(server.Context(), buf[:0])
		if err != nil {
			break
		}
		fmt.Printf("%s\n", msg)
		buf = msg
	}
	// Output:
	// tick
	// tock
}

func ExampleConn_Messages() {
	server, client := websocket.Pipe(nil, nil)
	go func() {
		client.WriteText(client.Context(), "hello")
		client.WriteMessage(client.Context(), websocket.OpBinary, []byte{1, 2, 3})
		client.Close(websocket.StatusNormalClosure, "")
	}()

	for m, err := range server.Messages(server.Context()) {
		if err != nil {
			fmt.Println("lost:", err)
			break
		}
		fmt.Println(m.Opcode, len(m.Data))
	}
	fmt.Println("closed")
	// Output:
	// text 5
	// binary 3
	// closed
}

func ExampleConn_NextReader() {
	server, client := websocket.Pipe(nil, nil)
	defer server.CloseNow()
	defer client.CloseNow()
	client.WriteText(client.Context(), "a message as a stream\n")

	op, r, err := server.NextReader(server.Context())
	if err != nil {
		log.Fatal(err)
	}
	n, err := io.Copy(os.Stdout, r)
	fmt.Println(op, n, err)
	// Output:
	// a message as a stream
	// text 22 <nil>
}

// A file, or any reader, is sent in fragments and never held as a whole. A
// message that fails on the way must not end as if it were complete.
func ExampleConn_NextWriter() {
	server, client := websocket.Pipe(nil, nil)
	defer server.CloseNow()
	defer client.CloseNow()
	go func() {
		w, err := client.NextWriter(client.Context(), websocket.OpBinary)
		if err != nil {
			return
		}
		defer w.Abort() // does nothing after Close
		if _, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 100_000))); err != nil {
			return
		}
		w.Close()
	}()

	_, p, err := server.ReadMessage(server.Context())
	fmt.Println(len(p), err)
	// Output: 100000 <nil>
}

func ExampleConn_Close() {
	server, client := websocket.Pipe(nil, nil)
	reader := make(chan error)
	go func() {
		_, _, err := server.ReadMessage(server.Context())
		reader <- err
	}()

	fmt.Println(client.Close(websocket.StatusGoingAway, "lunch"))
	fmt.Println(<-reader)
	fmt.Println(client.State(), errors.Is(context.Cause(client.Context()), net.ErrClosed))
	// Output:
	// <nil>
	// websocket: closed by peer: 1001 going away: "lunch"
	// closed true
}

func ExampleConn_Ping() {
	server, client := websocket.Pipe(nil, nil)
	defer server.CloseNow()
	defer client.CloseNow()
	read := func(c *websocket.Conn) { // somebody must read: pongs arrive there
		for range c.Messages(c.Context()) {
		}
	}
	go read(server)
	go read(client)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	rtt, err := client.Ping(ctx)
	fmt.Println(rtt > 0, err)
	// Output: true <nil>
}

func ExampleOptions() {
	up := &websocket.Upgrader{Options: websocket.Options{
		ReadLimit:    64 << 10,
		WriteTimeout: 5 * time.Second,
		KeepAlive:    30 * time.Second,
	}}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
	})
	fmt.Println(up.KeepAlive)
	// Output: 30s
}

// A server that compresses, and a client that will not hold more than 1 KiB of
// what the server sent for it. Nothing else changes: messages are written and
// read as ever.
func ExampleCompression() {
	u := websocket.Upgrader{Options: websocket.Options{Compression: &websocket.Compression{}}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		c.WriteText(c.Context(), strings.Repeat("again and ", 1000)+"again")
		c.Close(websocket.StatusNormalClosure, "")
	}))
	defer srv.Close()

	d := websocket.Dialer{Options: websocket.Options{Compression: &websocket.Compression{ReadWindowBits: 10}}}
	c, resp, err := d.Dial(context.Background(), srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	fmt.Println(resp.Header.Get("Sec-WebSocket-Extensions"))
	if agreed := c.Compression(); agreed != nil {
		fmt.Println("bits of the server's window:", agreed.ReadWindowBits)
	}
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(m.Data), "bytes")
	}
	// Output:
	// permessage-deflate; server_max_window_bits=10; client_max_window_bits=12
	// bits of the server's window: 10
	// 10005 bytes
}

// Pipe tests a handler without a network.
func ExamplePipe() {
	greet := func(c *websocket.Conn) {
		_, name, err := c.ReadMessage(c.Context())
		if err == nil {
			c.WriteText(c.Context(), "hello, "+string(name))
		}
	}
	server, client := websocket.Pipe(nil, nil)
	defer client.CloseNow()
	defer server.CloseNow()
	go greet(server)

	client.WriteText(client.Context(), "Ada")
	_, p, err := client.ReadMessage(client.Context())
	fmt.Printf("%s, %v\n", p, err)
	// Output: hello, Ada, <nil>
}

// One message to many connections is encoded once.
func ExamplePrepare() {
	var members, clients []*websocket.Conn
	for range 3 {
		server, client := websocket.Pipe(nil, nil)
		defer server.CloseNow()
		defer client.CloseNow()
		members, clients = append(members, server), append(clients, client)
	}

	m, err := websocket.Prepare(websocket.OpText, []byte("to all of you"))
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range members {
		c.WritePrepared(c.Context(), m)
	}
	for _, c := range clients {
		_, p, _ := c.ReadMessage(c.Context())
		fmt.Printf("%s\n", p)
	}
	// Output:
	// to all of you
	// to all of you
	// to all of you
}

// The protocol has no reconnecting; a client that wants it dials again, and
// waits longer each time it fails.
func Example_reconnect() {
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	pause, attempt := time.Millisecond, 0
	dial := func() (*websocket.Conn, error) {
		if attempt++; attempt < 3 {
			return nil, errors.New("no route to host")
		}
		c, _, err := websocket.Dial(ctx, srv.URL)
		return c, err
	}
	for {
		c, err := dial()
		if err == nil {
			fmt.Println("connected at attempt", attempt)
			c.Close(websocket.StatusNormalClosure, "")
			return
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, time.Minute)
		case <-ctx.Done():
			return
		}
	}
	// Output: connected at attempt 3
}

// The codec works without a connection, on any bytes: here on the masked
// "Hello" of RFC 6455, section 5.7.
func ExampleParseHeader() {
	frame := []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}
	h, n, err := websocket.ParseHeader(frame)
	if err != nil {
		log.Fatal(err)
	}
	payload := frame[n:]
	websocket.Mask(h.Mask, 0, payload)
	fmt.Println(h)
	fmt.Printf("%s\n", payload)
	// Output:
	// text fin len=5 mask=37fa213d
	// Hello
}

func ExampleAcceptKey() {
	fmt.Println(websocket.AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="))
	// Output: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
}
