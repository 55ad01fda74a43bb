// An Envoy whose certificate and trust come from an agent's socket: two listeners that end mutual TLS, and one that begins it.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { waitFor } from '@isthmus/harness';

export type EnvoyPlan = {
  readonly socketPath: string;
  readonly directory: string;
  /** Ends mutual TLS for callers of every trust domain, and of its own alone. */
  readonly ports: { readonly admin: number; readonly servesAll: number; readonly servesOwn: number; readonly calls: number };
  /** Where plain requests to `calls` go by mutual TLS, and who must be there. */
  readonly upstream: { readonly port: number; readonly spiffeId: string; readonly serverName: string };
};

export type Envoy = { stat(name: string): Promise<number>; stop(): Promise<void>; readonly logFile: string };

const TYPE = 'type.googleapis.com/envoy.extensions';

function configOf({ socketPath, ports, upstream }: EnvoyPlan): object {
  const source = { resource_api_version: 'V3', api_config_source: { api_type: 'GRPC', transport_api_version: 'V3', grpc_services: [{ envoy_grpc: { cluster_name: 'agent' } }] } };
  const certificate = [{ name: 'default', sds_config: source }];
  const address = (port: number): object => ({ socket_address: { address: '127.0.0.1', port_value: port } });
  const http = (route: object): object => ({
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'http',
      route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...route }] }] },
      http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPE}.filters.http.router.v3.Router` } }],
    },
  });
  const serves = (port: number, trust: string): object => ({
    address: address(port),
    filter_chains: [
      {
        filters: [http({ direct_response: { status: 200, body: { inline_string: 'envoy answers' } } })],
        transport_socket: {
          name: 'envoy.transport_sockets.tls',
          typed_config: {
            '@type': `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
            require_client_certificate: true,
            common_tls_context: { tls_certificate_sds_secret_configs: certificate, validation_context_sds_secret_config: { name: trust, sds_config: source } },
          },
        },
      },
    ],
  });
  return {
    node: { id: 'interop', cluster: 'interop' },
    admin: { address: address(ports.admin) },
    static_resources: {
      listeners: [serves(ports.servesAll, 'ALL'), serves(ports.servesOwn, 'ROOTCA'), { address: address(ports.calls), filter_chains: [{ filters: [http({ route: { cluster: 'service' } })] }] }],
      clusters: [
        {
          name: 'agent',
          typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': { '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`, explicit_http_config: { http2_protocol_options: {} } } },
          load_assignment: { cluster_name: 'agent', endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: socketPath } } } }] }] },
        },
        {
          name: 'service',
          // One connection a request, so that each handshake shows the certificate of its moment.
          typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': { '@type': `${TYPE}.upstreams.http.v3.HttpProtocolOptions`, explicit_http_config: { http_protocol_options: {} }, common_http_protocol_options: { max_requests_per_connection: 1 } } },
          load_assignment: { cluster_name: 'service', endpoints: [{ lb_endpoints: [{ endpoint: { address: address(upstream.port) } }] }] },
          transport_socket: {
            name: 'envoy.transport_sockets.tls',
            typed_config: {
              '@type': `${TYPE}.transport_sockets.tls.v3.UpstreamTlsContext`,
              sni: upstream.serverName,
              common_tls_context: {
                // Envoy begins with TLS 1.2 at most, unless told; Isthmus speaks 1.3 alone.
                tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
                tls_certificate_sds_secret_configs: certificate,
                combined_validation_context: {
                  default_validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: upstream.spiffeId } }] },
                  validation_context_sds_secret_config: { name: 'ALL', sds_config: source },
                },
              },
            },
          },
        },
      ],
    },
  };
}

/** Starts Envoy and resolves when its secrets are there; rejects with its log when they do not come. */
export async function startEnvoy(program: string, plan: EnvoyPlan): Promise<Envoy> {
  const logFile = `${plan.directory}/envoy.log`;
  const log = createWriteStream(logFile);
  const child = spawn(program, ['--config-yaml', JSON.stringify(configOf(plan)), '--disable-hot-restart', '--concurrency', '1', '-l', 'warning'], { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr.pipe(log);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  const stat = async (name: string): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${plan.ports.admin}/stats?filter=${encodeURIComponent(`^${name}$`)}`, { signal: AbortSignal.timeout(5_000) })).text();
    return text.split('\n').reduce((sum, line) => sum + Number(/: (\d+)/.exec(line)?.[1] ?? 0), 0);
  };
  try {
    await waitFor('Envoy to be ready', 60_000, async () => {
      const ready = await fetch(`http://127.0.0.1:${plan.ports.admin}/ready`, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
      return ready?.status === 200 || undefined;
    });
    return { stat, stop, logFile };
  } catch (error) {
    await stop();
    throw error;
  }
}
