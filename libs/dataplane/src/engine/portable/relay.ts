// The relay engine on node:net: runs wherever Node does, on the main thread.
import { createServer, type Server, type Socket } from 'node:net';
import { compile, type Engine } from '@isthmus/decide';
import { messageOf, type Snapshot } from '@isthmus/model';
import type { TimerHandle } from '@isthmus/runtime';
import { listenOn } from '../../proxy/listen.ts';
import { ALERT_UNRECOGNIZED_NAME } from '../../tls/client-hello.ts';
import { relayTls } from '../../tls/relay-tls.ts';
import { Outliers } from '../../upstream/outlier.ts';
import { departedEndpoints, Departures } from '../departures.ts';
import { type Destination, destinationOf, type DestinationRules, type Target } from '../destination.ts';
import type { Relay, RelayEnd, RelayOptions, RelayRefusal, StartRelay } from '../engine.ts';
import { ipBytes, type IpPort, type IpRanges, ipRanges } from '../ip-address.ts';
import { Ledger, type OpenAccount } from '../ledger.ts';
import { LEDGER_PERIOD_MS, LedgerReport } from '../ledger-report.ts';
import { writeProxyHeader } from '../proxy-protocol.ts';
import { dial, KEEP_ALIVE_MS } from './dial.ts';
import { type FirstBytes, readFirstBytes } from './first-bytes.ts';

type Hello = Extract<FirstBytes, { kind: 'hello' }>;

/** A caller and the endpoint it was led to, while bytes flow. */
type Relayed = {
  readonly service: string;
  readonly target: string;
  readonly client: Socket;
  readonly upstream: Socket;
  readonly account: OpenAccount;
  /** What `client.bytesRead` and `upstream.bytesRead` were when last counted. */
  countedIn: number;
  countedOut: number;
  isDrained: boolean;
};

/** The refusals a TLS client can be told of: its hello was whole, its name leads nowhere. */
const ALERTED: ReadonlySet<RelayRefusal> = new Set<RelayRefusal>(['no-sni', 'bad-sni', 'unknown-name', 'not-ours', 'not-exported', 'no-endpoint']);

