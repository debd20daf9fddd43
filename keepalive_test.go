package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

const interval = time.Minute

// wantTook checks how much of the bubble's time has passed since start.
func wantTook(t *testing.T, what string, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("%s after %v, want %v", what, got, want)
	}
}

// nextPing reads a ping of ours and returns its payload.
func (p *peer) nextPing() string {
	p.t.Helper()
	h, payload, err := p.read()
	if err != nil || h.Opcode != OpPing {
		p.t.Errorf("peer: got %v %q, %v, want a ping", h, payload, err)
	}
	return string(payload)
}

// A peer that stays silent gets a ping after one interval, and is given up
// after two.
func TestKeepAlive_silentPeer(t *testing.T) {
	eachPeer(t, []transport{overPipe, overNetPipe}, Options{KeepAlive: interval}, func(t *testing.T, p *peer) {
		start := time.Now()
		done := p.reading(0)
		writer := make(chan error, 1)
		p.nextPing()
		wantTook(t, "ping", start, interval)
		go func() { _, err := p.c.Ping(context.Background()); writer <- err }()
		v := <-done
		wantTook(t, "end", start, 2*interval)
		if err := verdictLost(v.err); err != nil || !errors.Is(v.err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadMessage: %v, want CloseError 1006 that wraps os.ErrDeadlineExceeded", v.err)
		}
		if err := <-writer; err != v.err {
			t.Errorf("Ping: %v, want %v", err, v.err)
		}
		p.wantEnded(v.err)
	})
}

// The end comes after two intervals also if the ping cannot be sent, because a
// writer waits for the peer that has vanished.
func TestKeepAlive_blockedWriter(t *testing.T) {
	eachPeer(t, bubbles, Options{KeepAlive: interval, WriteTimeout: -1}, func(t *testing.T, p *peer) {
		start := time.Now()
		done := p.reading(0)
		writer := make(chan error, 1)
		go func() {
			writer <- p.c.WriteMessage(context.Background(), OpBinary, make([]byte, 2*pipeCapacity))
		}()
		v := <-done
		wantTook(t, "end", start, 2*interval)
		if !errors.Is(v.err, os.ErrDeadlineExceeded) {
			t.Errorf("ReadMessage: %v, want os.ErrDeadlineExceeded", v.err)
		}
		if err := <-writer; err != v.err {
			t.Errorf("WriteMessage: %v, want %v", err, v.err)
		}
	})
}

// The same if nobody writes, and just the buffers between are full.
func TestKeepAlive_fullBuffers(t *testing.T) {
	eachPeer(t, bubbles, Options{KeepAlive: interval, WriteTimeout: -1}, func(t *testing.T, p *peer) {
		for _, room := range []int{0, 3} {
			q := p.again(&Options{KeepAlive: interval, WriteTimeout: -1})
			q.fill(room)
			start := time.Now()
			v := <-q.reading(0)
			wantTook(t, "end", start, 2*interval)
			if err := verdictLost(v.err); err != nil {
				t.Error(err)
			}
		}
	})
}

// Any byte is a sign of life: of a header, a payload, a control frame.
func TestKeepAlive_anyByte(t *testing.T) {
	eachPeer(t, bubbles, Options{KeepAlive: interval}, func(t *testing.T, p *peer) {
		done := p.reading(2)
		wire := append(p.part(OpText, "slow"), p.whole(OpPong, "unasked")...)
		wire = append(wire, p.whole(OpContinuation, "ly")...)
		for i := range wire {
			time.Sleep(interval - 1)
			p.send(wire[i : i+1])
		}
		p.wantIdle() // no ping was needed
		start := time.Now()
		p.nextPing()
		p.send(p.whole(OpContinuation, "")[:1]) // and then never again
		pinged := time.Now()
		if v := <-done; len(v.got) != 1 || v.got[0] != `text "slowly"` || !isTimeout(v.err) {
			t.Errorf("reader got %q, %v, want one message and the end of patience", v.got, v.err)
		}
		if got := pinged.Sub(start); got > interval {
			t.Errorf("ping %v after the last byte, want %v", got, interval)
		}
		wantTook(t, "end", pinged, 2*interval)
	})
}

