package peers

import (
	"fmt"
	"strings"
)

// subprotocol is the only one that every server of these tests speaks.
const subprotocol = "v2.peers.test"

// mixed has characters of one, two, three and four bytes: ten bytes in all.
const mixed = "aé€😀"

// longReason is as long as a reason may be: 123 bytes.
var longReason = strings.Repeat("é", 61) + "!"

// scenarios are what every pair of a server and a client goes through.
var scenarios = func() []scenario {
	bye := clientCloses(1000, "bye")
	list := []scenario{
		talk("conversation", echoText("one"), echoText("two"), echo("binary", "", 3), echoText("three"), bye),
		talk("text non-ASCII", echoText("Grüße, 世界 😀"), echo("text", mixed, 10), echo("text", mixed, 65540), bye),
		// Characters that careless validators refuse, and a byte order mark
		// where no decoder may take it for one.
		talk("text odd characters", echoText("a\x00b \uFEFF \uFFFE \uFFFF \U0010FFFF \uD7FF \uE000"), bye),
		talk("burst", burst(200), bye),
		talk("fragments text", fragments("text", mixed, 300000, 7, false), bye),
		talk("fragments binary", fragments("binary", "", 300001, 10, false), bye),
		talk("fragments around pings", fragments("text", mixed, 300000, 4, true), bye),
		talk("server fragments text", serverFragments("text", mixed, 300000, 7), bye),
		talk("server fragments binary", serverFragments("binary", "", 300001, 10), bye),
		talk("client pings", clientPings(), echoText("between"), clientPings(), bye),
		talk("server pings", serverPings(), echoText("between"), serverPings(), bye),
		talk("subprotocol none", replies("text", []byte{}, "!subprotocol"), bye),
		talk("server floods and closes", serverFloods(100, 20000, 4001)),
		talk("client cuts", echoText("before"), clientCuts()),
		talk("server cuts", echoText("before"), serverCuts()),
	}
	agreed := talk("subprotocol agreed", replies("text", []byte(subprotocol), "!subprotocol"), bye)
	agreed.offer = []string{"v1.peers.test", subprotocol, "v3.peers.test"}
	list = append(list, agreed)
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20} {
		list = append(list,
			talk(fmt.Sprintf("text %d", size), echo("text", "0123456789abcdef-", size), bye),
			talk(fmt.Sprintf("binary %d", size), echo("binary", "", size), bye))
	}
	return append(list, closings()...)
}()

// closings are the ways to end a connection with a closing handshake, from
// each side.
func closings() []scenario {
	reasons := []struct {
		code   int
		reason string
	}{
		{1000, ""},
		{1000, "done"},
		{1001, "going away"},
		{1005, ""}, // an empty close frame
		{1011, "internal"},
		{3000, "Auf Wiedersehen, 再见 😀"},
		{4999, longReason},
	}
	var list []scenario
	for _, r := range reasons {
		name := fmt.Sprintf("closes %d", r.code)
		if r.reason != "" {
			name += " with reason"
		}
		list = append(list,
			talk("client "+name, echoText("before"), clientCloses(r.code, r.reason)),
			talk("server "+name, echoText("before"), serverCloses(r.code, r.reason)),
			// At once after the opening handshake, before any message.
			talk("client at once "+name, clientCloses(r.code, r.reason)))
	}
	return list
}
