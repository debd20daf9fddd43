package websocket

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// A StatusCode says why a connection was closed. See RFC 6455, section 7.4,
// and the registry that IANA keeps for it.
type StatusCode uint16

// The registered status codes. Those marked "never sent" only describe, on one
// side, how a connection ended: they may not stand in a close frame.
// Applications use 3000 to 3999 (registered with IANA) and 4000 to 4999 (their
// own).
const (
	StatusNormalClosure       StatusCode = 1000 // the purpose is fulfilled
	StatusGoingAway           StatusCode = 1001 // a server stops, or a page is left
	StatusProtocolError       StatusCode = 1002 // the peer broke RFC 6455
	StatusUnsupportedData     StatusCode = 1003 // a type of message that is not taken here
	StatusNoStatusReceived    StatusCode = 1005 // never sent: the close frame was empty
	StatusAbnormalClosure     StatusCode = 1006 // never sent: no close frame came
	StatusInvalidPayload      StatusCode = 1007 // the data does not fit the type: text that is not UTF-8
	StatusPolicyViolation     StatusCode = 1008 // a rule of the application, or a bound without a code of its own
	StatusMessageTooBig       StatusCode = 1009 // more than the receiver takes
	StatusMandatoryExtension  StatusCode = 1010 // the client needs an extension that the server did not agree to
	StatusInternalError       StatusCode = 1011 // the sender of the code failed
	StatusServiceRestart      StatusCode = 1012 // reconnect after a pause
	StatusTryAgainLater       StatusCode = 1013 // overload
	StatusBadGateway          StatusCode = 1014 // the server behind this one failed
	StatusTLSHandshakeFailure StatusCode = 1015 // never sent: TLS failed
)

// MaxCloseReason is how many bytes a close reason may have: a control frame
// carries 125 bytes, of which the status code takes two. See RFC 6455,
// section 5.5.
const MaxCloseReason = maxControlPayload - 2

var statusNames = map[StatusCode]string{
	StatusNormalClosure:       "normal closure",
	StatusGoingAway:           "going away",
	StatusProtocolError:       "protocol error",
	StatusUnsupportedData:     "unsupported data",
	StatusNoStatusReceived:    "no status received",
	StatusAbnormalClosure:     "abnormal closure",
	StatusInvalidPayload:      "invalid payload",
	StatusPolicyViolation:     "policy violation",
	StatusMessageTooBig:       "message too big",
	StatusMandatoryExtension:  "mandatory extension",
	StatusInternalError:       "internal error",
	StatusServiceRestart:      "service restart",
	StatusTryAgainLater:       "try again later",
	StatusBadGateway:          "bad gateway",
	StatusTLSHandshakeFailure: "TLS handshake failure",
}

// String returns the number and, if it is registered, the meaning of s, as in
// "1001 going away".
func (s StatusCode) String() string {
	if name, ok := statusNames[s]; ok {
		return fmt.Sprintf("%d %s", uint16(s), name)
	}
	return fmt.Sprintf("%d", uint16(s))
}

// Sendable reports whether s may stand in a close frame: 1000 to 1003, 1007 to
// 1014 and 3000 to 4999. See RFC 6455, section 7.4.2, and the IANA registry,
// which added 1012 to 1014 to the RFC's codes.
func (s StatusCode) Sendable() bool {
	switch {
	case s >= 1000 && s <= 1003, s >= 1007 && s <= 1014:
		return true
	}
	return s >= 3000 && s <= 4999
}

// AppendClosePayload appends the payload of a close frame to b: the code in
// two bytes and the reason. [StatusNoStatusReceived] with an empty reason
// stands for the empty payload. It refuses, with b unchanged, a code that is
// not [StatusCode.Sendable] and a reason that is longer than [MaxCloseReason]
// bytes or not UTF-8. See RFC 6455, section 5.5.1.
func AppendClosePayload(b []byte, code StatusCode, reason string) ([]byte, error) {
	switch {
	case code == StatusNoStatusReceived && reason == "":
		return b, nil
	case !code.Sendable():
		return b, fmt.Errorf("websocket: status code %v may not be sent", code)
	case len(reason) > MaxCloseReason:
		return b, fmt.Errorf("websocket: close reason of %d bytes, want %d at most", len(reason), MaxCloseReason)
	case !utf8.ValidString(reason):
		return b, errors.New("websocket: close reason is not UTF-8")
	}
	b = append(b, byte(code>>8), byte(code))
	return append(b, reason...), nil
}

