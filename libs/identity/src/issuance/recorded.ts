// Tokens and entries with a record of each change in the cluster's log, so that nobody gets a right that is not in it.
import type { TransparencyLog } from '../transparency-log/log.ts';
import { type Happening, notInForce } from '../transparency-log/record.ts';
import type { EntryStore } from './entries.ts';
import type { TokenStore } from './join-tokens.ts';

/** The same store; each change **throws** IDENTITY_LOG_UNWRITABLE, too, and is not made then. */
export function withTokenRecords(tokens: TokenStore, ledger: TransparencyLog): TokenStore {
  return {
    ...tokens,
    async create(request, fence) {
      const made = await tokens.create(request, fence);
      const { id, expiresAtMs } = made;
      const { agent, role, services } = request;
      try {
        await ledger.append([{ kind: 'join-token-created', facts: { id, agent, role, services, expiresAtMs } }]);
      } catch (error) {
        // Nobody was told the token: gone, it is as if it never was.
        await tokens.remove(id).catch(() => undefined);
        throw error;
      }
      return made;
    },
    remove: (id) => recorded(ledger, [{ kind: 'join-token-deleted', facts: { id: id.slice(0, 64) } }], () => tokens.remove(id)),
  };
}

/** The same store of entries; each change **throws** IDENTITY_LOG_UNWRITABLE, too, and is not made then. */
export function withEntryRecords(entries: EntryStore, ledger: TransparencyLog): EntryStore {
  return {
    ...entries,
    remove: (role, agent) => recorded(ledger, [{ kind: 'entry-removed', facts: { role, agent } }], () => entries.remove(role, agent), (existed) => existed),
    readmit: (agent) => recorded(ledger, [{ kind: 'entry-readmitted', facts: { agent: agent.slice(0, 64) } }], () => entries.readmit(agent), (existed) => existed),
    admit: (verdict, serial) => {
      const { agent, role, services, method, subject, tokenId } = verdict;
      return recorded(
        ledger,
        [
          ...(tokenId === undefined ? [] : [{ kind: 'join-token-spent', facts: { id: tokenId, agent, role } }]),
          { kind: 'entry-created', facts: { agent, role, services: [...services], method, subject: subject.toWellFormed() } },
        ],
        () => entries.admit(verdict, serial),
      );
    },
  };
}

/** Writes the records, then makes the change; where the change fails or `wasMade` denies it, a further record says so. */
export async function recorded<T>(ledger: TransparencyLog, happenings: readonly Happening[], change: () => Promise<T>, wasMade: (result: T) => boolean = () => true): Promise<T> {
  const { records: end } = await ledger.append(happenings);
  const undo = (): Promise<unknown> => ledger.append(notInForce(end - happenings.length, end)).catch(() => undefined);
  try {
    const result = await change();
    if (!wasMade(result)) await undo();
    return result;
  } catch (error) {
    await undo();
    throw error;
  }
}
