//go:build commands

// Package addons names the metrics API, so that `go mod tidy` keeps what it needs.
package addons

import (
	_ "sigs.k8s.io/metrics-server/cmd/metrics-server"
)
