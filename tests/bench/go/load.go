package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Outcome is what one run of the load generator prints.
type Outcome struct {
	Requests int     `json:"requests"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Bytes    int     `json:"bytes"`
	CPU      float64 `json:"cpu_seconds"`
}

type plan struct {
	address string
	tls     *tls.Config
	request []byte
	process int
	warm    time.Duration
	length  time.Duration
}

// load sends one pre-built request over and over, on so many connections at once, each waiting for
// its answer. With -hold it opens that many watches instead, says so, and keeps them open until
// standard input ends.
func load(arguments []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	directory := flags.String("certs", "", "directory of the certificates; empty: plain HTTP")
	address := flags.String("address", "", "where to connect to")
	method := flags.String("method", "GET", "request method")
	path := flags.String("path", "/", "request target")
	body := flags.String("body", "", "request body")
	connections := flags.Int("connections", 1, "connections at once")
	process := flags.Int("process", 0, "process whose CPU time is measured; 0: none")
	warm := flags.Duration("warm", 300*time.Millisecond, "time before measuring")
	length := flags.Duration("length", 2*time.Second, "time to measure")
	hold := flags.Bool("hold", false, "open watches and hold them")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	work := plan{address: *address, process: *process, warm: *warm, length: *length}
	work.request = makeRequest(*method, *path, *body)
	if *directory != "" {
		config, err := clientConfig(*directory, "alice")
		if err != nil {
			return err
		}
		work.tls = config
	}
	opened, err := work.dialAll(*connections)
	if err != nil {
		return err
	}
	if *hold {
		return work.hold(opened)
	}
	outcome, err := work.run(opened)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(outcome)
}

func makeRequest(method, path, body string) []byte {
	head := method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" +
		"User-Agent: kubectl/v1.37.2 (linux/amd64) kubernetes/0a1b2c3\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip\r\n" +
		"Kubectl-Command: kubectl get\r\nKubectl-Session: 9f1d6b1e-7c61-4a8f-9c55-3f1f1f1f1f1f\r\n"
	if body != "" {
		head += "Content-Type: application/merge-patch+json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	return []byte(head + "\r\n" + body)
}

// dialAll connects, a few handshakes at a time.
func (work plan) dialAll(count int) ([]net.Conn, error) {
	opened := make([]net.Conn, count)
	failures := make([]error, count)
	turns := make(chan struct{}, 16)
	var group sync.WaitGroup
	for i := range opened {
		turns <- struct{}{}
		group.Go(func() {
			opened[i], failures[i] = work.dial()
			<-turns
		})
	}
	group.Wait()
	return opened, errors.Join(failures...)
}

func (work plan) dial() (net.Conn, error) {
	connection, err := net.DialTimeout("tcp", work.address, 20*time.Second)
	if err != nil || work.tls == nil {
		return connection, err
	}
	secured := tls.Client(connection, work.tls)
	return secured, secured.Handshake()
}

// hold sends each request, waits until each answer has begun, and then for standard input's end.
func (work plan) hold(opened []net.Conn) error {
	failures := make([]error, len(opened))
	var group sync.WaitGroup
	for i, connection := range opened {
		group.Go(func() { failures[i] = work.begin(connection) })
	}
	group.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	fmt.Println("holding", len(opened))
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// begin waits for the head and the first event of a watch.
func (work plan) begin(connection net.Conn) error {
	if _, err := connection.Write(work.request); err != nil {
		return err
	}
	_ = connection.SetReadDeadline(time.Now().Add(30 * time.Second))
	seen := []byte{}
	buffer := make([]byte, 1024)
	for !bytes.Contains(seen, []byte("BOOKMARK")) {
		size, err := connection.Read(buffer)
		if err != nil {
			return fmt.Errorf("watch: %w after %q", err, seen)
		}
		seen = append(seen, buffer[:size]...)
	}
	return connection.SetReadDeadline(time.Time{})
}

// worker is one connection and what it saw.
type worker struct {
	connection net.Conn
	buffer     []byte
	took       []time.Duration
	bytes      int
	failure    error
}

func (work plan) run(opened []net.Conn) (Outcome, error) {
	workers := make([]*worker, len(opened))
	start := time.Now().Add(work.warm)
	end := start.Add(work.length)
	var group sync.WaitGroup
	for i, connection := range opened {
		workers[i] = &worker{connection: connection, buffer: make([]byte, 64<<10)}
		group.Go(func() { workers[i].work(work.request, start, end) })
	}
	time.Sleep(time.Until(start))
	before := cpu(work.process)
	time.Sleep(time.Until(end))
	used := cpu(work.process) - before
	group.Wait()
	outcome := Outcome{Seconds: work.length.Seconds(), CPU: used.Seconds()}
	var took []time.Duration
	for _, worker := range workers {
		if worker.failure != nil {
			return Outcome{}, worker.failure
		}
		took = append(took, worker.took...)
		outcome.Bytes += worker.bytes
		_ = worker.connection.Close()
	}
	if len(took) == 0 {
		return Outcome{}, errors.New("no request ended in time")
	}
	slices.Sort(took)
	outcome.Requests = len(took)
	outcome.P50 = milliseconds(took[len(took)/2])
	outcome.P99 = milliseconds(took[len(took)*99/100])
	return outcome, nil
}

// work counts requests that ended between start and end.
func (worker *worker) work(request []byte, start, end time.Time) {
	_ = worker.connection.SetDeadline(end.Add(20 * time.Second))
	began := time.Now()
	for began.Before(end) {
		size, err := worker.exchange(request)
		if err != nil {
			worker.failure = err
			return
		}
		now := time.Now()
		if now.After(start) && now.Before(end) {
			worker.took = append(worker.took, now.Sub(began))
			worker.bytes += size
		}
		began = now
	}
}

// exchange sends the request and reads one whole answer; returns the size of its body.
func (worker *worker) exchange(request []byte) (int, error) {
	if _, err := worker.connection.Write(request); err != nil {
		return 0, err
	}
	used := 0
	for {
		size, err := worker.connection.Read(worker.buffer[used:])
		used += size
		if err != nil {
			return 0, err
		}
		end := bytes.Index(worker.buffer[:used], headEnd)
		if end < 0 {
			continue
		}
		head := worker.buffer[:end+2]
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
			return 0, fmt.Errorf("unexpected answer: %s", worker.buffer[:used])
		}
		length := contentLength(head)
		if length < 0 {
			return worker.chunked(worker.buffer[end+4 : used])
		}
		for got := used - end - 4; got < length; got += size {
			if size, err = worker.connection.Read(worker.buffer); err != nil {
				return 0, err
			}
		}
		return length, nil
	}
}

// chunked reads to the last chunk. Our bodies do not hold its bytes.
func (worker *worker) chunked(tail []byte) (int, error) {
	total := len(tail)
	last := append([]byte{}, tail[max(0, len(tail)-7):]...)
	for !bytes.HasSuffix(last, []byte("\r\n0\r\n\r\n")) {
		size, err := worker.connection.Read(worker.buffer)
		if err != nil {
			return 0, err
		}
		total += size
		last = append(last, worker.buffer[max(0, size-7):size]...)
		last = last[max(0, len(last)-7):]
	}
	return total, nil
}

// cpu is the time a process has run so far, all its threads together.
func cpu(process int) time.Duration {
	if process == 0 {
		return 0
	}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", process))
	total := time.Duration(0)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		word, _, _ := bytes.Cut(text, []byte(" "))
		nanoseconds, _ := strconv.ParseInt(string(word), 10, 64)
		total += time.Duration(nanoseconds)
	}
	return total
}

func milliseconds(duration time.Duration) float64 {
	return float64(duration.Nanoseconds()) / 1e6
}
