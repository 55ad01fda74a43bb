// What all connections of one worker share: routes, limits, counts, pipes, and the listening socket.
import { compile, type Engine } from '@isthmus/decide';
import { IsthmusError, messageOf } from '@isthmus/model';
import type { Random } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';
import { addressOf, connectingSocket, type LoopListener, openListener } from '../../transport/linux/dial.ts';
import * as libc from '../../transport/linux/libc.ts';
import type { Loop } from '../../transport/linux/loop.ts';
import { type SocketAddress, socketAddress, socketAddressOf } from '../../transport/linux/socket-address.ts';
import { Outliers } from '../../upstream/outlier.ts';
import { departedEndpoints, Departures } from '../departures.ts';
import { type Destination, destinationOf, type DestinationRules, type Refused, type Target } from '../destination.ts';
import type { RelayLimits, RelayRefusal, RelaySettings, SnapshotSource } from '../engine.ts';
import { ipBytes, type IpPort, type IpRanges, ipRanges } from '../ip-address.ts';
import { Ledger } from '../ledger.ts';
import { writeProxyHeader } from '../proxy-protocol.ts';
import { Connection } from './connection.ts';
import { Deadlines } from './deadlines.ts';
import { HelloRooms } from './hello-rooms.ts';
import { PipePool } from './pipe-pool.ts';

export type GatewayParts = { readonly loop: Loop; readonly settings: RelaySettings; readonly snapshots: SnapshotSource; readonly random: Random; readonly log: Log };

/** Names whose way is remembered. */
const MAX_DESTINATIONS = 10_000;
/** Addresses remembered in their binary form. */
const MAX_ADDRESSES = 10_000;

/** Looking at one long connection takes two system calls, the first time six: so few in a row keep nobody waiting. */
const LOOKS_A_TURN = 2;
const REST_OF_LOOKS_MS = 1;
/** One more for so many connections: about a millisecond's share of those that come up within four seconds. */
const CONNECTIONS_A_LOOK = 4_096;

/** **Owns** its listener, connections and pipes. `settings.limits` are this worker's share. */
export class Gateway {
  readonly loop: Loop;
  readonly limits: RelayLimits;
  readonly ledger = new Ledger();
  readonly outliers: Outliers;
  readonly pipes: PipePool;
  readonly rooms = new HelloRooms();
  readonly deadlines: Deadlines<Connection>;
  readonly #snapshots: SnapshotSource;
  readonly #log: Log;
  readonly #rules: DestinationRules;
  readonly #proxied: IpRanges;
  readonly #reserved: ReadonlySet<string>;
  readonly #departures: Departures<Connection>;
  /** Each knows its place: a set costs a hash and a rehash for every one that comes and goes. */
  readonly #open: Connection[] = [];
  /** Where names led since the last change of the snapshot. */
  readonly #destinations = new Map<string, Destination>();
  readonly #addresses = new Map<Target, SocketAddress>();
  readonly #stopFollowing: () => void;
  #routes: Engine;
  #hellos = 0;
  #listener: LoopListener | undefined;
  #ticking: { cancel(): void };
  #onEmpty: (() => void) | undefined;

