package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// certificate makes a self-signed certificate for 127.0.0.1 and returns the
// files with it and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "websocket peers test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))(t)
	keyDER := must(x509.MarshalPKCS8PrivateKey(key))(t)
	dir := t.TempDir()
	return writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", cert),
		writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", keyDER)
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tlsServer is goServer of our library over TLS.
func tlsServer(t *testing.T, certFile, keyFile string) *server {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{ends: newEndings()}
	h := httptest.NewUnstartedServer(serverHandler(t, s.ends, ours.accept))
	h.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	h.StartTLS()
	t.Cleanup(h.Close)
	s.url = "wss://" + h.Listener.Addr().String() + "/"
	return s
}