class PortableRelay implements Relay {
  readonly engine = 'portable';
  readonly #options: RelayOptions;
  readonly #server: Server;
  readonly #ledger = new Ledger();
  readonly #report: LedgerReport;
  readonly #outliers: Outliers;
  readonly #rules: DestinationRules;
  readonly #proxied: IpRanges;
  readonly #departures: Departures<Relayed>;
  readonly #open = new Set<Socket>();
  readonly #relayed = new Set<Relayed>();
  readonly #serving = new Set<Promise<void>>();
  readonly #unsubscribe: () => void;
  #routes: Engine;
  #hellos = 0;
  #bound = { host: '', port: 0 };
  #ledgerTimer: TimerHandle | undefined;
  #departureTimer: TimerHandle | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RelayOptions) {
    const { settings, snapshots, clock, random } = options;
    this.#options = options;
    this.#report = new LedgerReport(options.metrics, Object.keys(settings.reserved));
    this.#outliers = new Outliers({ nowMs: () => clock.monotonicMs(), random });
    this.#proxied = ipRanges(settings.proxyProtocol.acceptFrom);
    this.#departures = new Departures(settings.limits.departedMs);
    this.#rules = {
      trustDomain: settings.trustDomain,
      reserved: settings.reserved,
      layer7: settings.layer7,
      sendProxyHeader: settings.proxyProtocol.send,
      random,
      unavailable: (id) => this.#outliers.isEjected(id),
      isFull: (service, id) => this.#ledger.connectionsOf(service, id) >= settings.limits.endpointConnections,
    };
    this.#routes = compile(snapshots.current());
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, allowHalfOpen: true, pauseOnConnect: true });
    this.#server.maxConnections = settings.limits.connections;
    this.#server.on('connection', this.#accept).on('drop', () => this.#ledger.refused('too-many-connections'));
    this.#unsubscribe = snapshots.onChange((snapshot, changed) => {
      const before = this.#routes;
      this.#routes = compile(snapshot, before);
      for (const id of departedEndpoints(before, this.#routes, changed)) this.#outliers.forget(id);
      this.#lookForDepartures(snapshot, changed);
    });
  }

  get host(): string {
    return this.#bound.host;
  }
  get port(): number {
    return this.#bound.port;
  }
  get connections(): number {
    return this.#open.size;
  }
  get serviceConnections(): number {
    return this.#report.serviceConnections;
  }

  /** **Throws** DATAPLANE_LISTEN_FAILED, and holds nothing then. */
  async listen(): Promise<void> {
    try {
      this.#bound = await listenOn(this.#server, this.#options.settings.listen, 'east-west gateway');
    } catch (error) {
      this.#unsubscribe();
      throw error;
    }
    this.#tick();
  }

  close({ drainMs = 0 }: { readonly drainMs?: number } = {}): Promise<void> {
    return (this.#closing ??= this.#close(drainMs));
  }

  async #close(drainMs: number): Promise<void> {
    const { clock } = this.#options;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    const late = new AbortController();
    await Promise.race([closed, clock.sleep(drainMs, late.signal).catch(() => undefined)]);
    late.abort();
    this.#unsubscribe();
    this.#departureTimer?.cancel();
    for (const relayed of this.#relayed) relayed.isDrained = true;
    for (const socket of this.#open) socket.resetAndDestroy();
    await closed;
    await Promise.all(this.#serving);
    this.#ledgerTimer?.cancel();
    this.#flush();
  }

  /** Counts and reports once a second. */
  #tick(): void {
    this.#flush();
    this.#ledgerTimer = this.#options.clock.setTimer(LEDGER_PERIOD_MS, () => this.#tick());
  }

  #flush(): void {
    for (const relayed of this.#relayed) count(relayed);
    const delta = this.#ledger.drain();
    if (delta !== undefined) this.#report.add(0, delta);
    this.#report.setOpen(this.#open.size);
    this.#report.sweep(this.#options.snapshots.current());
  }

  readonly #accept = (socket: Socket): void => {
    this.#open.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#open.delete(socket));
    const served = this.#serve(socket, this.#options.clock.monotonicMs())
      .catch((error: unknown) => {
        this.#options.log.error('gateway connection failed', { error: messageOf(error) });
        socket.destroy();
      })
      .finally(() => this.#serving.delete(served));
    this.#serving.add(served);
  };

  async #serve(socket: Socket, acceptedMs: number): Promise<void> {
    const { limits } = this.#options.settings;
    if (this.#hellos >= limits.hellos) return this.#refuse(socket, 'too-many-hellos');
    this.#hellos += 1;
    const isProxied = this.#proxied.has(socket.remoteAddress);
    const first = await readFirstBytes(socket, { limitMs: limits.helloMs, isProxied, clock: this.#options.clock });
    this.#hellos -= 1;
    if (first.kind === 'gone') return;
    if (first.kind === 'refused') return this.#refuse(socket, first.reason);
    const destination = destinationOf(this.#routes, first.serverName, this.#rules);
    if (destination.kind === 'refused') return this.#refuse(socket, destination.reason);
    await this.#lead(socket, first, destination, acceptedMs);
  }

  #refuse(socket: Socket, reason: RelayRefusal): void {
    this.#ledger.refused(reason);
    this.#options.log.warn('connection refused', { code: reason, remote: socket.remoteAddress });
    if (ALERTED.has(reason)) socket.end(ALERT_UNRECOGNIZED_NAME, () => socket.destroy());
    else socket.destroy();
  }

  /** Nothing has been sent yet, so any endpoint may be tried after any other. */
  async #lead(client: Socket, hello: Hello, destination: Destination, acceptedMs: number): Promise<void> {
    const { clock, settings, log } = this.#options;
    const { service, pick } = destination;
    const routes = this.#routes;
    const tried = new Set<string>();
    while (tried.size < settings.limits.attempts) {
      const target = pick(tried);
      if (target === undefined) break;
      tried.add(target.id);
      const account = this.#ledger.opened(service, target.id);
      const upstream = await dial(target, client, settings.limits.connectMs, clock);
      if (typeof upstream !== 'string') {
        this.#outliers.succeeded(target.id);
        return this.#relay({ client, upstream, hello, account, target, acceptedMs, routes });
      }
      if (client.destroyed) return this.#ledger.closed(account, 'reset', clock.monotonicMs() - acceptedMs);
      this.#ledger.connectFailed(account);
      const isEjected = this.#outliers.failed(target.id);
      log.info('endpoint not reached', { service, endpoint: target.id, error: upstream, ...(isEjected && { ejected: true }) });
    }
    // Nothing was even dialled: the endpoints are there, and have all the connections they may have.
    this.#ledger.ended(service, tried.size === 0 ? 'overloaded' : 'unreachable', clock.monotonicMs() - acceptedMs);
    client.resetAndDestroy();
  }

  async #relay(parts: { client: Socket; upstream: Socket; hello: Hello; account: OpenAccount; target: Target; acceptedMs: number; routes: Engine }): Promise<void> {
    const { client, upstream, hello, account, target } = parts;
    const { clock, settings, snapshots } = this.#options;
    if (client.destroyed) {
      upstream.destroy();
      return this.#ledger.closed(account, 'reset', clock.monotonicMs() - parts.acceptedMs);
    }
    const countedIn = client.bytesRead - hello.bytes.length;
    const relayed: Relayed = { service: account.service, target: target.key, client, upstream, account, countedIn, countedOut: 0, isDrained: false };
    this.#relayed.add(relayed);
    // A reserved name stands in no snapshot, so it cannot leave one.
    if (!(account.service in settings.reserved)) {
      this.#departures.add(relayed);
      if (parts.routes !== this.#routes) this.#lookForDepartures(snapshots.current(), [`service/${account.service}`]);
    }
    if (target.takesProxyHeader) upstream.write(proxyHeaderFor(client, hello));
    upstream.write(hello.bytes);
    const end = await relayTls(client, upstream, { idleMs: settings.limits.idleMs });
    this.#relayed.delete(relayed);
    this.#departures.delete(relayed);
    count(relayed);
    this.#ledger.closed(account, endOf(relayed, end), clock.monotonicMs() - parts.acceptedMs);
  }

  #lookForDepartures(snapshot: Snapshot, changed: readonly string[]): void {
    this.#departures.changed(snapshot, changed, this.#options.clock.monotonicMs());
    this.#awaitDepartures();
  }

  /** Wakes when the next departed connection's time is up. */
  #awaitDepartures(): void {
    this.#departureTimer?.cancel();
    const nextMs = this.#departures.nextDeadlineMs();
    if (nextMs === undefined) return;
    const { clock } = this.#options;
    this.#departureTimer = clock.setTimer(nextMs - clock.monotonicMs(), () => {
      for (const relayed of this.#departures.takeDue(clock.monotonicMs())) {
        relayed.isDrained = true;
        relayed.client.resetAndDestroy();
      }
      this.#awaitDepartures();
    });
  }
}

