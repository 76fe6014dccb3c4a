package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
)

const (
	objectBytes = 250
	listBytes   = 13 << 20
)

var (
	headEnd = []byte("\r\n\r\n")
)

// backend answers like an API server, with bodies made once. It does no more than it must, so that
// the proxies in front of it are what is measured.
func backend(arguments []string) error {
	flags := flag.NewFlagSet("backend", flag.ExitOnError)
	directory := flags.String("certs", "", "directory of the certificates")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	config, err := serverConfig(*directory)
	if err != nil {
		return err
	}
	config.DynamicRecordSizingDisabled = true
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("ready", listener.Addr())
	answers := makeAnswers()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(tls.Server(connection, config), answers)
	}
}

type answers struct{ object, list, watch []byte }

func makeAnswers() answers {
	answer := func(size int) []byte {
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nAudit-Id: 6d0ecb3c-55b3-4b09-a5a5-0f4f4f4f4f4f\r\n"+
			"Cache-Control: no-cache, private\r\nContent-Type: application/json\r\n"+
			"X-Kubernetes-Pf-Flowschema-Uid: 7a3d1c4e-3c1f-4b57-8d0e-2b6b6b6b6b6b\r\n"+
			"X-Kubernetes-Pf-Prioritylevel-Uid: 0f7c6a6e-9a7e-4a1d-8f0b-1c1c1c1c1c1c\r\n"+
			"Date: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Length: %d\r\n\r\n", size)
		body := append([]byte(`{"kind":"Pod","data":"`), bytes.Repeat([]byte("x"), size)...)
		copy(body[size-2:], `"}`)
		return append([]byte(head), body[:size]...)
	}
	event := `{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"1"}}}` + "\n"
	watch := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(event), event)
	return answers{answer(objectBytes), answer(listBytes), []byte(watch)}
}

func serve(connection *tls.Conn, answers answers) {
	defer connection.Close()
	buffer := make([]byte, 0, 8192)
	for {
		var end int
		for {
			if end = bytes.Index(buffer, headEnd); end >= 0 {
				break
			}
			if !fill(connection, &buffer) {
				return
			}
		}
		head := buffer[:end+4]
		line := head[:bytes.IndexByte(head, '\r')]
		answer := answers.object
		if bytes.Contains(line, []byte("watch=")) {
			answer = answers.watch
		} else if bytes.Contains(line, []byte("/pods?")) {
			answer = answers.list
		}
		need := len(head)
		if line[0] != 'G' {
			need += contentLength(head)
		}
		for len(buffer) < need {
			if !fill(connection, &buffer) {
				return
			}
		}
		buffer = buffer[:copy(buffer, buffer[need:])]
		if _, err := connection.Write(answer); err != nil {
			return
		}
	}
}

// fill reads more bytes behind those in the buffer.
func fill(connection *tls.Conn, buffer *[]byte) bool {
	used := len(*buffer)
	if used == cap(*buffer) {
		return false
	}
	size, err := connection.Read((*buffer)[used:cap(*buffer)])
	*buffer = (*buffer)[:used+size]
	return err == nil
}

// contentLength reads the header of that name, in any letter case; -1 when there is none.
func contentLength(head []byte) int {
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n')
		if end < 0 {
			break
		}
		if line := head[:end]; len(line) > 15 && (line[0]|0x20) == 'c' && bytes.EqualFold(line[:15], []byte("content-length:")) {
			value := 0
			for _, digit := range bytes.TrimSpace(line[15:]) {
				value = value*10 + int(digit-'0')
			}
			return value
		}
		head = head[end+1:]
	}
	return -1
}
