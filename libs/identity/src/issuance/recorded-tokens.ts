// The token store with a record of each change in the cluster's log, so that nobody gets a right that is not in it.
import type { TransparencyLog } from '../transparency-log/log.ts';
import { type Happening, notInForce } from '../transparency-log/record.ts';
import type { TokenStore } from './join-tokens.ts';

/** The same store; each change **throws** IDENTITY_LOG_UNWRITABLE, too, and is not made then. */
export function withRecords(tokens: TokenStore, ledger: TransparencyLog): TokenStore {
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
    removeEntry: (role, agent) => recorded(ledger, [{ kind: 'entry-removed', facts: { role, agent } }], () => tokens.removeEntry(role, agent), (existed) => existed),
    spend: (token) => {
      const { id, agent, role, services } = token.kept;
      return recorded(
        ledger,
        [
          { kind: 'join-token-spent', facts: { id, agent, role } },
          { kind: 'entry-created', facts: { agent, role, services: [...services] } },
        ],
        () => tokens.spend(token),
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
