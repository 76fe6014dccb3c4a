// Command etcd is the etcd server, from the module that Kubernetes itself uses as a client.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
