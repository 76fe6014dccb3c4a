package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

const prefix = "/clusters/prod"

// reverse is what a Go programmer writes first: httputil.ReverseProxy, a client certificate in,
// impersonation headers out. It records nothing.
func reverse(arguments []string) error {
	flags := flag.NewFlagSet("reverse", flag.ExitOnError)
	directory := flags.String("certs", "", "directory of the certificates")
	target := flags.String("backend", "", "address of the API server")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	server, err := serverConfig(*directory)
	if err != nil {
		return err
	}
	client, err := clientConfig(*directory, "proxy")
	if err != nil {
		return err
	}
	upstream := &url.URL{Scheme: "https", Host: *target}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(upstream)
			request.Out.URL.Path = strings.TrimPrefix(request.In.URL.Path, prefix)
			for name := range request.Out.Header {
				if strings.HasPrefix(name, "Impersonate-") {
					request.Out.Header.Del(name)
				}
			}
			subject := request.In.TLS.PeerCertificates[0].Subject
			request.Out.Header.Set("Impersonate-User", subject.CommonName)
			for _, group := range subject.Organization {
				request.Out.Header.Add("Impersonate-Group", group)
			}
		},
		Transport: &http.Transport{
			TLSClientConfig:     client,
			MaxIdleConns:        4096,
			MaxIdleConnsPerHost: 4096,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		ErrorLog: log.Default(),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("ready", listener.Addr())
	return (&http.Server{Handler: proxy, TLSConfig: server}).ServeTLS(listener, "", "")
}
