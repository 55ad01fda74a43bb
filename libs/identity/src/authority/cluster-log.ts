// A cluster's log: the intermediates it got, the members and bundles it heard of, and by others what it let whom do.
import { sign as signBytes, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { type Bundle, type Member, messageOf } from '@isthmus/model';
import { sha256Hex } from '@isthmus/pki';
import type { Clock, TimerHandle } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { bundleChanges, memberChanges } from '../transparency-log/changes.ts';
import { openTransparencyLog, type TransparencyLog } from '../transparency-log/log.ts';
import type { Facts, Happening, LogRecord } from '../transparency-log/record.ts';
import type { Slot } from './slot.ts';

const RETRY_MS = 5_000;

/** What is in force and belongs into the log. */
export type Observed = { readonly slot: Slot | undefined; readonly members: readonly Member[]; readonly bundles: readonly Bundle[] };

export interface ClusterLog extends TransparencyLog {
  /** Puts into the log what differs from what stands there. Never rejects: trust that was withdrawn is withdrawn on a full disk too; it is written later. */
  observe(): Promise<void>;
}

/** Opens the log of a cluster's authority in `stateDir`. **Throws** IDENTITY_LOG_BROKEN, IDENTITY_LOG_UNWRITABLE. */
export async function openClusterLog(options: {
  readonly stateDir: string;
  readonly trustDomain: string;
  readonly root: Buffer;
  readonly observed: () => Observed;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: Metrics | undefined;
}): Promise<ClusterLog> {
  const { stateDir, trustDomain, root, observed, clock, log, metrics } = options;
  const told = new Told();
  const opened = await openTransparencyLog({
    path: join(stateDir, 'transparency.log'),
    owner: trustDomain,
    sign: async (bytes) => {
      const { slot } = observed();
      if (slot === undefined || slot.expiresAtMs <= clock.nowMs()) throw new Error(`${trustDomain} has no valid intermediate to sign with`);
      const { key } = slot;
      return { signature: signBytes(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', bytes, key), chain: [slot.intermediate, slot.root] };
    },
    replay: (record) => told.take(record),
    clock,
    log,
    metrics,
  });
  let retry: TimerHandle | undefined;
  let isClosed = false;
  let last: Promise<void> = Promise.resolve();
  const write = async (): Promise<void> => {
    retry?.cancel();
    if (isClosed) return;
    const happenings = told.missing(observed(), root, trustDomain, opened.head().records === 0);
    try {
      await opened.append(happenings);
      for (const happening of happenings) told.take(happening);
    } catch (error) {
      log.error('the transparency log lacks what happened; it is written when it can be', { error: messageOf(error), records: happenings.length });
      retry = clock.setTimer(RETRY_MS, () => void observe());
    }
  };
  const observe = (): Promise<void> => (last = last.then(write));
  return {
    path: opened.path,
    head: () => opened.head(),
    isWritable: () => opened.isWritable(),
    append: (happenings) => opened.append(happenings),
    checkpoint: () => opened.checkpoint(),
    read: (fromIndex, limit) => opened.read(fromIndex, limit),
    observe,
    close: async () => {
      isClosed = true;
      retry?.cancel();
      await last;
      await opened.close();
    },
  };
}

/** What the log says is in force, kept small: only what has not been replaced or removed since. */
class Told {
  private readonly members = new Map<string, Member>();
  private readonly bundles = new Map<string, Bundle>();
  private serial: unknown;

  take({ kind, facts }: Pick<LogRecord, 'kind' | 'facts'>): void {
    const [cluster, domain] = [String(facts['cluster']), String(facts['trustDomain'])];
    if (kind === 'intermediate-received') this.serial = facts['serial'];
    else if (kind === 'member-joined' || kind === 'member-changed') this.members.set(cluster, memberOf(facts));
    else if (kind === 'member-removed') this.members.delete(cluster);
    else if (kind === 'bundle') this.bundles.set(domain, { trustDomain: domain, sequence: Number(facts['sequence']), refreshHintSeconds: 1, x509Authorities: [] });
    else if (kind === 'bundle-removed') this.bundles.delete(domain);
  }

  missing({ slot, members, bundles }: Observed, root: Buffer, owner: string, isFirst: boolean): Happening[] {
    return [
      ...(isFirst ? [{ kind: 'log-opened', facts: { owner, rootSha256: sha256Hex(root) } }] : []),
      ...(slot === undefined ? [] : intermediateReceived(slot).filter(({ facts }) => facts['serial'] !== this.serial)),
      ...memberChanges([...this.members.values()], members),
      ...bundleChanges([...this.bundles.values()], bundles),
    ];
  }
}

function memberOf(facts: Facts): Member {
  const { cluster, trustDomain, locality, gateways } = facts;
  return { cluster: String(cluster), trustDomain: String(trustDomain), locality: String(locality), gateways: (Array.isArray(gateways) ? gateways : []).map(String) };
}

function intermediateReceived({ intermediate, trustDomain, expiresAtMs }: Slot): Happening[] {
  const cert = new X509Certificate(intermediate);
  return [
    {
      kind: 'intermediate-received',
      facts: { trustDomain, serial: cert.serialNumber, sha256: sha256Hex(intermediate), expiresAtMs, certificate: intermediate.toString('base64') },
    },
  ];
}
