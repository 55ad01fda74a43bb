// The trust root's log beside its state: which of the two is ahead, and that neither was replaced by an older or other one.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import { openTransparencyLog, type TransparencyLog } from '../transparency-log/log.ts';
import { EMPTY_HEAD, NOT_IN_FORCE, notInForce } from '../transparency-log/record.ts';
import { changesBetween, stateBefore } from './changes.ts';
import type { RootSigner } from './root-signer.ts';
import type { TrustRootState } from './state.ts';

export const LOG_FILE = 'transparency.log';

/** **Throws** IDENTITY_STATE_MISMATCH where a log is without the state it belongs to: that state was lost, and must not be made anew. */
export function refuseLogWithoutState(stateDir: string): void {
  if (!existsSync(join(stateDir, LOG_FILE))) return;
  throw fail('IDENTITY_STATE_MISMATCH', `${stateDir} has a transparency log and no trust-root.state: the state was lost`, {
    hint: 'restore the whole directory from a backup; to begin another federation use another directory',
  });
}

/**
 * Opens the log that belongs to `state`, or begins it with all that the state holds.
 * **Throws** IDENTITY_LOG_BROKEN where the log is missing, shorter than the state knows it, or another one; IDENTITY_LOG_UNWRITABLE.
 */
export async function openRootLog(options: {
  readonly stateDir: string;
  readonly state: TrustRootState;
  /** Signs checkpoints by whatever root signs at the time. */
  readonly sign: RootSigner['checkpoint'];
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: Metrics | undefined;
}): Promise<TransparencyLog> {
  const { stateDir, state, sign, clock, log, metrics } = options;
  const path = join(stateDir, LOG_FILE);
  const known = state.log ?? EMPTY_HEAD;
  const problem = (what: string): Error =>
    fail('IDENTITY_LOG_BROKEN', `${path} ${what}`, { hint: 'restore the log that belongs to this state, or both from one backup', facts: { path } });
  if (state.log !== undefined && !existsSync(path)) throw problem('is missing, and the state knows of one');
  let isFound = known.records === 0;
  let isRestoreTold = state.restored === undefined;
  const opened = await openTransparencyLog({
    path,
    owner: state.federation,
    sign,
    replay: (record) => {
      isRestoreTold ||= record.kind === 'restored' && record.facts['atMs'] === state.restored?.atMs;
      isFound ||= record.index === known.records - 1 && record.hash === known.hash;
    },
    clock,
    log,
    metrics,
  });
  try {
    const { records } = opened.head();
    if (!isFound) throw problem(records < known.records ? `has ${records} records, the state knows of ${known.records}: it was cut` : 'is another log than the one the state knows');
    if (records === 0) await opened.append([{ kind: 'log-opened', facts: { owner: state.federation } }, ...changesBetween(stateBefore(state), state)]);
    else if (records > known.records) await tellNotInForce(opened, known.records, records);
    if (!isRestoreTold && state.restored !== undefined) await opened.append([{ kind: 'restored', facts: { ...state.restored } }]);
    return opened;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Records that were written when the state was not: the change was never told to anybody, and the log says so. */
async function tellNotInForce(opened: TransparencyLog, from: number, to: number): Promise<void> {
  const after = await opened.read(from, to - from);
  // Checkpoints, and what earlier starts said, change nothing that could be in force.
  const told = after.findLast((record) => record.kind === NOT_IN_FORCE)?.index ?? -1;
  const changes = after.filter((record) => record.index > told && !NO_CHANGE.has(record.kind));
  const [first, end] = [changes[0], changes.at(-1)];
  if (first !== undefined && end !== undefined) await opened.append(notInForce(first.index, end.index + 1));
}

const NO_CHANGE: ReadonlySet<string> = new Set(['checkpoint', NOT_IN_FORCE, 'torn-line-cut', 'restored', 'operator-request']);
