// Envoy as a peer: its configuration for each kind of work, as JSON, which Envoy reads as YAML.
import type { HttpSpec, MutualTls, ProxySpec, SniSpec } from './proxy-spec.ts';

const TYPES = 'type.googleapis.com/envoy.extensions';

/** The whole bootstrap. Threads are a flag, `--concurrency`. */
export function envoyConfig(spec: ProxySpec): string {
  const upstream = { address: { socket_address: { address: '127.0.0.1', port_value: spec.upstreamPort } } };
  const cluster = {
    name: 'backend',
    type: 'STATIC',
    connect_timeout: '2s',
    load_assignment: { cluster_name: 'backend', endpoints: [{ lb_endpoints: [{ endpoint: upstream }] }] },
    // The limits that are there by default would refuse thousands of connections at once.
    circuit_breakers: { thresholds: [{ max_connections: 1_000_000, max_pending_requests: 1_000_000, max_requests: 1_000_000 }] },
    ...(spec.kind === 'http' && httpCluster(spec)),
  };
  const listener = {
    name: 'in',
    address: { socket_address: { address: '127.0.0.1', port_value: spec.listenPort } },
    tcp_backlog_size: 4_096,
    ...(spec.kind === 'sni' ? sniListener(spec) : httpListener(spec)),
  };
  return JSON.stringify({ static_resources: { listeners: [listener], clusters: [cluster] } }, undefined, 2);
}

function sniListener(spec: SniSpec): object {
  return {
    listener_filters: [{ name: 'envoy.filters.listener.tls_inspector', typed_config: { '@type': `${TYPES}.filters.listener.tls_inspector.v3.TlsInspector` } }],
    filter_chains: [
      {
        filter_chain_match: { server_names: [spec.serverName] },
        filters: [{ name: 'envoy.filters.network.tcp_proxy', typed_config: { '@type': `${TYPES}.filters.network.tcp_proxy.v3.TcpProxy`, stat_prefix: 'in', cluster: 'backend' } }],
      },
    ],
  };
}

function httpListener(spec: HttpSpec): object {
  const manager = {
    '@type': `${TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 'in',
    codec_type: spec.version === '2' ? 'HTTP2' : 'HTTP1',
    generate_request_id: false,
    http2_protocol_options: { max_concurrent_streams: 256 },
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'backend', timeout: '0s' } }] }] },
    http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPES}.filters.http.router.v3.Router`, suppress_envoy_headers: true } }],
  };
  const chain = { filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] };
  if (spec.accept === undefined) return { filter_chains: [chain] };
  const tls = {
    '@type': `${TYPES}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    common_tls_context: commonTls(spec.accept, spec.version, false),
  };
  return { filter_chains: [{ ...chain, transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: tls } }] };
}

function httpCluster(spec: HttpSpec): object {
  const protocol = spec.version === '2' ? { http2_protocol_options: { max_concurrent_streams: 256 } } : { http_protocol_options: {} };
  const options = { '@type': `${TYPES}.upstreams.http.v3.HttpProtocolOptions`, explicit_http_config: protocol };
  const tls = spec.dial && { '@type': `${TYPES}.transport_sockets.tls.v3.UpstreamTlsContext`, sni: spec.dial.peerName, common_tls_context: commonTls(spec.dial, spec.version, true) };
  return {
    typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': options },
    ...(tls && { transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: tls } }),
  };
}

function commonTls(tls: MutualTls, version: '1.1' | '2', checksName: boolean): object {
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    alpn_protocols: [version === '2' ? 'h2' : 'http/1.1'],
    tls_certificates: [{ certificate_chain: { filename: tls.certFile }, private_key: { filename: tls.keyFile } }],
    validation_context: {
      trusted_ca: { filename: tls.caFile },
      ...(checksName && { match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: tls.peerName } }] }),
    },
  };
}
