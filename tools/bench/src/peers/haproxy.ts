// HAProxy as a peer: its configuration for each kind of work.
import type { HttpSpec, MutualTls, ProxySpec, SniSpec } from './proxy-spec.ts';

/** The whole `haproxy.cfg`. `connections` is how many callers it must be able to hold. */
export function haproxyConfig(spec: ProxySpec, settings: { readonly connections: number }): string {
  return `global
  nbthread ${spec.threads}
  maxconn ${settings.connections}
  # Bulk goes through pipes in the kernel; the pipes are made as needed.
  maxpipes 64
  tune.pipesize 1048576
  tune.h2.max-concurrent-streams 256
  ssl-server-verify required
defaults
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout http-request 10s
  timeout http-keep-alive 1h
  maxconn ${settings.connections}
${spec.kind === 'sni' ? tcpSections(spec) : httpSections(spec)}`;
}

function tcpSections(spec: SniSpec): string {
  return `frontend in
  mode tcp
  bind 127.0.0.1:${spec.listenPort} backlog 4096
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend out if { req.ssl_sni -i ${spec.serverName} }
backend out
  mode tcp
  option splice-auto
  server one 127.0.0.1:${spec.upstreamPort}
`;
}

function httpSections(spec: HttpSpec): string {
  const isHttp2 = spec.version === '2';
  const accept = spec.accept === undefined ? (isHttp2 ? ' proto h2' : '') : acceptTls(spec.accept, isHttp2 ? 'h2' : 'http/1.1');
  const dial = spec.dial === undefined ? (isHttp2 ? ' proto h2' : '') : dialTls(spec.dial, isHttp2 ? 'h2' : 'http/1.1');
  return `frontend in
  mode http
  bind 127.0.0.1:${spec.listenPort} backlog 4096${accept}
  default_backend out
backend out
  mode http
  http-reuse always
  server one 127.0.0.1:${spec.upstreamPort}${dial}
`;
}

function acceptTls(tls: MutualTls, alpn: string): string {
  return ` ssl crt ${tls.pemFile} ca-file ${tls.caFile} verify required ssl-min-ver TLSv1.3 alpn ${alpn}`;
}

function dialTls(tls: MutualTls, alpn: string): string {
  return ` ssl crt ${tls.pemFile} ca-file ${tls.caFile} verify required verifyhost ${tls.peerName} sni str(${tls.peerName}) ssl-min-ver TLSv1.3 alpn ${alpn}`;
}
