package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"testing"
)

// compressions are settings that differ in all that matters.
var compressions = []Compression{
	{},
	{NoWriteTakeover: true},
	{NoReadTakeover: true},
	{NoWriteTakeover: true, NoReadTakeover: true, Threshold: 1},
	{WriteWindowBits: 8, ReadWindowBits: 9, Threshold: 1},
	{WriteWindowBits: 15, ReadWindowBits: 15},
	{Threshold: 1 << 30},
}

func (o Compression) String() string {
	return fmt.Sprintf("threshold=%d/takeover=%t,%t/bits=%d,%d", o.Threshold, !o.NoWriteTakeover, !o.NoReadTakeover, o.WriteWindowBits, o.ReadWindowBits)
}

// sendings are the ways to send a message, in pieces if that is possible.
var sendings = []struct {
	name string
	send func(ctx context.Context, c *Conn, pieces [][]byte) error
}{
	{"WriteMessage", func(ctx context.Context, c *Conn, pieces [][]byte) error {
		return c.WriteMessage(ctx, OpBinary, bytes.Join(pieces, nil))
	}},
	{"NextWriter", func(ctx context.Context, c *Conn, pieces [][]byte) error {
		w, err := c.NextWriter(ctx, OpBinary)
		if err != nil {
			return err
		}
		for i, p := range pieces {
			_, err := w.Write(p)
			if i%2 == 0 {
				err = errors.Join(err, w.Flush())
			}
			if err != nil {
				return errors.Join(err, w.Abort())
			}
		}
		return w.Close()
	}},
	{"WritePrepared", func(ctx context.Context, c *Conn, pieces [][]byte) error {
		m, err := Prepare(OpBinary, bytes.Join(pieces, nil))
		if err != nil {
			return err
		}
		return c.WritePrepared(ctx, m)
	}},
}

// echo sends back what comes, until the connection ends.
func echo(c *Conn) error {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return err
		}
		if err := c.WriteMessage(context.Background(), m.Opcode, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// Messages of all kinds and sizes, sent and read in every way, come back as
// they were, whatever either side has set.
func TestCompression_roundTrips(t *testing.T) {
	for _, client := range append([]Compression{{Threshold: -1}}, compressions...) {
		for _, server := range compressions {
			t.Run(fmt.Sprintf("client:%v,server:%v", client, server), func(t *testing.T) {
				s, c := Pipe(&Options{Compression: &server}, &Options{Compression: &client})
				ended := make(chan error, 1)
				go func() { ended <- echo(s) }()
				rnd := rand.New(rand.NewSource(1))
				for i := range 40 {
					pieces := cut(rnd, anyMessage(rnd, 1<<rnd.Intn(17)), 5)
					roundTrip(t, c, i, pieces)
				}
				if err := errors.Join(c.Close(StatusNormalClosure, ""), <-ended); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// roundTrip sends a message in one way and reads its echo in another; i says
// in which.
func roundTrip(t *testing.T, c *Conn, i int, pieces [][]byte) {
	t.Helper()
	way := sendings[i%len(sendings)]
	sent := make(chan error, 1)
	go func() { sent <- way.send(t.Context(), c, pieces) }()
	got, err := []byte(nil), error(nil)
	if i%2 == 0 {
		_, got, err = c.ReadMessage(t.Context())
	} else {
		var r io.Reader
		if _, r, err = c.NextReader(t.Context()); err == nil {
			got, err = io.ReadAll(r)
		}
	}
	err = errors.Join(err, <-sent)
	if want := bytes.Join(pieces, nil); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("message %d by %s: %d bytes of %d came back, equal = %t, error = %v", i, way.name, len(got), len(want), bytes.Equal(got, want), err)
	}
}

// FuzzNegotiation: whatever a peer offers or answers, what is agreed on keeps
// to the settings of this side and to what the peer said, and nothing that is
// not well-formed is agreed on.
func FuzzNegotiation(f *testing.F) {
	for _, line := range []string{
		"permessage-deflate",
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9, permessage-deflate; server_no_context_takeover",
		"permessage-deflate; server_max_window_bits=7, permessage-deflate; client_no_context_takeover; server_max_window_bits=\"8\"",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"x-webkit-deflate-frame, permessage-deflate; x",
	} {
		f.Add(line, uint8(0), uint8(12), uint8(12))
		f.Add(line, uint8(3), uint8(8), uint8(15))
	}
	f.Fuzz(func(t *testing.T, line string, flags, write, read uint8) {
		list, err := parseExtensions([]string{line})
		if err != nil {
			return
		}
		o := Compression{NoWriteTakeover: flags&1 != 0, NoReadTakeover: flags&2 != 0, WriteWindowBits: 8 + int(write%8), ReadWindowBits: 8 + int(read%8)}
		agreed, answer := o.accept(list)
		if agreed != nil {
			keepsTo(t, o, *agreed)
			if back, err := parseExtensions([]string{answer}); err != nil || len(back) != 1 || back[0].name != permessageDeflate {
				t.Errorf("%q is answered with %q, want one extension", line, answer)
			}
		}
		agreed, err = o.agree(list)
		if err != nil || agreed == nil {
			return
		}
		keepsTo(t, o, *agreed)
		var said deflateParams
		if len(list) != 1 || said.parse(list[0]) != nil || said.clientBits == anyBits ||
			said.clientBits > 0 && agreed.WriteWindowBits > said.clientBits || said.clientNoTakeover && !agreed.NoWriteTakeover ||
			said.serverNoTakeover != agreed.NoReadTakeover {
			t.Errorf("the answer %q to %v is taken for %v", line, o, *agreed)
		}
	})
}

// keepsTo checks that what was agreed on is within the settings of this side.
func keepsTo(t *testing.T, o, agreed Compression) {
	t.Helper()
	if agreed.WriteWindowBits < minWindowBits || agreed.WriteWindowBits > o.WriteWindowBits ||
		agreed.ReadWindowBits < minWindowBits || !agreed.NoReadTakeover && agreed.ReadWindowBits > o.ReadWindowBits ||
		o.NoWriteTakeover && !agreed.NoWriteTakeover || o.NoReadTakeover && !agreed.NoReadTakeover {
		t.Errorf("agreed on %v, set was %v", agreed, o)
	}
}
