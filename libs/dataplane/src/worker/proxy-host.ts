// The main thread's end of a data-plane worker: keeps it fed, writes its telemetry, and replaces it when it dies.
import { type ErrorClass, type ErrorFacts, IsthmusError, messageOf, type ServiceName } from '@isthmus/model';
import type { BundleSource, SvidSource, X509Svid } from '@isthmus/pki';
import { backoff, type Clock, type Random } from '@isthmus/runtime';
import type { Log, LogLevel, Metrics } from '@isthmus/telemetry';
import type { SnapshotSource } from '../engine/engine.ts';
import type { ServiceAddresses } from '../proxy/captured.ts';
import { threadRestarts } from '../metrics.ts';
import type { FromWorker, SvidMessage, ToWorker } from './messages.ts';
import { applyMetrics } from './relayed-telemetry.ts';
import type { CapturedSpec, GatewayHttpSpec, InboundSpec, OutboundSpec, SvidName } from './spec.ts';
import { startThread, type Thread } from './thread.ts';

export type ProxyHostOptions = {
  readonly snapshots: SnapshotSource;
  readonly bundles: BundleSource;
  readonly svids: (name: SvidName) => SvidSource;
  readonly onApplicationDown: (service: ServiceName, instance: string, error: Error) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** A listener in the worker. It keeps its address when the worker is replaced. */
export interface HostedListener {
  readonly host: string;
  readonly port: number;
  /** At most a quarter of a second old. */
  readonly connections: number;
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/** The listener of captured calls in the worker. */
export interface HostedCapture extends HostedListener {
  /** Which service has which virtual address, from now on; calls to services that are gone may finish within `drainMs`. */
  setAddresses(addresses: ServiceAddresses, drainMs: number): void;
}

export interface ProxyHost {
  inbound(spec: InboundSpec): Promise<HostedListener>;
  outbound(spec: OutboundSpec): Promise<HostedListener>;
  captured(spec: CapturedSpec): Promise<HostedCapture>;
  gatewayHttp(spec: GatewayHttpSpec): Promise<HostedListener>;
  close(): Promise<void>;
}

type Entry = {
  readonly id: number;
  readonly kind: 'inbound' | 'outbound' | 'captured' | 'gateway-http';
  spec: InboundSpec | OutboundSpec | CapturedSpec | GatewayHttpSpec;
  connections: number;
  opened: PromiseWithResolvers<void>;
  readonly closed: PromiseWithResolvers<void>;
  closing: boolean;
};

/** Beyond a listener's own drain limit: then the worker is taken for hung. */
const CLOSE_LIMIT_MS = 5_000;
const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/** Starts the worker. **Throws** DATAPLANE_ENGINE_UNAVAILABLE when it does not come up. */
export async function openProxyHost(options: ProxyHostOptions): Promise<ProxyHost> {
  const host = new Host(options);
  await host.start();
  return host;
}

class Host implements ProxyHost {
  readonly #options: ProxyHostOptions;
  readonly #entries = new Map<number, Entry>();
  readonly #svids = new Map<SvidName, () => void>();
  readonly #stops: (() => void)[] = [];
  readonly #backoff;
  readonly #restarts;
  #thread: Thread<ToWorker> | undefined;
  #nextId = 1;
  #closing: Promise<void> | undefined;

  constructor(options: ProxyHostOptions) {
    this.#options = options;
    this.#backoff = backoff({ baseMs: 100, maxMs: 10_000, random: options.random });
    this.#restarts = threadRestarts(options.metrics);
    this.#stops.push(
      options.snapshots.onChange((snapshot, changed) => {
        const upserts = changed.flatMap((key) => {
          const resource = snapshot.resources.get(key);
          return resource === undefined ? [] : [[key, resource] as const];
        });
        this.#post({ kind: 'snapshot', version: snapshot.version, upserts, removals: changed.filter((key) => !snapshot.resources.has(key)) });
      }),
      options.bundles.onChange(() => this.#post({ kind: 'bundles', bundles: options.bundles.all(), bans: options.bundles.allBans(), revoked: options.bundles.revoked() })),
    );
  }

  async start(): Promise<void> {
    const { log, clock, snapshots, bundles } = this.#options;
    const thread = await startThread<ToWorker, FromWorker>({
      script: new URL('./proxy-worker.ts', import.meta.url),
      data: { logLevel: LEVELS.find((level) => log.isEnabled(level)) ?? 'error' },
      clock,
      onMessage: (message) => this.#onMessage(message),
      onExit: (error) => this.#onExit(error),
    });
    this.#thread = thread;
    const snapshot = snapshots.current();
    thread.post({ kind: 'snapshot', version: snapshot.version, upserts: [...snapshot.resources], removals: [] });
    thread.post({ kind: 'bundles', bundles: bundles.all(), bans: bundles.allBans(), revoked: bundles.revoked() });
    for (const name of this.#svids.keys()) this.#sendSvid(name);
    for (const entry of this.#entries.values()) this.#open(entry);
  }

  /** The worker died: its connections are gone, its listeners come back on the same ports. */
  #onExit(error: Error | undefined): void {
    this.#thread = undefined;
    for (const entry of [...this.#entries.values()]) {
      entry.connections = 0;
      if (entry.closing) this.#forget(entry);
    }
    if (this.#closing === undefined) void this.#replace(error);
  }

  async #replace(why: Error | undefined): Promise<void> {
    const { log, clock } = this.#options;
    log.error('the data-plane thread died and is replaced', { code: 'DATAPLANE_THREAD_DIED', detail: why === undefined ? 'no reason given' : messageOf(why) });
    while (this.#closing === undefined) {
      this.#restarts.inc();
      try {
        await this.start();
        // Closed while it started: nobody else will end it.
        if (this.#closing !== undefined) this.#thread?.kill();
        return;
      } catch (error) {
        log.error('the data-plane thread could not be replaced', { detail: messageOf(error) });
        await clock.sleep(this.#backoff.nextMs());
      }
    }
  }

  inbound(spec: InboundSpec): Promise<HostedListener> {
    return this.#host(this.#newEntry('inbound', spec));
  }

  outbound(spec: OutboundSpec): Promise<HostedListener> {
    return this.#host(this.#newEntry('outbound', spec));
  }

  async captured(spec: CapturedSpec): Promise<HostedCapture> {
    const entry = this.#newEntry('captured', spec);
    const listener = await this.#host(entry);
    return Object.assign(listener, {
      setAddresses: (addresses: ServiceAddresses, drainMs: number) => {
        // A worker that takes this one's place is told the newest.
        entry.spec = { ...entry.spec, addresses };
        if (!entry.closing) this.#post({ kind: 'captured-addresses', id: entry.id, addresses, drainMs });
      },
    });
  }

  gatewayHttp(spec: GatewayHttpSpec): Promise<HostedListener> {
    return this.#host(this.#newEntry('gateway-http', spec));
  }

  #newEntry(kind: Entry['kind'], spec: Entry['spec']): Entry {
    return { id: this.#nextId++, kind, spec, connections: 0, opened: Promise.withResolvers(), closed: Promise.withResolvers(), closing: false };
  }

  async #host(entry: Entry): Promise<HostedListener> {
    this.#entries.set(entry.id, entry);
    this.#holdSvid(entry.spec.svids);
    this.#open(entry);
    await entry.opened.promise;
    return {
      get host() {
        return entry.spec.listen.host;
      },
      get port() {
        return entry.spec.listen.port;
      },
      get connections() {
        return entry.connections;
      },
      close: ({ drainMs = 0 } = {}) => this.#closeEntry(entry, drainMs),
    };
  }

  #open(entry: Entry): void {
    if (entry.kind === 'inbound') this.#post({ kind: 'inbound', id: entry.id, spec: entry.spec as InboundSpec });
    else if (entry.kind === 'outbound') this.#post({ kind: 'outbound', id: entry.id, spec: entry.spec as OutboundSpec });
    else if (entry.kind === 'captured') this.#post({ kind: 'captured', id: entry.id, spec: entry.spec as CapturedSpec });
    else this.#post({ kind: 'gateway-http', id: entry.id, spec: entry.spec as GatewayHttpSpec });
  }

  async #closeEntry(entry: Entry, drainMs: number): Promise<void> {
    if (!entry.closing && this.#entries.has(entry.id)) {
      entry.closing = true;
      if (this.#thread === undefined) this.#forget(entry);
      else {
        this.#post({ kind: 'close', id: entry.id, drainMs });
        const timer = this.#options.clock.setTimer(drainMs + CLOSE_LIMIT_MS, () => this.#thread?.kill());
        await entry.closed.promise;
        timer.cancel();
      }
    }
    await entry.closed.promise;
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.id);
    entry.closed.resolve();
  }

  /** Sends an SVID now and whenever it is renewed. */
  #holdSvid(name: SvidName): void {
    if (this.#svids.has(name)) return;
    this.#svids.set(name, this.#options.svids(name).onChange(() => this.#sendSvid(name)));
    this.#sendSvid(name);
  }

  #sendSvid(name: SvidName): void {
    const svid = this.#options.svids(name).current();
    this.#post({ kind: 'svid', name, svid: svid === undefined ? undefined : toMessage(svid) });
  }

  #post(message: ToWorker): void {
    this.#thread?.post(message); // before it is up, `start` sends everything
  }

  #onMessage(message: FromWorker): void {
    const { log, metrics } = this.#options;
    switch (message.kind) {
      case 'opened': {
        const entry = this.#entries.get(message.id);
        if (entry === undefined) return;
        entry.spec = { ...entry.spec, listen: { ...entry.spec.listen, host: message.host, port: message.port } };
        this.#backoff.reset();
        return entry.opened.resolve();
      }
      case 'failed': {
        const entry = this.#entries.get(message.id);
        if (entry === undefined) return;
        const { code, message: text, hint, facts } = message.error;
        log.warn('a listener could not be opened', { code, detail: text });
        entry.opened.reject(new IsthmusError(code, message.error.class as ErrorClass, text, { ...(hint !== undefined && { hint }), facts: facts as ErrorFacts }));
        return this.#forget(entry);
      }
      case 'closed': {
        const entry = this.#entries.get(message.id);
        return entry === undefined ? undefined : this.#forget(entry);
      }
      case 'status':
        for (const [id, connections] of message.connections) {
          const entry = this.#entries.get(id);
          if (entry !== undefined) entry.connections = connections;
        }
        return applyMetrics(metrics, message.metrics);
      case 'log':
        return log[message.level](message.message, message.fields);
      case 'application-down':
        return this.#options.onApplicationDown(message.service, message.instance, new Error(message.message));
      case 'ready':
        return;
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    for (const stop of [...this.#stops, ...this.#svids.values()]) stop();
    const thread = this.#thread;
    if (thread !== undefined) {
      const timer = this.#options.clock.setTimer(CLOSE_LIMIT_MS, () => thread.kill());
      thread.post({ kind: 'stop' });
      await thread.ended;
      timer.cancel();
    }
    for (const entry of [...this.#entries.values()]) this.#forget(entry);
  }
}

function toMessage(svid: X509Svid): SvidMessage {
  return { chain: svid.chain.map((der) => new Uint8Array(der)), key: svid.key };
}
