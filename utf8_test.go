package websocket

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// openings holds every proper prefix of every code point's encoding, the empty
// one included: what may stand at the end of a text that goes on.
var openings = sync.OnceValue(func() map[string]bool {
	m := make(map[string]bool)
	for r := rune(0); r <= utf8.MaxRune; r++ {
		s := utf8.AppendRune(nil, r)
		if r >= 0xD800 && r <= 0xDFFF {
			continue // surrogates have no encoding
		}
		for i := range s {
			m[string(s[:i])] = true
		}
	}
	return m
})

// viable is the slow reference for validator: it reports whether some
// continuation, maybe the empty one, makes p valid UTF-8.
func viable(p []byte) bool {
	for len(p) > utf8.UTFMax || !openings()[string(p)] {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			return false
		}
		p = p[size:]
	}
	return true
}

// firstImpossible returns the index of the first byte of p that no byte behind
// it can make right, or len(p) if there is none.
func firstImpossible(p []byte) int {
	start := 0 // of the code point under way
	for i := range p {
		switch {
		case utf8.Valid(p[start : i+1]):
			start = i + 1
		case !openings()[string(p[start:i+1])]:
			return i
		}
	}
	return len(p)
}

// checkValidator feeds data to a validator in pieces of the sizes that next
// returns, and compares with the references.
func checkValidator(t *testing.T, data []byte, next func() int) {
	t.Helper()
	bad := firstImpossible(data)
	var v validator
	for from := 0; from < len(data); {
		to := min(len(data), from+next())
		got, want := v.write(data[from:to]), bad >= to
		if got != want {
			t.Fatalf("% x: write of bytes %d to %d = %t, want %t: first impossible byte at %d", data, from, to, got, want, bad)
		}
		if !got {
			return
		}
		from = to
	}
	if got, want := v.done(), utf8.Valid(data); got != want {
		t.Fatalf("% x: done = %t, want %t", data, got, want)
	}
	if !v.write([]byte("ok")) || !v.done() {
		t.Fatalf("% x: the text after it is judged together with it", data)
	}
}

// checkEverySplit checks data whole, byte by byte, and cut at every place in
// two and in three.
func checkEverySplit(t *testing.T, data []byte) {
	t.Helper()
	for i := 0; i <= len(data); i++ {
		for j := i; j <= len(data); j++ {
			pieces := []int{i, j - i}
			checkValidator(t, data, func() int {
				if len(pieces) == 0 {
					return len(data)
				}
				n := pieces[0]
				pieces = pieces[1:]
				return n
			})
		}
	}
	checkValidator(t, data, func() int { return 1 })
}

// utf8Rows are texts with the index of their first impossible byte; len(text)
// if it only lacks its end; -1 if it is valid.
var utf8Rows = []struct {
	name, wire string
	bad        int
}{
	{"U1 FF", "ff", 0},
	{"U1 FE", "fe", 0},
	{"U1 FF after ASCII", "61 62 ff 63", 2},
	{"U1 overlong NUL C0 80", "c0 80", 0},
	{"U1 overlong C1 BF", "c1 bf", 0},
	{"U1 overlong E0 80 80", "e0 80 80", 1},
	{"U1 overlong E0 9F BF", "e0 9f bf", 1},
	{"U1 overlong F0 80 80 80", "f0 80 80 80", 1},
	{"U1 overlong F0 8F BF BF", "f0 8f bf bf", 1},
	{"U1 surrogate ED A0 80", "ed a0 80", 1},
	{"U1 surrogate ED BF BF", "ed bf bf", 1},
	{"U1 surrogate pair", "ed a0 80 ed b0 80", 1},
	{"U1 past U+10FFFF F4 90 80 80", "f4 90 80 80", 1},
	{"U1 F5", "f5 80 80 80", 0},
	{"U1 five bytes F8", "f8 88 80 80 80", 0},
	{"U1 six bytes FC", "fc 84 80 80 80 80", 0},
	{"U1 lone continuation 80", "80", 0},
	{"U1 lone continuation BF behind a code point", "c3 a9 bf", 2},
	{"U1 code point cut by ASCII", "e2 82 41", 2},
	{"U1 code point cut by another", "f0 9f c3 a9", 2},
	{"U1 RFC 3629 text with a surrogate (6.4.1)", "ce ba e1 bd b9 cf 83 ce bc ce b5 f4 90 80 80 65", 12},

	{"U4 C2 alone", "c2", 1},
	{"U4 DF alone", "df", 1},
	{"U4 E2 82", "e2 82", 2},
	{"U4 F0", "f0", 1},
	{"U4 F0 9F", "f0 9f", 2},
	{"U4 F0 9F 98 behind text", "61 f0 9f 98", 4},

	{"U7 empty", "", -1},
	{"U7 NUL", "00", -1},
	{"U7 U+007F", "7f", -1},
	{"U7 U+0080", "c2 80", -1},
	{"U7 U+07FF", "df bf", -1},
	{"U7 U+0800", "e0 a0 80", -1},
	{"U7 U+D7FF", "ed 9f bf", -1},
	{"U7 U+E000", "ee 80 80", -1},
	{"U7 U+FEFF", "ef bb bf", -1},
	{"U7 U+FFFD", "ef bf bd", -1},
	{"U7 U+FFFE", "ef bf be", -1},
	{"U7 U+FFFF", "ef bf bf", -1},
	{"U7 U+10000", "f0 90 80 80", -1},
	{"U7 U+10FFFF", "f4 8f bf bf", -1},
	{"U2 one code point of each length", "24 c2 a2 e2 82 ac f0 90 8d 88", -1},
	{"U2 Greek", "ce ba e1 bd b9 cf 83 ce bc ce b5", -1},
}

