package peers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// A conn is an end of a WebSocket of some Go library, ours or another's.
// The methods Ping and Close are called while another goroutine is in Recv.
type conn interface {
	Subprotocol() string
	Send(op string, p []byte) error
	// SendFragments sends a message in len(pieces) frames or more, calling
	// between before each piece but the first.
	SendFragments(op string, pieces [][]byte, between func() error) error
	// Ping returns when the pong has come.
	Ping() error
	// Recv returns the next message, or a closedError if a close frame came.
	Recv() (op string, p []byte, err error)
	// Close begins the closing handshake; the end of Recv completes it.
	Close(code int, reason string) error
	// Cut ends the TCP connection without a close frame. It is called in any
	// case once the conn is not needed.
	Cut()
}

// A goPeer is a Go library: how it accepts and how it dials.
type goPeer struct {
	accept func(w http.ResponseWriter, r *http.Request) (conn, error)
	dial   func(ctx context.Context, url string, offer []string) (conn, error)
	// What it cannot do in each role, and its answers in both: see pairing.
	serverLacks, clientLacks map[string]string
	answers                  map[int]int
}

// run takes the peer through the scenarios in both roles.
func (p goPeer) run(t *testing.T) {
	t.Run("server=ours", func(t *testing.T) {
		pairing{
			server:        goServer(t, ours.accept),
			client:        goClient(p.dial),
			lacks:         p.clientLacks,
			clientAnswers: p.answers,
		}.run(t)
	})
	t.Run("client=ours", func(t *testing.T) {
		pairing{
			server:        goServer(t, p.accept),
			client:        goClient(ours.dial),
			lacks:         p.serverLacks,
			serverAnswers: p.answers,
		}.run(t)
	})
}

// goServer serves with accept on a free port of 127.0.0.1.
func goServer(t *testing.T, accept func(http.ResponseWriter, *http.Request) (conn, error)) *server {
	s := &server{ends: newEndings()}
	s.url = "ws://" + newHTTPServer(t, serverHandler(t, s.ends, accept)) + "/"
	return s
}

// newHTTPServer serves with h and returns its address.
func newHTTPServer(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func serverHandler(t *testing.T, ends *endings, accept func(http.ResponseWriter, *http.Request) (conn, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := accept(w, r)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		defer c.Cut()
		end := serve(c)
		end.ID = r.URL.Query().Get("id")
		ends.report(end)
	}
}

// serve echoes the messages of c until it ends, except texts that begin with
// an exclamation mark, which are commands:
//
//	!subprotocol                  send the name of the one agreed upon
//	!ping                         ping; send "pong" when the pong has come
//	!fragments N OP SIZE CHUNK    send a message as in step, in N frames or more
//	!flood N SIZE CODE            send N binary messages of SIZE, then close with CODE
//	!close CODE REASON            close; 1005 stands for an empty close frame
//	!cut                          end the TCP connection at once
func serve(c conn) ending {
	var s serving
	s.conn = c
	for {
		op, p, err := c.Recv()
		if err == nil && op == "text" && strings.HasPrefix(string(p), "!") {
			err = s.obey(string(p))
		} else if err == nil {
			err = c.Send(op, p)
		}
		if err != nil {
			return endOf(err, s.code, s.closing)
		}
	}
}

type serving struct {
	conn
	code    int        // with which a command told us to close
	closing chan error // the result of doing so; nil before
}

func (s *serving) obey(command string) error {
	word, rest, _ := strings.Cut(command, " ")
	switch word {
	case "!subprotocol":
		return s.Send("text", []byte(s.Subprotocol()))
	case "!ping":
		go func() { // the pong is seen by Recv
			if err := s.Ping(); err == nil {
				s.Send("text", []byte("pong"))
			}
		}()
		return nil
	case "!fragments":
		return s.fragments(strings.SplitN(rest, " ", 4))
	case "!flood":
		return s.flood(rest)
	case "!close":
		return s.close(rest)
	case "!cut":
		s.Cut()
		return nil
	}
	return fmt.Errorf("unknown command %q", command)
}

func (s *serving) fragments(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("!fragments %q: want four arguments", args)
	}
	pieces, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	return s.SendFragments(args[1], cut(payload(args[1], args[3], size), pieces), func() error { return nil })
}

