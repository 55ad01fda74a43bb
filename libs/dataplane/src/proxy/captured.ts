// Calls that the packet filter redirected here: one listener for every service, told apart by where each was going.
import type { Engine } from '@isthmus/decide';
import { formatServiceName, type ServiceName } from '@isthmus/model';
import type { BundleSource, SvidSource } from '@isthmus/pki';
import type { Random } from '@isthmus/runtime';
import type { Counter, Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { ByteStream, Transport } from '../transport/transport.ts';
import { protocolOf } from '../worker/spec.ts';
import type { ListenAddress } from './listen.ts';
import { Outbound } from './outbound.ts';

/** Which service has which virtual address. */
export type ServiceAddresses = ReadonlyMap<string, ServiceName>;

export type CapturedOptions = {
  readonly listen: ListenAddress;
  readonly addresses: ServiceAddresses;
  readonly engine: () => Engine;
  readonly onEngine?: (fn: () => void) => () => void;
  /** The identity the calls are made as. */
  readonly svids: SvidSource;
  readonly bundles: BundleSource;
  /** Of an engine that knows where redirected connections were going: the Linux one. */
  readonly transport: Transport;
  readonly random?: Random;
  readonly log: Log;
  readonly metrics: Metrics;
};

export interface CapturedListener {
  readonly host: string;
  readonly port: number;
  readonly connections: number;
  /** From now on; calls to services that are gone may finish within `drainMs`. */
  setAddresses(addresses: ServiceAddresses, drainMs: number): void;
  /** Stops accepting, lets requests finish for so long, then cuts what is left. Idempotent. */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/** All services together: as many as four listeners of one service each. */
const CONNECTIONS = 16_384;

/** Opens it. **Throws** DATAPLANE_LISTEN_FAILED, and DATAPLANE_ENGINE_UNAVAILABLE on any engine but the Linux one. */
export async function startCaptured(options: CapturedOptions): Promise<CapturedListener> {
  if (options.transport.engine !== 'linux') throw captureNeedsLinux();
  const captured = new Captured(options);
  const listener = await options.transport.listen(
    {
      listen: options.listen,
      label: 'listener of captured calls',
      allowHalfOpen: true,
      connections: CONNECTIONS,
      onExhausted: () => options.log.error('no descriptor left: accepting rests', { connections: listener.open.size }),
    },
    (stream) => captured.serve(stream),
  );
  const close = async (drainMs: number): Promise<void> => {
    listener.close();
    await captured.close(drainMs);
    for (const stream of [...listener.open]) stream.destroy();
  };
  let closing: Promise<void> | undefined;
  return {
    host: listener.host,
    port: listener.port,
    get connections() {
      return listener.open.size;
    },
    setAddresses: (addresses, drainMs) => captured.setAddresses(addresses, drainMs),
    close: ({ drainMs = 0 } = {}) => (closing ??= close(drainMs)),
  };
}

/** The error where connections cannot be told where they were going. */
export function captureNeedsLinux(): Error {
  return fail('DATAPLANE_ENGINE_UNAVAILABLE', 'captured calls need the Linux engine: the portable one cannot tell where they were going', { hint: 'set engine: linux to learn why it does not run here, or remove capture' });
}

type Served = { readonly outbound: Outbound; readonly service: ServiceName; readonly open: Set<ByteStream> };

class Captured {
  readonly #options: CapturedOptions;
  readonly #refused: Counter;
  #addresses: ServiceAddresses;
  /** By service and port name. **Bounds** the ports of known services: other addresses get none. */
  readonly #served = new Map<string, Served>();
  readonly #closing = new Set<Promise<void>>();

  constructor(options: CapturedOptions) {
    this.#options = options;
    this.#addresses = options.addresses;
    this.#refused = options.metrics.counter('isthmus_capture_refused_total', 'Captured connections to an address or port of the mesh that no service has', ['reason']);
  }

  serve(stream: ByteStream): void {
    const { transport, engine, log } = this.#options;
    const destination = transport.originalDestination(stream);
    const service = destination === undefined ? undefined : this.#addresses.get(destination.host);
    const port = service === undefined ? undefined : engine().service(service)?.view.ports.find((p) => p.port === destination?.port);
    if (service === undefined || port === undefined) {
      const reason = destination === undefined ? 'not-redirected' : service === undefined ? 'no-service' : 'no-port';
      this.#refused.inc({ reason });
      log.debug('captured connection refused', { reason, ...destination });
      return transport.reset(stream);
    }
    const { outbound, open } = this.#servedOf(service, port.name);
    open.add(stream);
    stream.once('close', () => open.delete(stream));
    outbound.serve(stream);
  }

  #servedOf(service: ServiceName, portName: string): Served {
    const key = `${formatServiceName(service)} ${portName}`;
    let served = this.#served.get(key);
    if (served === undefined) {
      const { engine, onEngine, svids, bundles, transport, random, log, metrics } = this.#options;
      const outbound = new Outbound({
        service,
        port: portName,
        get protocol() {
          return protocolOf(engine(), service, portName, undefined);
        },
        engine,
        ...(onEngine !== undefined && { onEngine }),
        svids,
        bundles,
        transport,
        ...(random !== undefined && { random }),
        log,
        metrics,
      });
      this.#served.set(key, (served = { outbound, service, open: new Set() }));
    }
    return served;
  }

  setAddresses(addresses: ServiceAddresses, drainMs: number): void {
    this.#addresses = addresses;
    const known = new Set([...addresses.values()].map(formatServiceName));
    for (const [key, served] of this.#served) {
      if (!known.has(formatServiceName(served.service))) this.#end(key, served, drainMs);
    }
  }

  #end(key: string, { outbound, open }: Served, drainMs: number): void {
    this.#served.delete(key);
    const ended = outbound.close(open, drainMs).finally(() => this.#closing.delete(ended));
    this.#closing.add(ended);
  }

  async close(drainMs: number): Promise<void> {
    for (const [key, served] of [...this.#served]) this.#end(key, served, drainMs);
    await Promise.all(this.#closing);
  }
}
