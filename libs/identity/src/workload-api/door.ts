// Who may call the Workload API: the required header, the calling process, and how much one user may have open.
import { IsthmusError, messageOf, type ServiceName } from '@isthmus/model';
import { type Metadata, type UnixPeer, unixPeerOf } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { openRateLimit } from '../rate-limit.ts';
import { type ServedWorkload, servicesOf } from './selectors.ts';

const HEADER = 'workload.spiffe.io';

export type Call = { readonly metadata: Metadata; getPeer(): string };

/** A call that was let in. */
export type Visit = {
  readonly peer: UnixPeer;
  /** What the process may be; never empty. */
  readonly services: readonly ServiceName[];
  /** Idempotent. */
  leave(): void;
};

/** An open call, for the operator. */
export type OpenCall = { readonly method: string; readonly pid: number; readonly uid: number; readonly path?: string };

export interface Door {
  /** **Throws** WORKLOAD_API_HEADER, WORKLOAD_API_DENIED, WORKLOAD_API_BUSY. SDS asks for no header: Envoy sends none. */
  enter(call: Call, method: string, options: { readonly needsHeader: boolean }): Visit;
  open(): readonly OpenCall[];
}

export type DoorOptions = {
  readonly workloads: readonly ServedWorkload[];
  /** Calls of one user at once. */
  readonly callsPerUser: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** Opens the door; calls and refusals are counted. */
export function openDoor({ workloads, callsPerUser, clock, log, metrics }: DoorOptions): Door {
  const calls = metrics.counter('isthmus_workload_api_calls_total', 'Calls to the Workload API and SDS, by what became of them: ok, or the code of the refusal', ['method', 'outcome']);
  const open = new Set<OpenCall>();
  // A process that is refused asks again and again; the log has what is new of it.
  const told = openRateLimit({ burst: 10, perSecond: 1 / 60, clock });

  function check(call: Call, method: string, needsHeader: boolean): Omit<Visit, 'leave'> {
    if (needsHeader && !call.metadata.get(HEADER).some((value) => value === 'true')) {
      throw fail('WORKLOAD_API_HEADER', `the call came without the metadata ${HEADER}: true`, { hint: 'use a SPIFFE Workload API client' });
    }
    const peer = unixPeerOf(call);
    if (peer === undefined) throw fail('WORKLOAD_API_DENIED', 'no identity issued: who calls is not known');
    const services = servicesOf(workloads, peer);
    if (services.length === 0) {
      throw fail('WORKLOAD_API_DENIED', 'no identity issued', { facts: { uid: peer.uid, gid: peer.gid, pid: peer.pid, path: peer.path ?? '' }, hint: 'give the workload selectors that match this process' });
    }
    let ofUser = 0;
    for (const other of open) if (other.uid === peer.uid) ofUser += 1;
    if (ofUser >= callsPerUser) throw fail('WORKLOAD_API_BUSY', `user ${peer.uid} has ${callsPerUser} calls open`, { facts: { method, pid: peer.pid } });
    return { peer, services };
  }

  return {
    enter(call, method, { needsHeader }) {
      try {
        const { peer, services } = check(call, method, needsHeader);
        const entered: OpenCall = { method, pid: peer.pid, uid: peer.uid, ...(peer.path !== undefined && { path: peer.path }) };
        open.add(entered);
        calls.inc({ method, outcome: 'ok' });
        return { peer, services, leave: () => open.delete(entered) };
      } catch (error) {
        const outcome = error instanceof IsthmusError ? error.code : 'internal';
        calls.inc({ method, outcome });
        const peer = unixPeerOf(call);
        if (told.take(`user ${peer?.uid}`)) log.warn('workload refused', { method, code: outcome, reason: messageOf(error), uid: peer?.uid, gid: peer?.gid, pid: peer?.pid, path: peer?.path });
        throw error;
      }
    },
    open: () => [...open],
  };
}