func (s *serving) flood(args string) error {
	var n, size, code int
	if _, err := fmt.Sscan(args, &n, &size, &code); err != nil {
		return err
	}
	for range n {
		if err := s.Send("binary", payload("binary", "", size)); err != nil {
			return err
		}
	}
	return s.close(strconv.Itoa(code))
}

func (s *serving) close(args string) error {
	code, reason, _ := strings.Cut(args, " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		return err
	}
	s.code, s.closing = n, make(chan error, 1)
	go func() { s.closing <- s.Close(n, reason) }() // the answer is seen by Recv
	return nil
}

// goClient makes a client of a way to dial.
func goClient(dial func(context.Context, string, []string) (conn, error)) client {
	return func(ctx context.Context, j job) ([]event, error) {
		c, err := dial(ctx, j.URL, j.Offer)
		if err != nil {
			return nil, err
		}
		defer c.Cut()
		s := script{conn: c, ctx: ctx, in: make(chan received)}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go s.receive(ctx)
		s.saw(event{Op: "open", Text: c.Subprotocol()})
		for _, st := range j.Steps {
			if err := s.do(st); err != nil {
				return s.events, fmt.Errorf("%s: %w", st.Do, err)
			}
		}
		return s.events, nil
	}
}

// A script is a client's job under way.
type script struct {
	conn
	ctx    context.Context
	in     chan received
	events []event
}

type received struct {
	op  string
	p   []byte
	err error
}

// receive feeds s.in, so that pings and closes are noticed at any time.
func (s *script) receive(ctx context.Context) {
	for {
		var r received
		r.op, r.p, r.err = s.Recv()
		select {
		case s.in <- r:
		case <-ctx.Done():
			return
		}
		if r.err != nil {
			return
		}
	}
}

func (s *script) saw(e event) { s.events = append(s.events, e) }

func (s *script) do(st step) error {
	switch st.Do {
	case "send":
		return s.Send(st.Op, payload(st.Op, st.Chunk, st.Size))
	case "fragments":
		return s.fragments(st)
	case "recv":
		return s.recv()
	case "ping":
		s.saw(event{Op: "pong"})
		return s.Ping()
	case "close":
		return s.close(st)
	case "closed":
		return s.closed()
	case "cut":
		s.Cut()
		return nil
	}
	return fmt.Errorf("unknown step")
}

func (s *script) fragments(st step) error {
	between := func() error { return nil }
	if st.Ping {
		between = s.Ping
	}
	return s.SendFragments(st.Op, cut(payload(st.Op, st.Chunk, st.Size), st.Pieces), between)
}

func (s *script) next() (received, error) {
	select {
	case r := <-s.in:
		return r, nil
	case <-s.ctx.Done():
		return received{}, s.ctx.Err()
	}
}

func (s *script) recv() error {
	r, err := s.next()
	if err := errors.Join(err, r.err); err != nil {
		return err
	}
	s.saw(message(r.op, r.p))
	return nil
}

func (s *script) close(st step) error {
	closing := make(chan error, 1)
	go func() { closing <- s.Close(st.Code, st.Reason) }()
	r, err := s.next()
	if err != nil {
		return err
	}
	if r.err == nil {
		return fmt.Errorf("a %s message of %d bytes came in place of the end", r.op, len(r.p))
	}
	end := endOf(r.err, st.Code, closing)
	if end.Code == 1006 {
		return fmt.Errorf("no answer: %s", end.Reason)
	}
	s.saw(event{Op: "closed", Code: end.Code})
	return nil
}

func (s *script) closed() error {
	r, err := s.next()
	if err != nil {
		return err
	}
	if r.err == nil {
		return fmt.Errorf("a %s message of %d bytes came in place of the end", r.op, len(r.p))
	}
	end := endOf(r.err, 0, nil)
	if end.Code == 1006 {
		end.Reason = "" // words of the library, not of the peer
	}
	s.saw(event{Op: "closed", Code: end.Code, Text: end.Reason})
	return nil
}
