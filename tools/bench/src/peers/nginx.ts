// nginx as a peer: its configuration for each kind of work.
import type { HttpSpec, MutualTls, ProxySpec, SniSpec } from './proxy-spec.ts';

export type NginxSettings = { readonly folder: string; readonly openFiles: number; readonly hasDynamicStream: boolean; readonly modulesFolder: string; /** Whom workers run as, where the master may choose. */ readonly user: string | undefined };

/** The whole `nginx.conf`. */
export function nginxConfig(spec: ProxySpec, settings: NginxSettings): string {
  return `${head(spec.threads, settings, spec.kind === 'sni')}${spec.kind === 'sni' ? streamBlock(spec) : httpBlock(spec, settings)}`;
}

/** A backend for the layer-7 workloads: small static answers, over HTTP/1.1 or HTTP/2, plain or with mutual TLS. Not measured. */
export function nginxBackendConfig(backend: { readonly listenPort: number; readonly version: '1.1' | '2'; readonly tls?: MutualTls }, settings: NginxSettings): string {
  const flags = `${backend.tls === undefined ? '' : ' ssl'}${backend.version === '2' ? ' http2' : ''}`;
  return `${head(1, settings, false)}http {
  access_log off;
${temporaryFolders(settings)}
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  http2_max_concurrent_streams 256;
  server {
    listen 127.0.0.1:${backend.listenPort}${flags} backlog=4096;
${backend.tls === undefined ? '' : serverTls(backend.tls)}
    root ${settings.folder}/www;
    location / { }
    # A gRPC server reads the request before it answers; passing it on once makes nginx do so, and lets a file answer a POST.
    location /grpc/ {
      proxy_pass http://unix:${settings.folder}/files.sock;
      proxy_method GET;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_buffers 64 32k;
      add_trailer grpc-status 0 always;
    }
  }
  server {
    listen unix:${settings.folder}/files.sock;
    default_type application/grpc;
    root ${settings.folder}/www;
  }
}
`;
}

function head(threads: number, settings: NginxSettings, isStream: boolean): string {
  return `${isStream && settings.hasDynamicStream ? `load_module ${settings.modulesFolder}/ngx_stream_module.so;\n` : ''}daemon off;
${settings.user === undefined ? '' : `user ${settings.user};\n`}pid ${settings.folder}/nginx.pid;
error_log stderr error;
worker_processes ${threads};
worker_rlimit_nofile ${settings.openFiles};
events { worker_connections ${settings.openFiles}; use epoll; multi_accept on; }
`;
}

function streamBlock(spec: SniSpec): string {
  return `stream {
  map $ssl_preread_server_name $to { ${spec.serverName} backend; default nowhere; }
  upstream backend { server 127.0.0.1:${spec.upstreamPort}; }
  upstream nowhere { server 127.0.0.1:9; }
  server {
    listen 127.0.0.1:${spec.listenPort} backlog=4096${spec.threads > 1 ? ' reuseport' : ''};
    ssl_preread on;
    tcp_nodelay on;
    proxy_buffer_size 64k;
    proxy_half_close on;
    proxy_timeout 1h;
    proxy_connect_timeout 2s;
    proxy_pass $to;
  }
}
`;
}

function httpBlock(spec: HttpSpec, settings: NginxSettings): string {
  const isHttp2 = spec.version === '2';
  const flags = `${spec.accept === undefined ? '' : ' ssl'}${isHttp2 ? ' http2' : ''}`;
  const scheme = `${isHttp2 ? 'grpc' : 'http'}${spec.dial === undefined ? '' : 's'}`;
  const prefix = isHttp2 ? 'grpc' : 'proxy';
  return `http {
  access_log off;
${temporaryFolders(settings)}
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_max_body_size 0;
  http2_max_concurrent_streams 256;
  upstream backend { server 127.0.0.1:${spec.upstreamPort}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 1h; }
  server {
    listen 127.0.0.1:${spec.listenPort}${flags} backlog=4096${spec.threads > 1 ? ' reuseport' : ''};
${spec.accept === undefined ? '' : serverTls(spec.accept)}
    location / {
      ${prefix}_pass ${scheme}://backend;
${isHttp2 ? '' : '      proxy_http_version 1.1;\n      proxy_set_header Connection "";\n      proxy_set_header Host $host;\n'}${spec.dial === undefined ? '' : clientTls(prefix, spec.dial)}
    }
  }
}
`;
}

function serverTls(tls: MutualTls): string {
  return `    ssl_certificate ${tls.certFile};
    ssl_certificate_key ${tls.keyFile};
    ssl_client_certificate ${tls.caFile};
    ssl_verify_client on;
    ssl_verify_depth 4;
    ssl_protocols TLSv1.3;`;
}

function clientTls(prefix: string, tls: MutualTls): string {
  return `      ${prefix}_ssl_certificate ${tls.certFile};
      ${prefix}_ssl_certificate_key ${tls.keyFile};
      ${prefix}_ssl_trusted_certificate ${tls.caFile};
      ${prefix}_ssl_verify on;
      ${prefix}_ssl_verify_depth 4;
      ${prefix}_ssl_protocols TLSv1.3;
      ${prefix}_ssl_server_name on;
      ${prefix}_ssl_name ${tls.peerName};`;
}

/** nginx makes these at start, and its built-in places may not be ours to write to. */
function temporaryFolders({ folder }: NginxSettings): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${folder}/${name};`).join('\n');
}
