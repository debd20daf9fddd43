package websocket

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
)

// checkOrigin lets in what may connect by section 10.2: clients that are no
// browsers, pages of this server, and those that the developer named. "A
// connection attempt lacking this header field SHOULD NOT be interpreted as
// coming from a browser client": section 4.2.1, item 7. The refusal says what
// the developer needs to mend it, since the alternative is a CheckOrigin that
// returns true.
func (u *Upgrader) checkOrigin(r *http.Request) error {
	lines := r.Header.Values("Origin")
	switch {
	case len(lines) > 1: // RFC 6454, section 7.3
		return refuse(http.StatusBadRequest, "%d Origin lines, want 1 at most", len(lines))
	case u.CheckOrigin != nil:
		if u.CheckOrigin(r) {
			return nil
		}
		return refuse(http.StatusForbidden, "Upgrader.CheckOrigin refused Origin %s to host %s",
			quote(strings.Join(lines, "")), quote(r.Host))
	case len(lines) == 0:
		return nil
	}
	from, ok := parseOrigin(lines[0])
	if ok && from.reaches(r.Host, r.TLS != nil) {
		return nil
	}
	allowed, err := from.among(u.Origins)
	switch {
	case err != nil:
		return &HandshakeError{Status: http.StatusInternalServerError, Err: err}
	case ok && allowed:
		return nil
	}
	self := r.Host
	if r.TLS != nil {
		self = "https://" + self
	}
	return refuse(http.StatusForbidden, "Origin %s (host %s) may not connect to host %s: "+
		"to let its pages in, list it in Upgrader.Origins; if a proxy rewrites Host, make it pass Host on as it came",
		quote(lines[0]), quote(from.host), quote(self))
}

// An origin is what RFC 6454 compares: all in lower case, and the port as
// digits, with the default one of http and https filled in.
type origin struct{ scheme, host, port string }

// parseOrigin takes "null" or scheme://host[:port], and nothing around it: no
// user, no path, no byte that another parser may cut at. A browser sends
// nothing else (RFC 6454, section 6.2), so that being strict costs nothing, and
// whoever finds a second meaning in an Origin finds it refused.
func parseOrigin(s string) (origin, bool) {
	s = lower(s)
	if s == "null" {
		return origin{scheme: s}, true
	}
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return origin{}, false
	}
	if authority == "" && scheme != "http" && scheme != "https" {
		return origin{scheme: scheme}, true // as "file://"
	}
	return originAt(scheme, authority)
}

// originAt makes the origin of host[:port], in lower case, under a scheme. The
// colons of an IPv6 address are in brackets, and so before the last of those.
func originAt(scheme, authority string) (origin, bool) {
	o := origin{scheme: scheme, host: authority}
	switch scheme {
	case "http":
		o.port = "80"
	case "https":
		o.port = "443"
	}
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		o.host, o.port = authority[:i], authority[i+1:]
		if !isPort(o.port) {
			return origin{}, false
		}
	}
	if !isHost(o.host) {
		return origin{}, false
	}
	return o, true
}

// reaches reports whether o is the origin of a server that was asked by the
// given Host. A proxy may have taken TLS off, so that without TLS both schemes
// are the server's; with TLS, a page that came without could have been forged.
func (o origin) reaches(host string, tls bool) bool {
	if o.scheme != "https" && (o.scheme != "http" || tls) {
		return false
	}
	self, ok := originAt(o.scheme, lower(host))
	return ok && self == o
}

// among reports whether one of the entries of Upgrader.Origins names o. All of
// them are looked at, so that a malformed one is found at the first origin that
// needs the list, and not at the first that passes those before it.
func (o origin) among(entries []string) (bool, error) {
	found := false
	for _, s := range entries {
		const wildcard = "://*."
		plain := strings.Replace(s, wildcard, "://", 1)
		entry, ok := parseOrigin(plain)
		if !ok || plain != s && entry.host == "" {
			return false, fmt.Errorf("Upgrader.Origins holds %s, want scheme://host or scheme://host:port, "+
				"the host perhaps with *. before it", quote(s))
		}
		same := o
		if plain != s {
			_, same.host, _ = strings.Cut(o.host, ".")
		}
		found = found || same == entry
	}
	return found, nil
}

// isScheme reports whether s, in lower case, is a scheme by RFC 3986.
func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && (i == 0 || !isDigit(c) && c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// isHost reports whether s, in lower case, is a name, an IPv4 address or an
// IPv6 address in brackets, in the form in which browsers send them.
func isHost(s string) bool {
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		ip, err := netip.ParseAddr(s[1 : len(s)-1])
		return err == nil && ip.Is6() && ip.Zone() == ""
	}
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && !isDigit(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return s != "" && s[0] != '.' && !strings.Contains(s, "..")
}

// isPort reports whether s is a port number, in the only way to write it.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}
