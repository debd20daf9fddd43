package websocket

import (
	"errors"
	"fmt"
	"strings"
)

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// lower returns s with the letters of ASCII in lower case, and no others:
// [strings.ToLower] and [strings.EqualFold] take U+212A for a K.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// isToken reports whether s is a token, as names in HTTP are: RFC 9110,
// section 5.6.2.
func isToken(s string) bool { return s != "" && tokenPrefix(s) == len(s) }

// tokenPrefix returns how many bytes at the start of s may stand in a token.
func tokenPrefix(s string) int {
	for i := range len(s) {
		c := s[i]
		if !isLetter(c|0x20) && !isDigit(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return i
		}
	}
	return len(s)
}

// countToken returns how often the token, given in lower case, is among the
// elements of a list field, over all its lines. Other elements may be anything:
// they are not ours to judge. The time is linear in the length, and nothing is
// kept of it.
func countToken(lines []string, token string) int {
	n := 0
	for _, line := range lines {
		for s := range strings.SplitSeq(line, ",") {
			if lower(strings.Trim(s, " \t")) == token {
				n++
			}
		}
	}
	return n
}

// maxElements bounds the offers and parameters that one list field may hold,
// so that what is kept of a request is small, however long its lines are.
const maxElements = 256

// An extension is an element of Sec-WebSocket-Extensions, with its parameters
// in the order in which they came. See RFC 6455, section 9.1.
type extension struct {
	name   string
	params []extensionParam
}

// An extensionParam is name or name=value. A value is never empty.
type extensionParam struct{ name, value string }

// parseExtensions returns what the lines of Sec-WebSocket-Extensions list, in
// their order. It fails on what is not an extension-list by section 9.1. Empty
// elements do not count, but an element there must be: RFC 2616, section 2.1.
func parseExtensions(lines []string) ([]extension, error) {
	var list []extension
	s := scanner{left: maxElements}
	for _, s.rest = range lines {
		for s.next(',') {
		}
		for s.rest != "" {
			e, err := s.extension()
			if err != nil {
				return nil, fmt.Errorf("Sec-WebSocket-Extensions: %w", err)
			}
			list = append(list, e)
			for s.next(',') {
			}
		}
	}
	if len(lines) > 0 && len(list) == 0 {
		return nil, errors.New("Sec-WebSocket-Extensions: no element, want 1 at least")
	}
	return list, nil
}

// A scanner takes a line of Sec-WebSocket-Extensions apart. Each method takes
// what it names off the front of rest, and spaces before it; none goes back,
// so that the time is linear in the length.
type scanner struct {
	rest string
	left int // elements that may still come
}

// extension takes an extension with its parameters, up to a comma or the end:
//
//	extension = extension-token *( ";" extension-param )
//	extension-param = token [ "=" (token | quoted-string) ]
func (s *scanner) extension() (extension, error) {
	e := extension{name: s.token()}
	if e.name == "" {
		return e, s.malformed("the name of an extension")
	}
	for s.next(';') {
		p := extensionParam{name: s.token()}
		if p.name == "" {
			return e, s.malformed("the name of a parameter")
		}
		if s.next('=') {
			if p.value = s.value(); p.value == "" {
				return e, s.malformed("a token, perhaps quoted,")
			}
		}
		e.params = append(e.params, p)
		s.left--
		if s.left < 0 {
			break
		}
	}
	s.space()
	s.left--
	switch {
	case s.left < 0:
		return e, fmt.Errorf("more than %d elements", maxElements)
	case s.rest != "" && s.rest[0] != ',':
		return e, s.malformed("a comma or a semicolon")
	}
	return e, nil
}

// malformed says what should have come in place of the rest of the line.
func (s *scanner) malformed(want string) error {
	return fmt.Errorf("want %s before %s", want, quote(s.rest))
}

// next takes c, if that is what comes next, and reports whether it did.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// token takes a token, or returns "".
func (s *scanner) token() string {
	s.space()
	n := tokenPrefix(s.rest)
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// value takes a token, or a quoted-string that holds one, or returns "". The
// "value after quoted-string unescaping MUST conform to the 'token' ABNF", so
// that neither a comma nor an end of line ever comes out of quotes.
func (s *scanner) value() string {
	if !s.next('"') {
		return s.token()
	}
	var v []byte
	for i := 0; i < len(s.rest); i++ {
		if s.rest[i] == '"' {
			s.rest = s.rest[i+1:]
			return string(v)
		}
		if s.rest[i] == '\\' && i+1 < len(s.rest) {
			i++
		}
		if !isToken(s.rest[i : i+1]) {
			break
		}
		v = append(v, s.rest[i])
	}
	return ""
}

// space takes what RFC 2616 calls linear white space, within a line.
func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }
