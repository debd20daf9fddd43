package peers

import (
	"os/exec"
	"testing"
)

// python is the interpreter of Debian, which sees Debian's packages.
const python = "/usr/bin/python3"

func pythonWebsockets(t *testing.T) (install string) {
	t.Helper()
	install = "apt-get install -y python3-websockets"
	if out, err := exec.Command(python, "-c", "import websockets").CombinedOutput(); err != nil {
		t.Fatalf("python websockets: %v: %s; to install it: %s", err, out, install)
	}
	return install
}

func TestPythonWebsockets(t *testing.T) {
	install := pythonWebsockets(t)
	t.Run("server=ours", func(t *testing.T) {
		pairing{
			server: goServer(t, ours.accept),
			client: processClient(t, install, python, "py/client.py"),
		}.run(t)
	})
	t.Run("client=ours", func(t *testing.T) {
		pairing{
			server: processServer(t, install, python, "py/server.py"),
			client: goClient(ours.dial),
		}.run(t)
	})
}
