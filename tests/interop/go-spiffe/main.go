// A workload written with go-spiffe: prints what the Workload API tells it, a JSON document a line.
//
//	watch SOCKET                  X.509 contexts, at every change
//	fetch SOCKET                  one X.509 context
//	jwt SOCKET AUDIENCE [ID]      JWT-SVIDs
//	validate SOCKET AUDIENCE TOKEN  what the agent says of a token
//	verify SOCKET AUDIENCE TOKEN  what go-spiffe says of it, by the bundles the agent serves
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[3:]); err != nil {
		tell(map[string]any{"error": err.Error(), "code": status.Code(err).String()})
		os.Exit(1)
	}
}

func run(ctx context.Context, mode string, args []string) error {
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix://"+os.Args[2]))
	if err != nil {
		return err
	}
	defer client.Close()
	switch mode {
	case "watch":
		return client.WatchX509Context(ctx, watcher{})
	case "fetch":
		found, err := client.FetchX509Context(ctx)
		if err != nil {
			return err
		}
		tellX509(found)
		return nil
	case "jwt":
		params := jwtsvid.Params{Audience: args[0]}
		if len(args) > 1 {
			params.Subject = spiffeid.RequireFromString(args[1])
		}
		svids, err := client.FetchJWTSVIDs(ctx, params)
		if err != nil {
			return err
		}
		for _, svid := range svids {
			tell(map[string]any{"id": svid.ID.String(), "audience": svid.Audience, "expiresAtMs": svid.Expiry.UnixMilli(), "hint": svid.Hint, "token": svid.Marshal()})
		}
		return nil
	case "validate":
		svid, err := client.ValidateJWTSVID(ctx, args[1], args[0])
		if err != nil {
			return err
		}
		tell(map[string]any{"id": svid.ID.String(), "claims": svid.Claims})
		return nil
	case "verify":
		bundles, err := client.FetchJWTBundles(ctx)
		if err != nil {
			return err
		}
		svid, err := jwtsvid.ParseAndValidate(args[1], bundles, []string{args[0]})
		if err != nil {
			return err
		}
		tell(map[string]any{"id": svid.ID.String()})
		return nil
	}
	return fmt.Errorf("no mode %q", mode)
}

type watcher struct{}

func (watcher) OnX509ContextUpdate(found *workloadapi.X509Context) { tellX509(found) }

func (watcher) OnX509ContextWatchError(err error) {
	tell(map[string]any{"error": err.Error(), "code": status.Code(err).String()})
}

// tellX509 prints the context, each SVID verified against the bundles that came with it.
func tellX509(found *workloadapi.X509Context) {
	svids := []map[string]any{}
	for _, svid := range found.SVIDs {
		_, _, err := x509svid.Verify(svid.Certificates, found.Bundles)
		svids = append(svids, map[string]any{"id": svid.ID.String(), "hint": svid.Hint, "serial": svid.Certificates[0].SerialNumber.Text(16), "verifies": err == nil})
	}
	bundles := map[string]int{}
	for _, bundle := range found.Bundles.Bundles() {
		bundles[bundle.TrustDomain().Name()] = len(bundle.X509Authorities())
	}
	tell(map[string]any{"svids": svids, "bundles": bundles})
}

func tell(document any) {
	text, err := json.Marshal(document)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