// Silence counts while we read only: who does not listen hears nothing.
func TestKeepAlive_notReading(t *testing.T) {
	eachPeer(t, bubbles, Options{KeepAlive: interval}, func(t *testing.T, p *peer) {
		p.send(p.whole(OpText, "waiting"))
		time.Sleep(1000 * interval)
		p.wantIdle()
		p.wantRead(OpText, "waiting")
		time.Sleep(1000 * interval)
		p.wantAlive()
	})
}

// Waits that were cut short add up to one silence.
func TestKeepAlive_shortReads(t *testing.T) {
	eachPeer(t, bubbles, Options{KeepAlive: interval}, func(t *testing.T, p *peer) {
		read := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), interval/4)
			defer cancel()
			_, _, err := p.c.ReadMessage(ctx)
			return err
		}
		var err error
		reads := 0
		for ; err == nil || errors.Is(err, context.DeadlineExceeded); reads++ {
			err = read()
			time.Sleep(10 * interval) // does not count
		}
		if verdictLost(err) != nil || reads < 8 || reads > 9 {
			t.Errorf("read %d: %v, want the end after 8", reads, err)
		}
	})
}

// Nobody reads, after a silence of nearly one or two intervals: the clock
// stands still, and so must the timer. It is counted.
func TestKeepAlive_noTimerStorm(t *testing.T) {
	eachPeer(t, bubbles, Options{KeepAlive: interval}, func(t *testing.T, p *peer) {
		for _, heard := range []time.Duration{interval - time.Millisecond, interval, 2*interval - time.Millisecond} {
			q := p.again(&Options{KeepAlive: interval})
			checks := 0
			q.c.live.mu.Lock()
			q.c.live.timer.Stop()
			q.c.live.timer = time.AfterFunc(interval, func() {
				checks++
				q.c.live.check()
			})
			q.c.live.mu.Unlock()

			ctx, cancel := context.WithTimeout(context.Background(), heard)
			if _, _, err := q.c.ReadMessage(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ReadMessage: %v", err)
			}
			cancel()
			time.Sleep(100 * interval)
			synctest.Wait()
			if checks > 110 {
				t.Errorf("silence of %v, then nobody reads: %d runs of the timer in 100 intervals, want one in each at most", heard, checks)
			}
			pings := 0
			for q.nc.SetReadDeadline(time.Now().Add(1)); ; pings++ {
				if _, _, err := q.read(); err != nil {
					break
				}
			}
			if pings > 101 {
				t.Errorf("silence of %v, then nobody reads: %d pings in 100 intervals, want one in each at most", heard, pings)
			}
			q.c.CloseNow()
			synctest.Wait()
		}
	})
}

// S29: thirty days of silence, but for the pongs: one ping in each interval.
func TestKeepAlive_thirtyDays(t *testing.T) {
	const interval = 10 * interval
	eachPeer(t, bubbles, Options{KeepAlive: interval}, func(t *testing.T, p *peer) {
		const days = 30 * 24 * time.Hour
		start := time.Now()
		done := p.reading(0)
		pings := 0
		for time.Since(start) < days {
			payload := p.nextPing()
			time.Sleep(10 * time.Millisecond) // the way there and back
			p.send(p.whole(OpPong, payload))
			pings++
		}
		if most := int(days / interval); pings > most || pings < most-10 {
			t.Errorf("%d pings in 30 days, want about %d", pings, most)
		}
		p.closedWhileRead(done)
	})
}

// closedWhileRead is closed for a connection that is being read already.
func (p *peer) closedWhileRead(done <-chan conversation) {
	p.t.Helper()
	p.send(p.closing(1000, ""))
	p.wantClose(1000)
	p.hangUp()
	if v := <-done; verdict(v.err) != `closed 1000 ""` {
		p.t.Errorf("reader: %v, want the peer's 1000", v.err)
	}
}

