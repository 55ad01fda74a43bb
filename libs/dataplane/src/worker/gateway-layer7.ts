// A gateway's layer 7, started when the first export asks for it: its thread costs time and memory, and few gateways need it.
import { messageOf, type Snapshot, type TrustDomain } from '@isthmus/model';
import { backoff } from '@isthmus/runtime';
import type { HeldPort } from '../transport/linux/dial.ts';
import { type Proxies, type ProxiesOptions, startProxies } from './proxies.ts';
import type { HostedListener } from './proxy-host.ts';

export type GatewayLayer7Options = ProxiesOptions & { readonly trustDomain: TrustDomain };

/** A gateway's layer 7, running or not yet asked for. */
export interface GatewayLayer7 {
  /** `host:port` on this machine, the same for its whole life. Who connects before it runs waits until it does. */
  readonly address: string;
  /** False while an export asks for layer 7 and it does not run. */
  isReady(): boolean;
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

/** Behind the one open port: the router sends here what asks for it, on this machine alone, and TLS guards it all the same. */
const HOST = '127.0.0.1';
const LABEL = 'layer-7 listener of the gateway';
const RETRY = { baseMs: 200, maxMs: 10_000 };

/**
 * Takes a port for layer 7, and runs it from the moment an export of the snapshot asks for it, for good. Where one asks
 * already it runs when this resolves. On the portable engine, which has no thread to save, it runs at once. **Throws**
 * DATAPLANE_LISTEN_FAILED; DATAPLANE_ENGINE_UNAVAILABLE for an engine asked for by name, when it has to run at once.
 */
export async function startGatewayLayer7(options: GatewayLayer7Options): Promise<GatewayLayer7> {
  const layer7 = new Layer7(options, await hold(options));
  try {
    await layer7.start();
  } catch (error) {
    await layer7.close();
    throw error;
  }
  return layer7;
}

/** The port, where this system can hold one for a thread to come. */
async function hold({ engine }: GatewayLayer7Options): Promise<HeldPort | undefined> {
  if (engine === 'portable' || process.platform !== 'linux') return undefined;
  const dial = await import('../transport/linux/dial.ts').catch(() => undefined);
  return dial?.holdPort(HOST, 0, LABEL);
}

class Layer7 implements GatewayLayer7 {
  readonly #options: GatewayLayer7Options;
  readonly #held: HeldPort | undefined;
  readonly #closing = new AbortController();
  #unsubscribe: () => void = () => undefined;
  #isAskedFor: boolean;
  #proxies: Proxies | undefined;
  #listener: HostedListener | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | undefined;

  constructor(options: GatewayLayer7Options, held: HeldPort | undefined) {
    this.#options = options;
    this.#held = held;
    this.#isAskedFor = asksForLayer7(options.snapshots.current(), undefined);
  }

  get address(): string {
    return `${HOST}:${this.#held?.port ?? this.#listener?.port ?? 0}`;
  }

  isReady(): boolean {
    return !this.#isAskedFor || this.#listener !== undefined;
  }

  async start(): Promise<void> {
    if (this.#isAskedFor || this.#held === undefined) return this.#run();
    this.#unsubscribe = this.#options.snapshots.onChange((snapshot, changed) => {
      if (this.#isAskedFor || !asksForLayer7(snapshot, changed)) return;
      this.#isAskedFor = true;
      this.#unsubscribe();
      this.#running = this.#runInTheEnd();
    });
  }

  async #run(): Promise<void> {
    const { trustDomain } = this.#options;
    this.#proxies ??= await startProxies(this.#options);
    // What waits is reset then: this engine cannot take it over.
    if (this.#proxies.engine === 'portable') this.#held?.close();
    const listen = this.#held === undefined ? { host: HOST, port: 0 } : { host: HOST, port: this.#held.port, ...(this.#proxies.engine === 'linux' && { heldFd: this.#held.fd }) };
    this.#listener = await this.#proxies.gatewayHttp({ listen, trustDomain, svids: '' });
  }

  /** A gateway that is up already does not end because of this: it says so, is not ready, and tries again. */
  async #runInTheEnd(): Promise<void> {
    const { clock, random, log } = this.#options;
    log.info('an export asks for layer 7: it starts');
    const { signal } = this.#closing;
    const waits = backoff({ ...RETRY, random });
    while (!signal.aborted) {
      try {
        return await this.#run();
      } catch (error) {
        const waitMs = waits.nextMs();
        log.error('layer 7 could not be started', { detail: messageOf(error), waitMs: Math.round(waitMs) });
        await clock.sleep(waitMs, signal).catch(() => undefined);
      }
    }
  }

  close({ drainMs = 0 }: { readonly drainMs?: number } = {}): Promise<void> {
    return (this.#closed ??= this.#close(drainMs));
  }

  async #close(drainMs: number): Promise<void> {
    this.#unsubscribe();
    this.#closing.abort();
    await this.#running;
    // The listener has a copy, and takes what waits there before it closes.
    this.#held?.close();
    await this.#listener?.close({ drainMs });
    await this.#proxies?.close();
  }
}

/** Whether a service, of those that changed where it is known which, asks its gateway for layer 7. */
function asksForLayer7({ resources }: Snapshot, changed: readonly string[] | undefined): boolean {
  for (const key of changed ?? resources.keys()) {
    const view = resources.get(key);
    if (view?.kind === 'service' && view.exported && view.gatewayLayer === 7) return true;
  }
  return false;
}
