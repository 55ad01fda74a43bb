// What a proxy is asked to do in a workload, said once for ours and for every peer.

/** A certificate with its key, and what the other end must prove. */
export type MutualTls = {
  /** Chain in PEM, leaf first. */
  readonly certFile: string;
  readonly keyFile: string;
  /** Chain and key in one file, as HAProxy wants them. */
  readonly pemFile: string;
  readonly caFile: string;
  /** A DNS name in the certificate of the other end, for proxies that check names. */
  readonly peerName: string;
};

/** Layer 4: read the server name of a ClientHello, pass everything on untouched. */
export type SniSpec = { readonly kind: 'sni'; readonly listenPort: number; readonly upstreamPort: number; readonly serverName: string; readonly threads: number };

/** Layer 7: read requests, pass them on over pooled connections. */
export type HttpSpec = {
  readonly kind: 'http';
  readonly version: '1.1' | '2';
  readonly listenPort: number;
  readonly upstreamPort: number;
  readonly threads: number;
  /** Mutual TLS 1.3 with callers; plain without it. */
  readonly accept?: MutualTls;
  /** Mutual TLS 1.3 with the backend; plain without it. */
  readonly dial?: MutualTls;
};

export type ProxySpec = SniSpec | HttpSpec;
