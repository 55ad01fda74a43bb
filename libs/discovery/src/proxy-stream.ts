// One proxy's stream at the control plane: who it is, what it is sent, what it reports.
import { type DesiredDrain, type DrainProgress, formatProblems, formatServiceName, type IsthmusError, isDnsLabel, messageOf, parseDrainProgress, parseRegistration, quote, type Registration, type RenewHint, roleOf, type ServiceName, type TrustFacts } from '@isthmus/model';
import { callerOf, type discovery, toServiceError } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from './errors.ts';
import { ProxyUpdates } from './proxy-updates.ts';
import { fullKey } from './registration.ts';
import type { Registry } from './registry.ts';
import type { ProxyPlace } from './view.ts';
import type { Views } from './views.ts';

export type ServerCall = Parameters<discovery.DiscoveryServer['subscribe']>[0];

/** One connected proxy, as operators see it. */
export type ProxyStatus = {
  readonly id: string;
  readonly kind: 'agent' | 'gateway';
  /** What it joined as; of a gateway undefined until it told. */
  readonly name?: string;
  readonly network: string;
  readonly locality: string;
  /** Version of the program; undefined where it does not say. */
  readonly version?: string;
  readonly sentVersion: number;
  readonly ackedVersion: number;
  /** The last refusal, until a later version is taken. */
  readonly nack?: { readonly version: number; readonly reason: string };
  readonly connectedSinceMs: number;
};

/** What a proxy told of its trust, and when. */
export type ProxyTrustFacts = { readonly kind: 'agent' | 'gateway'; readonly name: string; readonly heardAtMs: number; readonly facts: TrustFacts };

/** What a proxy told of its drain, and when. */
export type ProxyDrain = DrainProgress & { readonly kind: 'agent' | 'gateway'; readonly name: string; readonly heardAtMs: number };

export type ProxyStreamOptions = {
  readonly views: Views;
  readonly registry: Registry;
  readonly trustDomain: string;
  readonly mayServe: (agent: string, service: ServiceName) => boolean | Promise<boolean>;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly ackTimeoutMs: number;
  readonly onTrust: (trust: ProxyTrustFacts) => void;
  /** What an operator wants drained of the proxy of this name. */
  readonly desiredDrain: (kind: 'agent' | 'gateway', name: string) => DesiredDrain;
  readonly onDrain: (drain: ProxyDrain) => void;
};

const HELLO_TIMEOUT_MS = 10_000;
const MAX_REGISTRATIONS = 1_000;
const MAX_REGISTRATION_BYTES = 65_536;
const MAX_REASON_CHARS = 1_000;
const MAX_BUNDLES = 4_096;
const MAX_LIVE_ROOTS = 16;

type Caller = { readonly kind: 'agent'; readonly agent: string } | { readonly kind: 'gateway' };

/**
 * waiting for hello → serving → closed. Messages of one stream are handled one after another; while a report is being
 * judged the stream is paused, so a proxy that talks faster than it is heard waits on its own side.
 */
export class ProxyStream {
  readonly kind: 'agent' | 'gateway';
  readonly agent: string | undefined;
  readonly #call: ServerCall;
  readonly #options: ProxyStreamOptions;
  readonly #onClosed: () => void;
  readonly #onHello: (stream: ProxyStream) => void;
  readonly #log: Log;
  readonly #connectedSinceMs: number;
  readonly #epoch: number | undefined;
  readonly #updates;
  readonly #nacks;
  #place: ProxyPlace | undefined;
  #state: ProxyUpdates | undefined;
  #deadline: { cancel(): void } | undefined;
  #version = '';
  #sentVersion = 0;
  #ackedVersion = 0;
  #nack: { readonly version: number; readonly reason: string } | undefined;
  #isFirstReport = true;
  isClosed = false;
  /** An agent’s by its certificate; a gateway’s once it told. */
  name: string | undefined;
  /** Set once it told of its trust. */
  trustName: string | undefined;

  /** Admits the caller or ends the call; then `isClosed` is true. */
  static open(call: ServerCall, options: ProxyStreamOptions, onHello: (stream: ProxyStream) => void, onClosed: () => void): ProxyStream {
    return new ProxyStream(call, options, onHello, onClosed);
  }

  static toStatus(error: IsthmusError): Error {
    return toServiceError(error) as Error;
  }

