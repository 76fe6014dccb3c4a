// Command bench is the far side of the benchmark: an API server stand-in, a load generator, and the
// plain Go proxy that the product is compared with. Standard library only, loopback only.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: bench backend|reverse|load [flags]"))
	}
	arguments := os.Args[2:]
	var err error
	switch os.Args[1] {
	case "backend":
		go endWithParent()
		err = backend(arguments)
	case "reverse":
		go endWithParent()
		err = reverse(arguments)
	case "load":
		err = load(arguments)
	default:
		err = fmt.Errorf("no such command: %s", os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

// endWithParent exits when standard input ends: whoever started us holds the other end of it.
func endWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// pair loads a certificate with its key, and the authority, from the directory of the benchmark.
func pair(directory, name string) (tls.Certificate, *x509.CertPool, error) {
	both := filepath.Join(directory, name+".pem")
	certificate, err := tls.LoadX509KeyPair(both, both)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	text, err := os.ReadFile(filepath.Join(directory, "ca.pem"))
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return tls.Certificate{}, nil, errors.New("no certificate in ca.pem")
	}
	return certificate, pool, nil
}

// serverConfig demands a client certificate of our authority.
func serverConfig(directory string) (*tls.Config, error) {
	certificate, pool, err := pair(directory, "server")
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"http/1.1"},
	}, nil
}

// clientConfig shows a client certificate and verifies the server.
func clientConfig(directory, name string) (*tls.Config, error) {
	certificate, pool, err := pair(directory, name)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{certificate},
		RootCAs:      pool,
		ServerName:   "localhost",
		NextProtos:   []string{"http/1.1"},
	}, nil
}
