package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// open begins a message on the connection under test.
func (p *peer) open(ctx context.Context, op Opcode) *MessageWriter {
	p.t.Helper()
	w, err := p.c.NextWriter(ctx, op)
	if err != nil {
		p.t.Fatalf("NextWriter(%v): %v", op, err)
	}
	return w
}

// A fragment is what a peer gets of a MessageWriter.
type fragment struct {
	fin     bool
	payload string
}

// TestNextWriter_fragments writes in every way there is, and checks which
// frames come of it.
func TestNextWriter_fragments(t *testing.T) {
	full := strings.Repeat("f", fragmentSize)
	large := strings.Repeat("large ", 20_000)
	writes := func(pieces ...string) func(w *MessageWriter) error {
		return func(w *MessageWriter) error {
			for _, s := range pieces {
				if n, err := io.WriteString(w, s); n != len(s) || err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name  string
		write func(w *MessageWriter) error
		want  []fragment
	}{
		{"nothing", writes(), []fragment{{true, ""}}},
		{"one piece", writes("hello"), []fragment{{true, "hello"}}},
		{"small pieces go out together", writes("a", "", "bc", "d"), []fragment{{true, "abcd"}}},
		{"exactly one fragment", writes(full), []fragment{{true, full}}},
		{"a byte more", writes(full, "x"), []fragment{{false, full}, {true, "x"}}},
		{"a piece that is cut", writes("abc", full), []fragment{{false, "abc" + full[3:]}, {true, "fff"}}},
		{"a large piece is not cut small", writes(large), []fragment{
			{false, large[:fragmentSize]}, {false, large[fragmentSize:]}, {true, ""}}},
		{"Flush", func(w *MessageWriter) error {
			return errors.Join(writes("one")(w), w.Flush(), w.Flush(), writes("two")(w), w.Flush())
		}, []fragment{{false, "one"}, {false, "two"}, {true, ""}}},
		{"Flush before anything", func(w *MessageWriter) error { return errors.Join(w.Flush(), writes("x")(w)) }, []fragment{{true, "x"}}},
		{"ReadFrom", func(w *MessageWriter) error {
			n, err := w.ReadFrom(iotest.HalfReader(strings.NewReader(full + full + "end")))
			if n != 2*fragmentSize+3 {
				t.Errorf("ReadFrom = %d, want %d", n, 2*fragmentSize+3)
			}
			return err
		}, []fragment{{false, full}, {false, full}, {true, "end"}}},
		{"io.Copy after Write", func(w *MessageWriter) error {
			_, err := io.Copy(w, io.MultiReader(strings.NewReader("rest"), iotest.DataErrReader(strings.NewReader("!"))))
			return errors.Join(err, writes("?")(w))
		}, []fragment{{true, "rest!?"}}},
		{"ReadFrom behind a full buffer", func(w *MessageWriter) error {
			_, err := w.ReadFrom(strings.NewReader("x"))
			return errors.Join(err, writes(full[1:])(w), second(w.ReadFrom(strings.NewReader("y"))))
		}, []fragment{{false, "x" + full[1:]}, {true, "y"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachPeer(t, []transport{overTCP, overPipe}, Options{}, func(t *testing.T, p *peer) {
				done := make(chan error, 1)
				go func() {
					w := p.open(t.Context(), OpText)
					err := tt.write(w)
					done <- errors.Join(err, w.Close(), w.Abort())
				}()
				op := OpText
				for _, f := range tt.want {
					p.wantFrame(f.fin, op, f.payload)
					op = OpContinuation
				}
				if err := <-done; err != nil {
					t.Errorf("writing: %v", err)
				}
				if n := p.c.BufferedAmount(); n != 0 {
					t.Errorf("BufferedAmount = %d after the message, want 0", n)
				}
				p.wantAlive()
			})
		})
	}
}

// TestNextWriter_abort gives a message up before and after its first fragment.
func TestNextWriter_abort(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, tt := range []struct {
		name  string
		abort func(w *MessageWriter) error // returns the error that is wanted
	}{
		{"Abort", func(w *MessageWriter) error { return w.Abort() }},
		{"Close after text that is none", func(w *MessageWriter) error {
			if n, err := w.Write([]byte("\xff")); n != 0 || !errors.Is(err, errInvalidText) {
				return errors.New("Write accepted it")
			}
			for _, err := range []error{second(w.Write(nil)), w.Flush(), second(w.ReadFrom(strings.NewReader("x"))), w.Close()} {
				if !errors.Is(err, errInvalidText) {
					return errors.New("a later call accepted it")
				}
			}
			return nil
		}},
		{"Close inside a code point", func(w *MessageWriter) error {
			io.WriteString(w, "\xe4\xb8")
			if err := w.Close(); !errors.Is(err, errInvalidText) {
				return errors.New("Close accepted it")
			}
			return nil
		}},
		{"ReadFrom fails", func(w *MessageWriter) error {
			if _, err := io.Copy(w, iotest.ErrReader(broken)); err != broken {
				return errors.New("ReadFrom lost the error")
			}
			return w.Abort()
		}},
		{"ReadFrom text that is none", func(w *MessageWriter) error {
			if _, err := w.ReadFrom(strings.NewReader("\x80")); !errors.Is(err, errInvalidText) {
				return errors.New("ReadFrom accepted it")
			}
			return w.Abort()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachPeer(t, []transport{overTCP, overPipe}, Options{}, func(t *testing.T, p *peer) {
				w := p.open(t.Context(), OpText)
				io.WriteString(w, "never sent")
				if err := tt.abort(w); err != nil {
					t.Errorf("before the first fragment: %v", err)
				}
				p.wantAlive()

				w = p.open(t.Context(), OpText)
				io.WriteString(w, "sent")
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				p.wantFrame(false, OpText, "sent")
				done := make(chan error, 1)
				go func() { done <- tt.abort(w) }()
				p.wantClose(StatusInternalError)
				p.send(p.closing(StatusInternalError, ""))
				if p.role.server {
					p.wantEOF()
				} else {
					p.hangUp()
				}
				if err := <-done; err != nil {
					t.Errorf("after the first fragment: %v", err)
				}
				if err := w.Abort(); err != nil {
					t.Errorf("second Abort = %v, want nil", err)
				}
			})
		})
	}
}

// TestNextWriter_done calls everything on a message that is complete.
func TestNextWriter_done(t *testing.T) {
	eachPeer(t, []transport{overPipe}, Options{}, func(t *testing.T, p *peer) {
		w := p.open(t.Context(), OpBinary)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"Write": second(w.Write([]byte("x"))), "ReadFrom": second(w.ReadFrom(strings.NewReader("x"))),
			"Flush": w.Flush(), "Close": w.Close(),
		} {
			if !errors.Is(err, errWriterDone) {
				t.Errorf("%s after Close = %v, want %v", name, err, errWriterDone)
			}
		}
		p.want(OpBinary, "")
		p.wantAlive()
	})
}

// TestNextWriter_between lets control frames pass between the fragments, and
// nothing else.
func TestNextWriter_between(t *testing.T) {
	eachPeer(t, []transport{overPipe}, Options{}, func(t *testing.T, p *peer) {
		w := p.open(t.Context(), OpText)
		io.WriteString(w, "one ")
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		p.wantFrame(false, OpText, "one ")

		read := p.reading(0)
		p.send(p.whole(OpPing, "between"))
		p.want(OpPong, "between")

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.c.WriteText(short, "no"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("WriteText beside an open message = %v, want context.DeadlineExceeded", err)
		}
		written := make(chan error, 1)
		go func() { written <- p.c.WriteText(t.Context(), "next") }()
		synctest.Wait()
		if n := p.c.BufferedAmount(); n != len("next") {
			t.Errorf("BufferedAmount = %d with a message that waits, want %d", n, len("next"))
		}
		io.WriteString(w, "two")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		p.wantFrame(true, OpContinuation, "two")
		p.want(OpText, "next")
		if err := <-written; err != nil {
			t.Errorf("WriteText after the message = %v", err)
		}
		p.leave()
		<-read
	})
}

// TestNextWriter_closed closes the connection under an open message, on which
// others wait.
func TestNextWriter_closed(t *testing.T) {
	eachPeer(t, []transport{overTCP, overPipe}, Options{}, func(t *testing.T, p *peer) {
		w := p.open(t.Context(), OpText)
		io.WriteString(w, "never complete")
		waits := make(chan error, 1)
		go func() { waits <- p.c.WriteText(context.Background(), "x") }()
		if err := p.closeUs(StatusGoingAway, ""); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
		for name, err := range map[string]error{"the other writer": <-waits, "Flush": w.Flush(), "Close": w.Close(), "Abort": w.Abort()} {
			if name != "Abort" && !errors.Is(err, net.ErrClosed) || name == "Abort" && err != nil {
				t.Errorf("%s = %v", name, err)
			}
		}
	})
}

// TestWrite_cancelled cuts writes short before and after their first byte, by
// a context and by the write timeout. It is a pipe that is full.
func TestWrite_cancelled(t *testing.T) {
	for _, tt := range []struct {
		name  string
		o     Options
		limit time.Duration // of the context; 0: none
		is    error
	}{
		{"context", Options{WriteTimeout: -1}, time.Second, context.DeadlineExceeded},
		{"context before the write timeout", Options{}, time.Second, context.DeadlineExceeded},
		{"write timeout", Options{WriteTimeout: 3 * time.Second}, 0, errTimeout},
		{"default write timeout", Options{}, time.Hour, errTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachPeer(t, bubbles, tt.o, func(t *testing.T, p *peer) {
				ctx := func() context.Context {
					if tt.limit == 0 {
						return context.Background()
					}
					ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
					t.Cleanup(cancel)
					return ctx
				}
				// A frame of 64 KiB in all fills the pipe.
				overhead := len(AppendHeader(nil, Header{Masked: p.c.client, Length: pipeCapacity / 4}))
				half := strings.Repeat("x", pipeCapacity/2-overhead)
				for range 2 {
					if err := p.c.WriteMessage(ctx(), OpBinary, []byte(half)); err != nil {
						t.Fatal(err)
					}
				}
				// Not a byte leaves: the connection lives.
				m, err := Prepare(OpText, []byte("never sent"))
				if err != nil {
					t.Fatal(err)
				}
				for name, write := range map[string]func(context.Context) error{
					"WriteText":     func(ctx context.Context) error { return p.c.WriteText(ctx, "never sent") },
					"WritePrepared": func(ctx context.Context) error { return p.c.WritePrepared(ctx, m) },
					"MessageWriter": func(ctx context.Context) error {
						w := p.open(ctx, OpText)
						defer w.Abort()
						io.WriteString(w, "never sent")
						return w.Flush()
					},
				} {
					if err := write(ctx()); !isThat(err, tt.is) || p.c.State() != StateOpen {
						t.Errorf("%s into a full pipe = %v, state %v, want %v and open", name, err, p.c.State(), tt.is)
					}
				}
				p.want(OpBinary, half)
				p.want(OpBinary, half)
				p.wantAlive()

				// Some bytes leave: the stream is torn.
				err = p.c.WriteMessage(ctx(), OpBinary, make([]byte, 2*pipeCapacity))
				var ce *CloseError
				if !errors.As(err, &ce) || ce.Code != StatusAbnormalClosure || !isThat(err, tt.is) {
					t.Errorf("WriteMessage cut after its first byte = %v, want 1006 and %v", err, tt.is)
				}
				if n, err := io.Copy(io.Discard, p.nc); n != pipeCapacity || err != nil {
					t.Errorf("peer: %d bytes, %v, want %d and the end", n, err, pipeCapacity)
				}
				p.wantEnded(err)
			})
		})
	}
}

// errTimeout stands for os.ErrDeadlineExceeded, by what it is to net.Error.
var errTimeout = errors.New("timeout")

func isThat(err, target error) bool {
	if target != errTimeout {
		return errors.Is(err, target)
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout() && isTimeout(err)
}

// TestWrite_cancelledAlready writes under a context that has ended.
func TestWrite_cancelledAlready(t *testing.T) {
	eachPeer(t, []transport{overTCP, overPipe}, Options{}, func(t *testing.T, p *peer) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the user has left")
		cancel(why)
		for _, call := range calls(p.c, ctx) {
			if err := call.err(); !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
				t.Errorf("%s under a context that has ended = %v, want %v and %v", call.name, err, context.Canceled, why)
			}
		}
		p.wantAlive()
	})
}

// TestWritePrepared sends one message to servers' and clients' peers, of all
// sizes.
func TestWritePrepared(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536, 1 << 20} {
		payload := bytes.Repeat([]byte("prepared"), n/8+1)[:n]
		m, err := Prepare(OpBinary, payload)
		if err != nil {
			t.Fatal(err)
		}
		want := string(payload)
		clear(payload) // Prepare keeps a copy
		eachPeer(t, []transport{overTCP, overPipe}, Options{}, func(t *testing.T, p *peer) {
			done := make(chan error, 1)
			go func() {
				done <- errors.Join(p.c.WritePrepared(t.Context(), m), p.c.WritePrepared(t.Context(), m))
			}()
			p.want(OpBinary, want)
			p.want(OpBinary, want)
			if err := <-done; err != nil {
				t.Errorf("WritePrepared: %v", err)
			}
			p.wantAlive()
		})
	}
}