  constructor(call: ServerCall, options: ProxyStreamOptions, onHello: (stream: ProxyStream) => void, onClosed: () => void) {
    this.#call = call;
    this.#options = options;
    this.#onHello = onHello;
    this.#onClosed = onClosed;
    this.#connectedSinceMs = options.clock.nowMs();
    this.#updates = options.metrics.counter('isthmus_push_updates_total', 'Updates sent to proxies', ['kind', 'full']);
    this.#nacks = options.metrics.counter('isthmus_push_nacks_total', 'Updates proxies refused', ['kind']);
    const caller = admit(call, options.trustDomain);
    this.kind = caller?.kind ?? 'agent';
    this.agent = caller?.kind === 'agent' ? caller.agent : undefined;
    this.name = this.agent;
    this.#log = options.log.with({ proxy: this.agent ?? this.kind });
    if (caller === undefined) {
      this.isClosed = true;
      call.emit('error', ProxyStream.toStatus(fail('DISCOVERY_CALLER_REFUSED', 'only agents and gateways of this cluster are served')));
      return;
    }
    this.#epoch = this.agent === undefined ? undefined : options.registry.agentArrived(this.agent);
    this.#deadline = options.clock.setTimer(HELLO_TIMEOUT_MS, () => this.end(fail('DISCOVERY_PROTOCOL', 'no hello came')));
    call.on('data', (request: discovery.SubscribeRequest) => this.#receive(request));
    call.on('end', () => this.end());
    call.on('cancelled', () => this.end());
    call.on('error', () => this.end());
    call.on('close', () => this.end());
  }

  touch(names: readonly string[]): void {
    this.#state?.touch(names);
  }

  /** Sends the next update if there is one and none is under way. */
  flush(): void {
    const next = this.isClosed ? undefined : this.#state?.next();
    if (next === undefined) return;
    this.#sentVersion = next.version;
    this.#updates.inc({ kind: this.kind, full: String(next.full) });
    this.#call.write({
      message: {
        $case: 'update',
        value: { full: next.full, version: BigInt(next.version), upserts: next.upserts.map((json) => Buffer.from(json)), removals: [...next.removals] },
      },
    });
    this.#deadline = this.#options.clock.setTimer(this.#options.ackTimeoutMs, () =>
      this.end(fail('DISCOVERY_ACK_LATE', `version ${next.version} was not answered in ${this.#options.ackTimeoutMs} ms`)),
    );
  }

  status(): ProxyStatus {
    return {
      id: this.agent ?? `gateway@${this.#call.getPeer()}`,
      kind: this.kind,
      ...(this.name !== undefined && { name: this.name }),
      network: this.#place?.network ?? '',
      locality: this.#place?.locality ?? '',
      ...(this.#version !== '' && { version: this.#version }),
      sentVersion: this.#sentVersion,
      ackedVersion: this.#ackedVersion,
      ...(this.#nack === undefined ? {} : { nack: this.#nack }),
      connectedSinceMs: this.#connectedSinceMs,
    };
  }

  end(error?: IsthmusError): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#deadline?.cancel();
    if (this.agent !== undefined) this.#options.registry.agentGone(this.agent, this.#epoch);
    if (error === undefined) this.#call.end();
    else {
      this.#log.warn('stream of a proxy ended', { code: error.code, error: error.message });
      this.#call.emit('error', ProxyStream.toStatus(error));
    }
    this.#onClosed();
  }

  #receive(request: discovery.SubscribeRequest): void {
    if (this.isClosed) return;
    const { message } = request;
    if (message === undefined) return; // A kind of message this version does not know.
    if ((this.#place === undefined) !== (message.$case === 'hello')) {
      return this.end(fail('DISCOVERY_PROTOCOL', `${message.$case} came out of turn`));
    }
    switch (message.$case) {
      case 'hello':
        return this.#hello(message.value);
      case 'ack':
        return this.#answered(Number(message.value.version), undefined);
      case 'nack':
        return this.#answered(Number(message.value.version), message.value.reason.slice(0, MAX_REASON_CHARS));
      case 'trust':
        return this.#trust(message.value);
      case 'drain':
        return this.#drain(message.value);
      case 'report':
        this.#call.pause();
        this.#report(message.value).then(
          () => this.#call.resume(),
          (thrown: unknown) => this.end(fail('DISCOVERY_PROTOCOL', `report not taken: ${messageOf(thrown)}`, { cause: thrown })),
        );
    }
  }

  /** Tells the proxy of roots on their way out. */
  hint({ retiring, revoked, spreadMs }: RenewHint): void {
    if (this.isClosed || this.#place === undefined) return;
    const bytes = (hashes: readonly string[]): Buffer[] => hashes.map((h) => Buffer.from(h, 'hex'));
    this.#call.write({ message: { $case: 'renewHint', value: { retiring: bytes(retiring), revoked: bytes(revoked), spreadMs: Math.round(spreadMs) } } });
  }

  /** Tells the proxy what an operator wants drained of it. */
  desire(): void {
    if (this.isClosed || this.#place === undefined || this.name === undefined) return;
    const { revision, draining, workloads } = this.#options.desiredDrain(this.kind, this.name);
    this.#call.write({ message: { $case: 'desiredDrain', value: { revision: BigInt(revision), draining, workloads: [...workloads] } } });
  }

  #drain({ name, revision, state, connections, problem, address }: discovery.DrainProgress): void {
    const own = this.agent ?? name;
    const progress = parseDrainProgress({ revision: Number(revision), state, connections, ...(problem !== '' && { problem }), ...(address !== '' && { address }) });
    if (!isDnsLabel(own) || !progress.ok) return this.end(fail('DISCOVERY_PROTOCOL', 'what the proxy says of its drain is not taken'));
    const isNew = this.name !== own;
    this.name = own;
    this.#options.onDrain({ ...progress.value, kind: this.kind, name: own, heardAtMs: this.#options.clock.nowMs() });
    // A gateway is told only now that it is known which one it is.
    if (isNew) this.desire();
  }

  #trust({ name, held, live }: discovery.TrustFacts): void {
    // Gateways of a cluster share one SPIFFE ID, so which one it is only it can tell; an agent's name is proven.
    const own = this.agent ?? name;
    if (!isDnsLabel(own) || held.length > MAX_BUNDLES || live.length > MAX_LIVE_ROOTS) return this.end(fail('DISCOVERY_PROTOCOL', 'what the proxy says of its trust is not taken'));
    const facts: TrustFacts = {
      held: Object.fromEntries(held.map((h) => [h.trustDomain, Number(h.sequence)])),
      live: live.map((l) => ({ rootSha256: Buffer.from(l.rootSha256).toString('hex'), expiresAtMs: Number(l.expiresAtMs) })),
    };
    this.trustName = own;
    this.#options.onTrust({ kind: this.kind, name: own, heardAtMs: this.#options.clock.nowMs(), facts });
  }

  #hello({ network, locality, version }: discovery.Hello): void {
    this.#deadline?.cancel();
    const isNetworkGood = isDnsLabel(network) || (network === '' && this.kind === 'gateway');
    if (!isNetworkGood || locality.length > 200) return this.end(fail('DISCOVERY_PROTOCOL', `hello with network ${quote(network)} is not taken`));
    const place = { kind: this.kind, network, locality } as const;
    const { views } = this.#options;
    this.#place = place;
    this.#version = /^[0-9A-Za-z.+~-]{1,64}$/.test(version) ? version : '';
    this.#state = new ProxyUpdates({
      names: () => views.names(place),
      build: (name) => views.resource(place, name),
      // Past what an earlier stream of this proxy was sent, also by a control plane before this one.
      firstVersion: this.#options.clock.nowMs(),
    });
    this.#log.info('proxy connected', { kind: this.kind, network, locality });
    this.flush();
    this.desire();
    this.#onHello(this);
  }

  #answered(version: number, refusal: string | undefined): void {
    const isTaken = refusal === undefined ? this.#state?.ack(version) : this.#state?.nack(version);
    if (isTaken !== true) return;
    this.#deadline?.cancel();
    if (refusal === undefined) {
      this.#ackedVersion = version;
      this.#nack = undefined;
    } else {
      this.#nack = { version, reason: refusal };
      this.#nacks.inc({ kind: this.kind });
      this.#log.warn('proxy refused an update', { version, reason: refusal });
    }
    this.flush();
  }

  async #report(report: discovery.Report): Promise<void> {
    const { agent } = this;
    const epoch = this.#epoch;
    if (agent === undefined || epoch === undefined) return this.#refuseReport('only agents may report workloads');
    if (this.#isFirstReport && !report.full) return this.#refuseReport('the first report of a stream must be full');
    if (report.registrations.length > MAX_REGISTRATIONS) return this.#refuseReport(`more than ${MAX_REGISTRATIONS} workloads in one report`);
    this.#isFirstReport = false;
    const taken: Registration[] = [];
    const refusals: string[] = [];
    for (const bytes of report.registrations) {
      const judged = await this.#judge(agent, bytes);
      if (typeof judged === 'string') refusals.push(judged);
      else taken.push(judged);
    }
    if (this.isClosed) return;
    this.#options.registry.report(agent, taken, { full: report.full, removed: report.removed.slice(0, MAX_REGISTRATIONS), epoch });
    if (refusals.length > 0) this.#refuseReport(refusals.slice(0, 5).join('; '));
  }

  /** The registration, or why it is refused. */
  async #judge(agent: string, bytes: Buffer): Promise<Registration | string> {
    if (bytes.length > MAX_REGISTRATION_BYTES) return 'a workload of more than 64 KiB';
    let json: unknown;
    try {
      json = JSON.parse(bytes.toString('utf8'));
    } catch {
      return 'a workload that is not JSON';
    }
    const parsed = parseRegistration(json);
    if (!parsed.ok) return formatProblems(parsed.problems);
    const registration = parsed.value;
    if (registration.agent !== agent) return `${fullKey(registration)} is not this agent's own`;
    const service = { namespace: registration.namespace, name: registration.service };
    if (!(await this.#options.mayServe(agent, service))) return `agent ${agent} may not answer for ${formatServiceName(service)}`;
    return registration;
  }

  #refuseReport(reason: string): void {
    this.#log.warn('report of a proxy refused', { reason });
    if (!this.isClosed) this.#call.write({ message: { $case: 'reportRefused', value: { reason: reason.slice(0, MAX_REASON_CHARS) } } });
  }
}

/** Who calls, when it is an agent or gateway of this trust domain. */
function admit(call: ServerCall, trustDomain: string): Caller | undefined {
  const caller = callerOf(call);
  if (caller === undefined || caller.trustDomain !== trustDomain) return undefined;
  const role = roleOf(caller.spiffeId);
  if (role.kind === 'agent') return { kind: 'agent', agent: role.agent };
  return role.kind === 'gateway' ? { kind: 'gateway' } : undefined;
}
