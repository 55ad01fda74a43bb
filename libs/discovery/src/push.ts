// Control plane to proxy: one stream each, one update under way at a time, the next sent when that one is answered.
import { type DesiredDrain, NO_DRAIN, type RenewHint, type ServiceName } from '@isthmus/model';
import { discovery } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from './errors.ts';
import { type ProxyDrain, type ProxyStatus, ProxyStream, type ProxyTrustFacts, type ServerCall } from './proxy-stream.ts';
import type { Registry } from './registry.ts';
import type { Views } from './views.ts';

export type PushOptions = {
  readonly views: Views;
  readonly registry: Registry;
  /** Proxies of this trust domain only are served. */
  readonly trustDomain: string;
  /** May this agent answer for this service? Asked for every reported workload. */
  readonly mayServe: (agent: string, service: ServiceName) => boolean | Promise<boolean>;
  /** What an operator wants drained of a proxy; nothing without it. */
  readonly desiredDrain?: (kind: 'agent' | 'gateway', name: string) => DesiredDrain;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** How long a proxy may take over an update before its stream is ended; 30 s. */
  readonly ackTimeoutMs?: number;
  /** Streams served at once; 10,000. */
  readonly maxProxies?: number;
};

export interface Push {
  /** For `startRpcServer({ services: [push] })`. */
  readonly definition: typeof discovery.DiscoveryService;
  readonly implementation: discovery.DiscoveryServer;
  proxies(): readonly ProxyStatus[];
  /** What each proxy last told of its trust since the start of this process, also of those that are gone. */
  trust(): readonly (ProxyTrustFacts & { readonly isConnected: boolean })[];
  /** Tells the proxy of this name what is wanted drained of it now; one that is away is told when it comes. */
  drainChanged(kind: 'agent' | 'gateway', name: string): void;
  /** What each proxy last told of its drain since the start of this process, also of those that are gone. */
  drains(): readonly ProxyDrain[];
  onDrain(fn: (drain: ProxyDrain) => void): () => void;
  /** Called when a proxy told something of its trust, or came or went. */
  onTrust(fn: () => void): () => void;
  /** Tells every proxy, now and at its next connection, of roots on their way out. */
  hint(hint: RenewHint): void;
  /** Ends every stream; proxies keep what they have and reconnect. */
  close(): void;
}

const ACK_TIMEOUT_MS = 30_000;
const MAX_PROXIES = 10_000;

/** Serves snapshots to proxies and takes agents' reports. A change costs the changed resources once a place, and a comparison a proxy. */
export function servePush(options: PushOptions): Push {
  const streams = new Set<ProxyStream>();
  const byAgent = new Map<string, ProxyStream>();
  const proxies = options.metrics.gauge('isthmus_push_proxies', 'Proxies connected to this control plane', ['kind']);
  const limits = { ackTimeoutMs: options.ackTimeoutMs ?? ACK_TIMEOUT_MS, maxProxies: options.maxProxies ?? MAX_PROXIES };
  const told = new Map<string, ProxyTrustFacts>();
  const drains = new Map<string, ProxyDrain>();
  const drainListeners = new Set<(drain: ProxyDrain) => void>();
  const trustListeners = new Set<() => void>();
  const tellTrust = (): void => {
    for (const fn of trustListeners) fn();
  };
  let renewHint: RenewHint = { retiring: [], revoked: [], spreadMs: 0 };
  let flushing: NodeJS.Immediate | undefined;
  let isClosed = false;

  const remember = <T>(facts: Map<string, T>, key: string, fact: T): void => {
    facts.delete(key);
    facts.set(key, fact);
    // The one heard least lately goes: it has left long ago, since this many are here.
    if (facts.size > limits.maxProxies * 2) facts.delete(facts.keys().next().value ?? '');
  };
  const count = (): void => {
    for (const kind of ['agent', 'gateway'] as const) proxies.set([...streams].filter((s) => s.kind === kind).length, { kind });
  };
  // Changes of one turn of the event loop go out together.
  const unsubscribe = options.views.onChange((names) => {
    for (const stream of streams) stream.touch(names);
    flushing ??= setImmediate(() => {
      flushing = undefined;
      for (const stream of streams) stream.flush();
    });
  });

  const subscribe = (call: ServerCall): void => {
    const refuse = (error: Error): void => void call.emit('error', error);
    if (isClosed) return refuse(ProxyStream.toStatus(fail('DISCOVERY_CLOSING', 'the control plane is stopping')));
    if (streams.size >= limits.maxProxies) {
      return refuse(ProxyStream.toStatus(fail('DISCOVERY_TOO_MANY_PROXIES', `this control plane serves ${limits.maxProxies} proxies already`)));
    }
    const onTrust = (trust: ProxyTrustFacts): void => {
      remember(told, `${trust.kind}/${trust.name}`, trust);
      tellTrust();
    };
    const onDrain = (drain: ProxyDrain): void => {
      remember(drains, `${drain.kind}/${drain.name}`, drain);
      for (const fn of drainListeners) fn(drain);
    };
    const onHello = (opened: ProxyStream): void => {
      if (renewHint.retiring.length + renewHint.revoked.length > 0) opened.hint(renewHint);
    };
    const stream: ProxyStream = ProxyStream.open(call, { ...options, ackTimeoutMs: limits.ackTimeoutMs, onTrust, onDrain, desiredDrain: options.desiredDrain ?? (() => NO_DRAIN) }, onHello, () => {
      streams.delete(stream);
      tellTrust();
      if (stream.agent !== undefined && byAgent.get(stream.agent) === stream) byAgent.delete(stream.agent);
      count();
    });
    if (stream.isClosed) return;
    streams.add(stream);
    if (stream.agent !== undefined) {
      const older = byAgent.get(stream.agent);
      byAgent.set(stream.agent, stream);
      older?.end(fail('DISCOVERY_SUPERSEDED', `agent ${stream.agent} opened a newer stream`));
    }
    count();
  };

  return {
    definition: discovery.DiscoveryService,
    implementation: { subscribe },
    proxies: () => [...streams].map((s) => s.status()),
    trust: () => {
      const connected = new Set([...streams].map((s) => `${s.kind}/${s.trustName ?? ''}`));
      return [...told].map(([key, trust]) => ({ ...trust, isConnected: connected.has(key) }));
    },
    drainChanged: (kind, name) => {
      for (const stream of streams) if (stream.kind === kind && stream.name === name) stream.desire();
    },
    drains: () => [...drains.values()],
    onDrain: (fn) => {
      drainListeners.add(fn);
      return () => drainListeners.delete(fn);
    },
    onTrust: (fn) => {
      trustListeners.add(fn);
      return () => trustListeners.delete(fn);
    },
    hint: (hint) => {
      renewHint = hint;
      for (const stream of streams) stream.hint(hint);
    },
    close: () => {
      isClosed = true;
      unsubscribe();
      trustListeners.clear();
      drainListeners.clear();
      clearImmediate(flushing);
      for (const stream of [...streams]) stream.end(fail('DISCOVERY_CLOSING', 'the control plane is stopping'));
    },
  };
}
