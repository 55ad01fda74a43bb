// Finds out whether a workload works: HTTP, TCP and gRPC probes with thresholds, and what the data path itself has seen.
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { type Health, type HealthCheck, messageOf, type Workload } from '@isthmus/model';
import { type Clock, type Random, systemClock, systemRandom } from '@isthmus/runtime';
import type { Log } from '@isthmus/telemetry';

export type ProbeResult = { readonly ok: true } | { readonly ok: false; readonly detail: string };

/** One try at one workload; bounded by the signal. */
export type Probe = (signal: AbortSignal) => Promise<ProbeResult>;

/** What the thresholds count: `health` changes only when `streak` in the other direction is long enough. */
export type HealthState = { readonly health: 'unknown' | 'healthy' | 'unhealthy'; readonly streak: number };

/** A check with its defaults filled in. Source: facts 3, Kubernetes and Istio probes. */
export type ResolvedCheck = Required<Pick<HealthCheck, 'kind' | 'intervalMs' | 'timeoutMs' | 'unhealthyThreshold' | 'healthyThreshold'>> &
  { readonly path: string; readonly grpcService: string; readonly host: string; readonly port: number };

export type HealthChecksOptions = {
  readonly workload: Workload;
  readonly onChange: (health: Health, detail: string) => void;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log: Log;
  /** For tests; by default the probe the workload's file asks for. */
  readonly probe?: Probe;
};

export interface HealthChecks {
  health(): Health;
  /** Why it is so: what the last probe, or the data path, saw. */
  detail(): string;
  /** The data path could not connect to the application: unhealthy at once; probes alone bring it back. */
  reportDown(detail: string): void;
  /** An operator's word: draining until taken back, whatever the probes say. */
  setDraining(draining: boolean): void;
  close(): void;
}

/** The state after one probe. Pure. From `unknown` the first result decides, so that a start is never slower than needed. */
export function nextHealth(state: HealthState, ok: boolean, check: Pick<ResolvedCheck, 'healthyThreshold' | 'unhealthyThreshold'>): HealthState {
  const target = ok ? 'healthy' : 'unhealthy';
  if (state.health === target) return { health: target, streak: 0 };
  const streak = state.streak + 1;
  const threshold = state.health === 'unknown' ? 1 : ok ? check.healthyThreshold : check.unhealthyThreshold;
  return streak >= threshold ? { health: target, streak: 0 } : { health: state.health, streak };
}

/** A workload's check with defaults; a workload that names none is probed by TCP at its first port. */
export function resolveCheck(workload: Workload): ResolvedCheck {
  const check = workload.healthCheck;
  const firstPort = Object.values(workload.ports)[0] ?? 0;
  return {
    kind: check?.kind ?? 'tcp',
    path: check?.path ?? '/',
    grpcService: check?.grpcService ?? '',
    host: workload.host ?? '127.0.0.1',
    port: check?.port ?? firstPort,
    intervalMs: check?.intervalMs ?? 2_000,
    timeoutMs: check?.timeoutMs ?? 1_000,
    unhealthyThreshold: check?.unhealthyThreshold ?? 3,
    healthyThreshold: check?.healthyThreshold ?? 1,
  };
}

/** Starts probing: the first probe at once, the next ones an interval ± 10 % apart, never two at a time. */
export function startHealthChecks(options: HealthChecksOptions): HealthChecks {
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const check = resolveCheck(options.workload);
  const probe = options.probe ?? probeOf(check);
  const log = options.log.with({ service: `${options.workload.namespace}/${options.workload.service}`, instance: options.workload.instance });
  let state: HealthState = { health: 'unknown', streak: 0 };
  let draining = false;
  let detail = 'not probed yet';
  let closed = false;
  let timer: { cancel(): void } | undefined;
  let told: Health = 'unknown';
  let generation = 0;
  let inFlight: AbortController | undefined;

  const health = (): Health => (draining ? 'draining' : state.health);
  const tell = (): void => {
    if (closed || health() === told) return;
    told = health();
    log.info('workload health changed', { health: told, detail });
    options.onChange(told, detail);
  };
  const take = (next: HealthState, why: string): void => {
    state = next;
    detail = why;
    tell();
  };

  async function run(): Promise<void> {
    const began = ++generation;
    const controller = new AbortController();
    inFlight = controller;
    const limit = clock.setTimer(check.timeoutMs, () => controller.abort(new Error(`no answer within ${check.timeoutMs} ms`)));
    let result: ProbeResult;
    try {
      result = await Promise.race([probe(controller.signal), aborted(controller.signal)]);
    } catch (error) {
      result = { ok: false, detail: messageOf(error) };
    }
    limit.cancel();
    if (closed) return;
    // A success that began before the data path saw the application down is old news.
    if (began === generation || !result.ok) take(nextHealth(state, result.ok, check), result.ok ? `${check.kind} probe passed` : `${check.kind} probe failed: ${result.detail}`);
    timer = clock.setTimer(check.intervalMs * (0.9 + random() * 0.2), () => void run());
  }
  void run();

  return {
    health,
    detail: () => detail,
    reportDown(why) {
      if (state.health === 'unhealthy') return;
      generation += 1;
      take({ health: 'unhealthy', streak: 0 }, why);
    },
    setDraining(on) {
      draining = on;
      tell();
    },
    close() {
      closed = true;
      timer?.cancel();
      inFlight?.abort(new Error('closed'));
    },
  };
}

function aborted(signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve({ ok: false, detail: messageOf(signal.reason) }), { once: true });
  });
}

function probeOf(check: ResolvedCheck): Probe {
  switch (check.kind) {
    case 'tcp':
      return (signal) => probeTcp(check, signal);
    case 'http':
      return (signal) => probeHttp(check, signal);
    case 'grpc':
      return (signal) => probeGrpc(check, signal);
  }
}

/** Passes when a connection opens. */
export function probeTcp(check: Pick<ResolvedCheck, 'host' | 'port'>, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const socket = connect({ host: check.host, port: check.port, signal });
    socket.once('connect', () => {
      socket.destroy();
      resolve({ ok: true });
    });
    socket.on('error', (error) => resolve({ ok: false, detail: error.message }));
  });
}

/** Passes on any 2xx or 3xx answer, as a Kubernetes probe does; a new connection each time, so a restart is seen. */
export function probeHttp(check: Pick<ResolvedCheck, 'host' | 'port' | 'path'>, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const request = httpRequest({ host: check.host, port: check.port, path: check.path, agent: false, signal, headers: { 'user-agent': 'isthmus-probe' } });
    request.on('response', (response) => {
      const status = response.statusCode ?? 0;
      response.on('error', () => undefined);
      response.destroy();
      resolve(status >= 200 && status < 400 ? { ok: true } : { ok: false, detail: `status ${status}` });
    });
    request.on('error', (error) => resolve({ ok: false, detail: error.message }));
    request.end();
  });
}

/** Passes when grpc.health.v1 says SERVING. gRPC is loaded when the first such probe runs: few agents need it. */
export async function probeGrpc(check: Pick<ResolvedCheck, 'host' | 'port' | 'grpcService'>, signal: AbortSignal): Promise<ProbeResult> {
  const { askGrpcHealth } = await import('./grpc-health.ts');
  return askGrpcHealth(check, signal);
}