// Two of ours keep each other alive, and CloseNow or Close stops the timer.
func TestKeepAlive_bothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Options{KeepAlive: interval}
		s, c := Pipe(o, o)
		errs := make(chan error, 2)
		for _, c := range []*Conn{s, c} {
			go func() { _, _, err := c.ReadMessage(context.Background()); errs <- err }()
		}
		time.Sleep(1000*interval + interval/2)
		synctest.Wait()
		if s.State() != StateOpen || c.State() != StateOpen {
			t.Errorf("states %v and %v after 1,000 intervals, want open", s.State(), c.State())
		}
		if err := s.Close(1000, ""); err != nil {
			t.Errorf("Close: %v", err)
		}
		<-errs
		<-errs
		if s.live.timer.Stop() || c.live.timer.Stop() {
			t.Error("KeepAlive's timer runs after the connection has ended")
		}
	})
}

// Without KeepAlive there is no ping and no timer.
func TestKeepAlive_off(t *testing.T) {
	for _, off := range []time.Duration{0, -1} {
		eachPeer(t, bubbles, Options{KeepAlive: off}, func(t *testing.T, p *peer) {
			done := p.reading(0)
			time.Sleep(1000 * time.Hour)
			p.wantIdle()
			p.closedWhileRead(done)
		})
	}
}

// Ping returns how long the pong took.
func TestPing(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		done := p.reading(0)
		for _, want := range []time.Duration{0, time.Millisecond, time.Hour} {
			rtt := make(chan time.Duration)
			go func() {
				d, err := p.c.Ping(context.Background())
				if err != nil {
					t.Errorf("Ping: %v", err)
				}
				rtt <- d
			}()
			payload := p.nextPing()
			time.Sleep(want)
			p.send(p.whole(OpPong, payload))
			if got := <-rtt; got != want {
				t.Errorf("Ping = %v, want %v", got, want)
			}
		}
		p.closedWhileRead(done)
	})
}

// A pong answers its ping and those before it, not those behind it. Pongs that
// no ping of ours asked for answer nothing.
func TestPing_pongAnswersEarlierPings(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		done := p.reading(0)
		answered := make(chan int, 3)
		var payloads []string
		for i := range 3 {
			go func() {
				if _, err := p.c.Ping(context.Background()); err != nil && i < 2 {
					t.Errorf("Ping %d: %v", i, err)
				}
				answered <- i
			}()
			payloads = append(payloads, p.nextPing())
		}
		number := binary.BigEndian.AppendUint64(nil, 1<<63)
		p.send(p.whole(OpPong, ""), p.whole(OpPong, string(number)), p.whole(OpPong, payloads[1][:7]), p.whole(OpPong, payloads[1]+"x"))
		synctest.Wait()
		if len(answered) > 0 {
			t.Errorf("ping %d was answered by a foreign pong", <-answered)
		}
		p.send(p.whole(OpPong, payloads[1]), p.whole(OpPong, payloads[1]), p.whole(OpPong, payloads[0]))
		synctest.Wait()
		if len(answered) != 2 {
			t.Errorf("%d pings were answered by the second one's pong, want 2", len(answered))
		}
		p.closedWhileRead(done)
		for range 3 {
			<-answered
		}
	})
}

// Ping ends with its context, before and after it has been sent, and with the
// connection; the connection goes on in the first case.
func TestPing_ends(t *testing.T) {
	eachPeer(t, bubbles, Options{}, func(t *testing.T, p *peer) {
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("no patience")
		cancel(why)
		if _, err := p.c.Ping(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
			t.Errorf("Ping with a context that has ended: %v, want its reason", err)
		}
		p.wantIdle()
		short, stop := context.WithTimeout(context.Background(), time.Hour)
		defer stop()
		start := time.Now()
		if _, err := p.c.Ping(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ping that nobody answers: %v, want the end of its context", err)
		}
		wantTook(t, "Ping", start, time.Hour)
		p.nextPing()
		if n := len(p.c.live.pings); n != 0 {
			t.Errorf("%d pings are remembered that nobody waits for", n)
		}
		p.wantAlive()

		err := make(chan error)
		go func() { _, e := p.c.Ping(context.Background()); err <- e }()
		p.nextPing()
		p.c.CloseNow()
		if e := <-err; !errors.Is(e, net.ErrClosed) {
			t.Errorf("Ping on a connection that ends: %v, want net.ErrClosed", e)
		}
	})
}
