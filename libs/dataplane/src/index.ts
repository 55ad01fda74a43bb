// The data plane's face: listeners, proxies, health checks, DNS.
export { acceptMutualTls, type AcceptMutualTlsOptions, connectMutualTls, type ConnectMutualTlsOptions, resetMutualTls } from './tls/mutual-tls.ts';
export type { Peer } from './tls/judge.ts';
export { type InboundListener, type InboundOptions, type InboundWorkload, startInbound } from './proxy/inbound.ts';
export { type OutboundListener, type OutboundOptions, startOutbound } from './proxy/outbound.ts';
export { type HealthChecks, type HealthChecksOptions, startHealthChecks } from './upstream/health-check.ts';
export { type EastWest, type EastWestOptions, startEastWest } from './proxy/east-west.ts';
export type { EngineKind, ProxyProtocolOptions, RelayLimits, SnapshotSource } from './engine/engine.ts';
export { type Forwarder, openForwarder } from './dns/forward.ts';
export { type DnsOptions, type DnsServer, startDns } from './dns/server.ts';
export { type GatewayLayer7, type GatewayLayer7Options, startGatewayLayer7 } from './worker/gateway-layer7.ts';
export type { HostedCapture, HostedListener } from './worker/proxy-host.ts';
export { type Proxies, type ProxiesOptions, startProxies } from './worker/proxies.ts';
export { type GatewayHttpListener, type GatewayHttpOptions, startGatewayHttp } from './proxy/gateway-http.ts';
export { CAPTURE_HOST, CAPTURE_PORT, type CapturePlan, captureSchema, type CaptureSettings, type CaptureSurroundings, nameserversOf, planCapture } from './capture/plan.ts';
export { type Heartbeat, startHeartbeat } from './capture/heartbeat.ts';
export { DEFAULT_ADDRESS_RANGE, ipv4Range, ipv4Text } from './capture/range.ts';
export { CAPTURE_TABLE, captureRules, captureTable, isAnsweringIn, removalRules } from './capture/rules.ts';
export type { CapturedSpec, GatewayHttpSpec, InboundSpec, OutboundSpec, SvidName } from './worker/spec.ts';
