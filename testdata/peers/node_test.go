package peers

import (
	"os"
	"testing"
)

// node fails the test unless the packages of package-lock.json are there.
func node(t *testing.T) (install, name string) {
	t.Helper()
	for _, dir := range []string{"node_modules/ws", "node_modules/undici"} {
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("%v; to install it: (cd testdata/peers && npm ci)", err)
		}
	}
	return "apt-get install -y nodejs npm", "node"
}

func TestNodeWS(t *testing.T) {
	install, node := node(t)
	t.Run("server=ours", func(t *testing.T) {
		pairing{
			server: goServer(t, ours.accept),
			client: processClient(t, install, node, "js/clients.mjs", "ws"),
		}.run(t)
	})
	t.Run("client=ours", func(t *testing.T) {
		pairing{
			server: processServer(t, install, node, "js/server.mjs"),
			client: goClient(ours.dial),
		}.run(t)
	})
}

// What the WebSocket API of browsers does not offer to scripts.
const (
	noFrames    = "the API of browsers has no frames"
	noPing      = "the API of browsers has no pings"
	noCut       = "the API of browsers always closes with a handshake"
	noOtherCode = "the API of browsers takes 1000 and 3000 to 4999 only"
)

var browserLacks = map[string]string{
	"fragments":  noFrames,
	"ping":       noPing,
	"cut":        noCut,
	"close 1001": noOtherCode,
	"close 1011": noOtherCode,
}

func TestUndici(t *testing.T) {
	install, node := node(t)
	t.Run("server=ours", func(t *testing.T) {
		pairing{
			server: goServer(t, ours.accept),
			client: processClient(t, install, node, "js/clients.mjs", "undici"),
			lacks:  browserLacks,
		}.run(t)
	})
}
