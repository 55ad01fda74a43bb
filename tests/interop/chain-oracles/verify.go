// Says of each chain on standard input, one JSON object a line, what Go's crypto/x509 makes of it: "ok" or its complaint.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

type request struct {
	Chain [][]byte `json:"chain"`
	Roots [][]byte `json:"roots"`
	NowMs int64    `json:"nowMs"`
}

// judge verifies for servers and for clients: Go takes any one of the usages it is asked about, and an SVID must have both.
func judge(r request) error {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for _, der := range r.Roots {
		if root, err := x509.ParseCertificate(der); err == nil {
			roots.AddCert(root)
		}
	}
	var leaf *x509.Certificate
	for i, der := range r.Chain {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		if i == 0 {
			leaf = cert
		} else {
			intermediates.AddCert(cert)
		}
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options := x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: time.UnixMilli(r.NowMs), KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := leaf.Verify(options); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if err := judge(r); err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok")
		}
	}
}