/** Puts what was relayed since the last count on the account. */
function count(relayed: Relayed): void {
  const { client, upstream, account } = relayed;
  account.bytesIn += client.bytesRead - relayed.countedIn;
  account.bytesOut += upstream.bytesRead - relayed.countedOut;
  relayed.countedIn = client.bytesRead;
  relayed.countedOut = upstream.bytesRead;
}

function endOf(relayed: Relayed, end: RelayEnd): RelayEnd {
  return relayed.isDrained && end === 'reset' ? 'drained' : end;
}

/** Names the caller: as a load balancer in front named it, else the peer of the connection itself. */
function proxyHeaderFor(client: Socket, hello: Hello): Buffer {
  if (hello.addresses !== undefined) return writeProxyHeader(hello.addresses.source, hello.addresses.destination);
  return writeProxyHeader(ipPort(client.remoteAddress, client.remotePort), ipPort(client.localAddress, client.localPort));
}

/** A socket that closed meanwhile has no address any more: then `0.0.0.0`, which nobody will read. */
function ipPort(address: string | undefined, port: number | undefined): IpPort {
  return { ip: ipBytes(address ?? '') ?? Buffer.alloc(4), port: port ?? 0 };
}

/** Starts the relay; one thread, whatever `workers` says. **Throws** DATAPLANE_LISTEN_FAILED. */
export const startPortableRelay: StartRelay = async (options) => {
  const relay = new PortableRelay(options);
  await relay.listen();
  return relay;
};
