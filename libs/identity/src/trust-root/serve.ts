// The trust root's gRPC faces: members and joiners on TLS, the operator on a Unix socket.
import { roleOf } from '@isthmus/model';
import { callerOf, handleUnary, toServiceError, type trust } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { Head } from '../transparency-log/record.ts';
import { tokenRefused } from '../token.ts';
import type { Root } from './root.ts';
import { readRotateCommand, type RotationDocument, type Rotor } from './rotor.ts';

type ViewStream = Parameters<trust.TrustRootServer['watchFederation']>[0];

/** For members and joining clusters; `close` ends the open streams. */
export function serveTrustRoot(root: Root, rotor: Rotor, log: Log): { readonly implementation: trust.TrustRootServer; close(): void } {
  const streams = new Set<() => void>();
  const implementation: trust.TrustRootServer = {
    joinCluster: handleUnary(async ({ token, csr, self }) => {
      try {
        if (token === '') throw tokenRefused('there is none');
        const issued = await root.join(token, csr, self);
        return { chain: issued.chain, federation: issued.view };
      } catch (error) {
        // The one audit line of a refusal: who it claims to be, and why not; never the token.
        log.warn('cluster join refused', { cluster: self?.cluster.slice(0, 64) ?? '', reason: error instanceof Error ? error.message : '' });
        throw error;
      }
    }, log),
    renewIntermediate: handleUnary(async ({ csr, self }, call) => {
      const issued = await root.renew(memberCalling(root, call), csr, self);
      return { chain: issued.chain, federation: issued.view };
    }, log),
    watchFederation: (call) => {
      streamView(root, rotor, call, streams);
    },
    publishJwtKeys: handleUnary(async ({ keys }, call) => root.publishJwtKeys(memberCalling(root, call), keys), log),
    reportTrust: handleUnary(async (report, call) => {
      const member = root.memberOf(memberCalling(root, call));
      if (member !== undefined) rotor.report(member, report);
      return {};
    }, log),
  };
  return {
    implementation,
    close: () => {
      for (const end of streams) end();
    },
  };
}

const DEFAULT_LOG_RECORDS = 100;
/** A record is mostly under 1 KiB, and an answer under 4 MiB. */
const MAX_LOG_RECORDS = 1_000;

function headToWire({ records, hash }: Head): trust.LogHead {
  return { records: BigInt(records), hash };
}

/** What an operator may ask for, whichever way: the changes and the readings. */
export type OperatorWork = ReturnType<typeof operatorWork>;
export function operatorWork(root: Root, rotor: Rotor) {
  return {
    createClusterToken: async (request: trust.CreateClusterTokenRequest): Promise<trust.CreateClusterTokenResponse> => {
      const { token, id, expiresAtMs } = await root.createToken(request);
      return { token, id, expiresAtMs: BigInt(expiresAtMs), replayed: false };
    },
    removeCluster: async ({ cluster }: trust.RemoveClusterRequest): Promise<trust.RemoveClusterResponse> => {
      await root.remove(cluster);
      return { replayed: false };
    },
    fenceCluster: async ({ cluster, reason }: trust.FenceClusterRequest): Promise<trust.FenceClusterResponse> => {
      await root.fence(cluster, reason);
      return { replayed: false };
    },
    unfenceCluster: async ({ cluster }: trust.UnfenceClusterRequest): Promise<trust.UnfenceClusterResponse> => {
      await root.unfence(cluster);
      return { replayed: false };
    },
    rotate: async (request: trust.RotateRequest): Promise<trust.RotationStatus> => toWire(await rotor.command(readRotateCommand(request))),
    rotation: (): trust.RotationStatus => toWire(rotor.document()),
  };
}

/** For the operator, who is whoever may open the Unix socket. */
export function serveTrustRootAdmin(root: Root, work: OperatorWork, log: Log): trust.TrustRootAdminServer {
  return {
    createClusterToken: handleUnary(work.createClusterToken, log),
    removeCluster: handleUnary(work.removeCluster, log),
    fenceCluster: handleUnary(work.fenceCluster, log),
    unfenceCluster: handleUnary(work.unfenceCluster, log),
    getFederation: handleUnary(async () => root.view(), log),
    rotate: handleUnary(work.rotate, log),
    getRotation: handleUnary(async () => work.rotation(), log),
    getLog: handleUnary(async ({ last }) => {
      const head = root.ledger.head();
      const limit = Math.min(last === 0 ? DEFAULT_LOG_RECORDS : last, MAX_LOG_RECORDS);
      const records = await root.ledger.read(Math.max(0, head.records - limit), limit);
      return { records: records.map((record) => Buffer.from(JSON.stringify(record))), head: headToWire(head) };
    }, log),
    checkpointLog: handleUnary(async () => headToWire(await root.ledger.checkpoint()), log),
  };
}

function toWire(document: RotationDocument): trust.RotationStatus {
  return { document: Buffer.from(JSON.stringify(document)), replayed: false };
}

/** The trust domain of the calling control plane. **Throws** IDENTITY_DENIED for every other caller. */
function memberCalling(root: Root, call: Parameters<typeof callerOf>[0]): string {
  const caller = callerOf(call);
  if (caller === undefined) throw fail('IDENTITY_DENIED', 'this call needs a client certificate');
  if (roleOf(caller.spiffeId).kind !== 'control-plane') throw fail('IDENTITY_DENIED', 'only a member’s control plane may call this', { facts: { caller: caller.spiffeId } });
  if (root.memberOf(caller.trustDomain) === undefined) {
    throw fail('IDENTITY_DENIED', `${caller.trustDomain} is no member of this federation`, { facts: { caller: caller.spiffeId } });
  }
  return caller.trustDomain;
}

/** Sends the whole view now and at every change; a reader that is slow gets the newest and nothing in between. */
function streamView(root: Root, rotor: Rotor, call: ViewStream, streams: Set<() => void>): void {
  let isBlocked = false;
  let isDirty = false;
  const send = (): void => {
    try {
      memberCalling(root, call);
    } catch (error) {
      stop();
      call.emit('error', toServiceError(error));
      return;
    }
    isDirty = isBlocked;
    if (!isBlocked) isBlocked = !call.write(root.view());
  };
  const unsubscribe = root.onView(send);
  const trustDomain = callerOf(call)?.trustDomain ?? '';
  let isOpen = true;
  rotor.members.stream(trustDomain, 1);
  const stop = (): void => {
    if (isOpen) rotor.members.stream(trustDomain, -1);
    isOpen = false;
    unsubscribe();
    streams.delete(end);
  };
  const end = (): void => {
    stop();
    call.end();
  };
  streams.add(end);
  call.on('drain', () => {
    isBlocked = false;
    if (isDirty) send();
  });
  call.on('cancelled', stop);
  call.on('close', stop);
  call.on('error', stop);
  send();
}