func TestValidator(t *testing.T) {
	for _, row := range utf8Rows {
		t.Run(row.name, func(t *testing.T) {
			data := unhex(t, row.wire)
			bad, valid := row.bad, row.bad < 0
			if valid {
				bad = len(data)
			}
			// The references must agree with the table before they judge.
			if got := firstImpossible(data); got != bad {
				t.Fatalf("firstImpossible(%s) = %d, want %d", row.wire, got, bad)
			}
			if got := utf8.Valid(data); got != valid {
				t.Fatalf("utf8.Valid(%s) = %t, want %t", row.wire, got, valid)
			}
			checkEverySplit(t, data)
			// Far from the start, and with more behind it.
			checkEverySplit(t, append([]byte("0123456"), data...))
			checkEverySplit(t, append(data, "Z\u00e9"...))
		})
	}
}

// The two references are written differently: they must say the same.
func TestValidator_references(t *testing.T) {
	for _, row := range utf8Rows {
		data := unhex(t, row.wire)
		bad := firstImpossible(data)
		for n := range len(data) + 1 {
			if got, want := viable(data[:n]), n <= bad; got != want {
				t.Errorf("%s: viable(% x) = %t, want %t", row.name, data[:n], got, want)
			}
		}
	}
}

// TestValidator_codePoints is U2: every code point at the borders of its
// class, and a sample of the others, cut at every byte between two others.
func TestValidator_codePoints(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		border := r&0x3F == 0 || r&0x3F == 0x3F
		if !border && r > 0x900 || !utf8.ValidRune(r) {
			continue
		}
		s := utf8.AppendRune([]byte("é"), r)
		for cut := range s {
			var v validator
			if !v.write(s[:cut]) || !v.write(s[cut:]) || !v.done() {
				t.Fatalf("%U (% x) cut at %d is refused, want it valid", r, s, cut)
			}
		}
	}
}

// TestValidator_sequences is S13 without the frames: all sequences of one and
// two bytes, and all of three and four over the bytes that matter, at every
// split.
func TestValidator_sequences(t *testing.T) {
	edges := unhex(t, "00 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	for _, a := range all {
		checkEverySplit(t, []byte{a})
		for _, b := range all {
			checkEverySplit(t, []byte{a, b})
		}
	}
	for _, a := range edges {
		for _, b := range edges {
			for _, c := range edges {
				checkEverySplit(t, []byte{a, b, c})
				if a < 0xE0 { // four bytes matter behind a long start
					continue
				}
				for _, d := range edges {
					checkEverySplit(t, []byte{a, b, c, d})
				}
			}
		}
	}
}

// A long text must not hide a fault at its end, whatever its length.
func TestValidator_long(t *testing.T) {
	for n := range 70 {
		text := strings.Repeat("a", n)
		for _, tail := range []string{"\xff", "é\xff", "\xf0\x9f\x98", "\U0001F600"} {
			t.Run(fmt.Sprintf("%d+%x", n, tail), func(t *testing.T) {
				data := []byte(text + tail)
				checkValidator(t, data, func() int { return len(data) })
				checkValidator(t, data, func() int { return 8 })
			})
		}
	}
}