// ParseClosePayload returns what the payload of a close frame says. An empty
// one means [StatusNoStatusReceived]. The error, a [*ProtocolError], has code
// 1002 for a payload of one byte and for a code that may not be on the wire,
// and 1007 for a reason that is not UTF-8. See RFC 6455, sections 5.5.1, 7.1.5
// and 7.4.
func ParseClosePayload(p []byte) (StatusCode, string, error) {
	switch len(p) {
	case 0:
		return StatusNoStatusReceived, "", nil
	case 1:
		return 0, "", violation("5.5.1", "close payload of 1 byte, want 0, or 2 at least")
	}
	code := StatusCode(p[0])<<8 | StatusCode(p[1])
	if !code.Sendable() {
		return 0, "", violation("7.4", "status code %d in a close frame, want 1000-1003, 1007-1014 or 3000-4999", uint16(code))
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", invalidText("5.5.1", "close reason is not UTF-8")
	}
	return code, string(p[2:]), nil
}

// A CloseError says how the peer ended the connection: Code and Reason are
// what its close frame said, [StatusNoStatusReceived] if that was empty. Code
// [StatusAbnormalClosure] means that the connection was lost without a close
// frame; the error then wraps the cause, [io.ErrUnexpectedEOF] if the stream
// just ended. See RFC 6455, section 7.1.5.
type CloseError struct {
	Code   StatusCode
	Reason string // chosen by the peer: at most 123 bytes of UTF-8
	err    error  // the cause, with code 1006
}

// Error describes the close; what the peer wrote is quoted and cut.
func (e *CloseError) Error() string {
	switch {
	case e.err != nil:
		return fmt.Sprintf("websocket: connection lost (1006): %v", e.err)
	case e.Reason == "":
		return fmt.Sprintf("websocket: closed by peer: %v", e.Code)
	}
	return fmt.Sprintf("websocket: closed by peer: %v: %s", e.Code, quote(e.Reason))
}

// Unwrap returns the cause of a lost connection, or nil.
func (e *CloseError) Unwrap() error { return e.err }

// lost makes the CloseError of a connection that ended without a close frame.
func lost(err error) *CloseError {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &CloseError{Code: StatusAbnormalClosure, err: err}
}

// A ProtocolError says which rule the peer broke. The connection has been
// failed with Code, and nothing of the offending frame was delivered.
type ProtocolError struct {
	Code StatusCode // what the peer was told: 1002, 1007 or 1008
	Rule string     // the section of RFC 6455 that holds the rule, as "5.2"; or "RFC 7692, section 7.2.2"
	Msg  string     // what was expected and what came
}

// Error names the rule and what broke it.
func (e *ProtocolError) Error() string {
	rule := e.Rule
	if !strings.HasPrefix(rule, "RFC ") {
		rule = "RFC 6455, section " + rule
	}
	return fmt.Sprintf("websocket: peer broke %s: %s", rule, e.Msg)
}

// violation makes the error for a broken framing rule. It returns error, not
// *ProtocolError, so that no caller can turn a nil pointer into an error.
func violation(rule, format string, args ...any) error {
	return &ProtocolError{Code: StatusProtocolError, Rule: rule, Msg: fmt.Sprintf(format, args...)}
}

// invalidText makes the error for text that is not UTF-8.
func invalidText(rule, msg string) error {
	return &ProtocolError{Code: StatusInvalidPayload, Rule: rule, Msg: msg}
}

// ErrMessageTooBig is wrapped by the error of a read when a message exceeds
// [Options.ReadLimit]. The peer was told [StatusMessageTooBig].
var ErrMessageTooBig = errors.New("websocket: message too big")

// wireClose returns the code and the reason that a failed connection's close
// frame carries for err. The reason is a constant: an error's text may hold
// what is nobody else's business, and may be too long.
func wireClose(err error) (StatusCode, string) {
	if errors.Is(err, ErrMessageTooBig) {
		return StatusMessageTooBig, "message too big"
	}
	var pe *ProtocolError
	if !errors.As(err, &pe) {
		return StatusInternalError, ""
	}
	switch pe.Code {
	case StatusInvalidPayload:
		if pe.Rule == ruleInflate {
			return pe.Code, "compressed data is invalid"
		}
		return pe.Code, "text is not UTF-8"
	case StatusPolicyViolation:
		return pe.Code, "too many fragments"
	}
	return pe.Code, "protocol error, RFC 6455 section " + pe.Rule
}

// quote makes text that a peer chose fit for an error message.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%.*q…", most, s)
	}
	return fmt.Sprintf("%q", s)
}
