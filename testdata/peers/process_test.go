package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A process is a peer in a program of its own. It ends with the test.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *record
	done   chan struct{} // closed when the program has ended
}

// start runs a program that is installed with the command install. A program
// that is not there fails the test: skipping it would look like success.
func start(t *testing.T, install, name string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(name, args...)
	if cmd.Err != nil {
		t.Fatalf("%v; to install it: %s", cmd.Err, install)
	}
	p := &process{cmd: cmd, stderr: newRecord(), done: make(chan struct{})}
	p.cmd.Stderr = p.stderr
	p.stdin = must(p.cmd.StdinPipe())(t)
	// A pipe of our own: Wait closes that of StdoutPipe under its reader.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.stdout = w, bufio.NewReader(r)
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatalf("%v; to install it: %s", err, install)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		r.Close()
		if t.Failed() {
			said := p.stderr.String()
			t.Logf("%s wrote to its standard error, at the end:\n%s", cmd.Path, said[max(0, len(said)-2000):])
		}
	})
	return p
}

// must returns v of a call that returned (v, err), or ends the test.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// kill ends the program at once and waits for that.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// within does f, which waits for the program. It gives up with ctx by killing
// the program, which unblocks f.
func (p *process) within(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	err := f()
	return errors.Join(err, ctx.Err())
}

// waitLine returns the first line of r that has prefix.
func waitLine(r *bufio.Reader, prefix string) (string, error) {
	for {
		line, err := r.ReadString('\n')
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSpace(line), nil
		}
		if err != nil {
			return "", fmt.Errorf("no line %q...: %w", prefix, err)
		}
	}
}

// processClient makes a client of a program that reads a job per line and
// prints a line with what it saw.
func processClient(t *testing.T, install, name string, args ...string) client {
	p := start(t, install, name, args...)
	return func(ctx context.Context, j job) (events []event, err error) {
		err = p.within(ctx, func() error {
			if err := json.NewEncoder(p.stdin).Encode(j); err != nil {
				return err
			}
			line, err := p.stdout.ReadBytes('\n')
			if err != nil {
				return fmt.Errorf("the program ended: %w", err)
			}
			events, err = parseAnswer(line)
			return err
		})
		return events, err
	}
}

// parseAnswer reads what a client in another language saw.
func parseAnswer(b []byte) ([]event, error) {
	var answer struct {
		Events []event
		Error  string
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("%w in %q", err, b)
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return answer.Events, nil
}

// processServer makes a server of a program that prints "listening on" and its
// address, and then a line for each connection that has ended.
func processServer(t *testing.T, install, name string, args ...string) *server {
	t.Helper()
	p := start(t, install, name, args...)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := &server{ends: newEndings()}
	err := p.within(ctx, func() error {
		line, err := waitLine(p.stdout, "listening on ")
		s.url = "ws://" + strings.TrimPrefix(line, "listening on ") + "/"
		return err
	})
	if err != nil {
		t.Fatalf("%s does not listen: %v\n%s", name, err, p.stderr)
	}
	go func() {
		for {
			line, err := p.stdout.ReadBytes('\n')
			var end ending
			if json.Unmarshal(line, &end) == nil {
				s.ends.report(end)
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// A record keeps what is written to it and tells who waits for a line.
type record struct {
	mu   sync.Mutex
	more chan struct{} // closed and replaced at each Write
	buf  bytes.Buffer
}

func newRecord() *record { return &record{more: make(chan struct{})} }

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.more)
	r.more = make(chan struct{})
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// wait returns the rest of the first complete line with prefix in it.
func (r *record) wait(ctx context.Context, prefix string, done <-chan struct{}) (string, error) {
	for {
		r.mu.Lock()
		text, more := r.buf.String(), r.more
		r.mu.Unlock()
		if _, rest, ok := strings.Cut(text, prefix); ok {
			if line, _, ok := strings.Cut(rest, "\n"); ok {
				return strings.TrimSpace(line), nil
			}
		}
		select {
		case <-more:
		case <-done:
			return "", fmt.Errorf("the program ended without saying %q; it said %q", prefix, text)
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for %q: %w; got %q", prefix, ctx.Err(), text)
		}
	}
}