  constructor({ loop, settings, snapshots, random, log }: GatewayParts) {
    this.loop = loop;
    this.limits = settings.limits;
    this.#snapshots = snapshots;
    this.#log = log;
    this.outliers = new Outliers({ nowMs: () => loop.nowMs, random });
    this.pipes = new PipePool(loop);
    this.deadlines = new Deadlines(loop.nowMs);
    this.#proxied = ipRanges(settings.proxyProtocol.acceptFrom);
    this.#reserved = new Set(Object.keys(settings.reserved));
    this.#departures = new Departures(settings.limits.departedMs);
    this.#rules = {
      trustDomain: settings.trustDomain,
      reserved: settings.reserved,
      layer7: settings.layer7,
      sendProxyHeader: settings.proxyProtocol.send,
      random,
      unavailable: (id) => this.outliers.isEjected(id),
      isFull: (service, id) => this.ledger.connectionsOf(service, id) >= settings.limits.endpointConnections,
    };
    this.#routes = compile(snapshots.current());
    this.#stopFollowing = snapshots.onChange((snapshot, changed) => {
      const before = this.#routes;
      this.#routes = compile(snapshot, before);
      this.#destinations.clear();
      this.#addresses.clear();
      for (const id of departedEndpoints(before, this.#routes, changed)) this.outliers.forget(id);
      this.#departures.changed(snapshot, changed, loop.nowMs);
    });
    this.#ticking = loop.setTimer(Deadlines.stepMs, this.#tick);
  }

  get connections(): number {
    return this.#open.length;
  }

  /** **Throws** DATAPLANE_LISTEN_FAILED. */
  listen(host: string, port: number, sharesPort: 'first' | 'joins'): { readonly host: string; readonly port: number } {
    const accept = (fd: number): void => this.#accept(fd);
    const onExhausted = (): void => this.#log.error('no descriptor is left: accepting rests for a moment', { code: 'EMFILE', open: this.#open.length });
    this.#listener = openListener(this.loop, host, port, 'east-west gateway', accept, onExhausted, { sharesPort });
    return this.#listener;
  }

  #accept(fd: number): void {
    if (this.#open.length >= this.limits.connections) {
      this.ledger.refused('too-many-connections');
      return void libc.close(fd);
    }
    let connection: Connection;
    try {
      connection = new Connection(this, fd, !this.#proxied.isEmpty && this.#proxied.has(socketAddressOf(libc.getpeername, fd)?.host));
    } catch (error) {
      this.loop.closeOwn(fd);
      return this.failed(error);
    }
    connection.openIndex = this.#open.length;
    this.#open.push(connection);
    this.#hellos += 1;
    if (this.#hellos > this.limits.hellos) connection.refuse('too-many-hellos');
    else connection.begin();
  }

  get routes(): Engine {
    return this.#routes;
  }

  find(serverName: string): Destination | Refused {
    const known = this.#destinations.get(serverName);
    if (known !== undefined) return known;
    const destination = destinationOf(this.#routes, serverName, this.#rules);
    if (destination.kind === 'refused') return destination;
    if (this.#destinations.size >= MAX_DESTINATIONS) this.#destinations.clear();
    this.#destinations.set(serverName, destination);
    return destination;
  }

  /** A connection's hello is whole. */
  helloRead(): void {
    this.#hellos -= 1;
  }

  refused(reason: RelayRefusal, { fd }: Connection): void {
    this.ledger.refused(reason);
    this.#log.warn('connection refused', { code: reason, remote: socketAddressOf(libc.getpeername, fd)?.host });
  }

  /** Left without having said anything that could be answered. */
  gone(connection: Connection): void {
    connection.close(false);
  }

  /** Starts to connect; `dialling` or `notReached` follows. A name is looked up first. */
  dial(target: Target, connection: Connection): void {
    const known = this.#addresses.get(target);
    const address = known ?? socketAddress(target.host, target.port);
    if (address === undefined) {
      addressOf(this.loop, target.host, target.port).then(
        (found) => {
          if (connection.isTrying(target)) this.#connect(found, connection);
        },
        (error: unknown) => {
          if (connection.isTrying(target)) connection.notReached(messageOf(error));
        },
      ).catch((error: unknown) => connection.failed(error));
      return;
    }
    if (known === undefined) {
      if (this.#addresses.size >= MAX_ADDRESSES) this.#addresses.clear();
      this.#addresses.set(target, address);
    }
    this.#connect(address, connection);
  }

  #connect(address: SocketAddress, connection: Connection): void {
    let fd: number;
    try {
      fd = connectingSocket(address, true);
    } catch (error) {
      return connection.notReached(messageOf(error), isOwnLack(error));
    }
    this.loop.own(fd);
    connection.dialling(fd);
  }

  notReached(service: string, endpoint: string, error: string, ejected: boolean): void {
    this.#log.info('endpoint not reached', { service, endpoint, error, ...(ejected && { ejected }) });
  }

  /** A bug met by one connection, which is given up for it (reliability 68). */
  failed(error: unknown): void {
    this.#log.error('a gateway connection failed', { detail: messageOf(error) });
  }

  /** A reserved name stands in no snapshot, so it cannot leave one. */
  relaying(connection: Connection): void {
    connection.deadlineMs = this.loop.nowMs + this.limits.idleMs;
    if (this.#reserved.has(connection.service)) return;
    this.#departures.add(connection);
    // While it was dialled the snapshot may have changed.
    if (connection.routes !== this.#routes) this.#departures.changed(this.#snapshots.current(), [`service/${connection.service}`], this.loop.nowMs);
  }

  again(connection: Connection): void {
    this.loop.markNext(connection);
  }

  proxyHeader(fd: number, addresses: { readonly source: IpPort; readonly destination: IpPort } | undefined): Buffer {
    if (addresses !== undefined) return writeProxyHeader(addresses.source, addresses.destination);
    return writeProxyHeader(ipPort(socketAddressOf(libc.getpeername, fd)), ipPort(socketAddressOf(libc.getsockname, fd)));
  }

  closed(connection: Connection, wasReadingHello: boolean): void {
    if (wasReadingHello) this.#hellos -= 1;
    this.#departures.delete(connection);
    const last = this.#open.pop();
    if (last !== undefined && last !== connection) {
      this.#open[connection.openIndex] = last;
      last.openIndex = connection.openIndex;
    }
    if (this.#open.length === 0) this.#onEmpty?.();
  }

  readonly #tick = (): void => {
    this.#ticking = this.loop.setTimer(Deadlines.stepMs, this.#tick);
    const looks = LOOKS_A_TURN + Math.floor(this.#open.length / CONNECTIONS_A_LOOK);
    if (!this.deadlines.run(this.loop.nowMs, looks)) {
      this.#ticking.cancel();
      this.#ticking = this.loop.setTimer(REST_OF_LOOKS_MS, this.#tick);
    }
    for (const connection of this.#departures.takeDue(this.loop.nowMs)) connection.cut();
  };

  stopAccepting(): void {
    this.#listener?.drain();
  }

  /** Calls back when the last connection has ended; at once when there is none. */
  whenEmpty(fn: () => void): void {
    if (this.#open.length === 0) fn();
    else this.#onEmpty = fn;
  }

  close(): void {
    this.stopAccepting();
    for (const connection of this.#open.slice()) connection.cut();
    this.#ticking.cancel();
    this.#stopFollowing();
    this.pipes.close();
  }
}

const OWN_LACKS: ReadonlySet<unknown> = new Set([libc.EMFILE, libc.ENFILE, libc.ENOMEM, libc.ENOBUFS, libc.EADDRNOTAVAIL]);
/** Whether this machine had nothing left to dial with, which says nothing about the endpoint (reliability 59, 81). */
function isOwnLack(error: unknown): boolean {
  return error instanceof IsthmusError && OWN_LACKS.has(error.facts['errno']);
}

/** A socket that closed meanwhile has no address any more: then `0.0.0.0`, which nobody will read. */
function ipPort(from: { readonly host: string; readonly port: number } | undefined): IpPort {
  return { ip: ipBytes(from?.host ?? '') ?? Buffer.alloc(4), port: from?.port ?? 0 };
}
