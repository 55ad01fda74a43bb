"""A workload written with py-spiffe: prints what the Workload API tells it, a JSON document a line.

    watch SOCKET                    X.509 contexts, at every change
    fetch SOCKET                    one X.509 context
    jwt SOCKET AUDIENCE             JWT-SVIDs
    validate SOCKET AUDIENCE TOKEN  what the agent says of a token
    verify SOCKET AUDIENCE TOKEN    what py-spiffe says of it, by the bundles the agent serves
"""

import json
import sys
import threading

from spiffe import JwtSvid, TrustDomain, WorkloadApiClient


def tell(document):
    print(json.dumps(document), flush=True)


def tell_x509(context):
    svids = [
        {"id": str(s.spiffe_id), "hint": getattr(s, "hint", None), "serial": format(s.leaf.serial_number, "x"), "chain": len(s.cert_chain)}
        for s in context.x509_svids
    ]
    bundles = {b.trust_domain.name: len(b.x509_authorities) for b in context.x509_bundle_set.bundles}
    tell({"svids": svids, "bundles": bundles})


def run(client, mode, args):
    if mode == "watch":
        client.stream_x509_contexts(tell_x509, lambda error: tell({"error": str(error)}))
        threading.Event().wait(100)
    elif mode == "fetch":
        tell_x509(client.fetch_x509_context())
    elif mode == "jwt":
        for svid in client.fetch_jwt_svids(audience={args[0]}):
            tell({"id": str(svid.spiffe_id), "audience": sorted(svid.audience), "token": svid.token})
    elif mode == "validate":
        svid = client.validate_jwt_svid(token=args[1], audience=args[0])
        tell({"id": str(svid.spiffe_id)})
    elif mode == "verify":
        trust_domain = JwtSvid.parse_insecure(args[1], {args[0]}).spiffe_id.trust_domain
        bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(TrustDomain(trust_domain.name))
        tell({"id": str(JwtSvid.parse_and_validate(args[1], bundle, {args[0]}).spiffe_id)})
    else:
        raise SystemExit(f"no mode {mode}")


def main():
    mode, socket, *args = sys.argv[1:]
    try:
        with WorkloadApiClient(f"unix:{socket}") as client:
            run(client, mode, args)
    except Exception as error:  # Whatever the library makes of a refusal is the answer the test wants.
        tell({"error": f"{type(error).__name__}: {error}"})
        raise SystemExit(1)


main()
