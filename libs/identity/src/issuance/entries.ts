// Entries in the cluster store: who was admitted, by what method, as whom, and with which services; asked at every issuance.
import { compileSchema, type Entry, parseEntry, quote, Type } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { keys, type Store, type StoreCompare } from '@isthmus/store';
import type { Log } from '@isthmus/telemetry';
import { evidenceRefused, type Verdict } from '../attest/attestor.ts';
import { fail } from '../errors.ts';
import { parseRecord, readRecords } from './records.ts';
import { type Advanced, advanceChain, beginChain, parseSerialChain, type SerialChain } from './serial-chain.ts';

const MAX_ATTEMPTS = 5;

const parseInstance = compileSchema(Type.Object({ agent: Type.String() }));

export type EntryRole = Entry['role'];
export type EntryStore = ReturnType<typeof openEntryStore>;

export function openEntryStore(options: { readonly store: Store; readonly clock: Clock; readonly log: Log }) {
  const { store, clock } = options;

  async function find(role: EntryRole, agent: string): Promise<{ readonly entry: Entry | undefined; readonly compare: StoreCompare }> {
    const key = keys.entry(role, agent);
    const found = await store.get(key);
    if (found === undefined) return { entry: undefined, compare: { key, exists: false } };
    return { entry: parseRecord(found.value, parseEntry), compare: { key, modRevision: found.modRevision } };
  }

  return {
    list: (): Promise<Entry[]> => readRecords(options, keys.entries(), parseEntry),
    /** The entry that stands; one that was removed does not. */
    async get(role: EntryRole, agent: string): Promise<Entry | undefined> {
      const { entry } = await find(role, agent);
      return entry?.removedAtMs === undefined ? entry : undefined;
    },
    /** The names of the gateways that may renew. */
    async gateways(): Promise<readonly string[]> {
      const gateways = await readRecords(options, keys.entries('gateway'), parseEntry);
      return gateways.filter((entry) => entry.removedAtMs === undefined).map((entry) => entry.agent);
    },
    /**
     * Takes the right to renew. What could attest again by itself is kept as removed, so that it stays out.
     * Whether there was an entry that stood.
     */
    async remove(role: EntryRole, agent: string): Promise<boolean> {
      const { entry, compare } = await find(role, agent);
      if (entry === undefined || entry.removedAtMs !== undefined) return false;
      const key = keys.entry(role, agent);
      if (entry.method === undefined || entry.method === 'token') return store.delete(key);
      const removed: Entry = { ...entry, removedAtMs: clock.nowMs() };
      return (await store.txn({ compare: [compare], then: [{ put: { key, value: JSON.stringify(removed) } }] })).ok;
    },
    /** Whether anything keeps this agent or gateway from attesting, that `readmit` would forget. */
    async isBarred(agent: string): Promise<boolean> {
      for (const role of ['agent', 'gateway'] as const) if ((await find(role, agent)).entry?.removedAtMs !== undefined) return true;
      return (await store.list(keys.attestedInstances())).entries.some(({ value }) => agentIn(value) === agent);
    },
    /** Forgets that an agent or gateway was removed, and that its instance joined. Whether anything was forgotten. */
    async readmit(agent: string): Promise<boolean> {
      let found = false;
      for (const role of ['agent', 'gateway'] as const) {
        const { entry, compare } = await find(role, agent);
        if (entry?.removedAtMs === undefined) continue;
        found = (await store.txn({ compare: [compare], then: [{ delete: { key: keys.entry(role, agent) } }] })).ok || found;
      }
      const { entries } = await store.list(keys.attestedInstances());
      const own = entries.filter(({ value }) => agentIn(value) === agent).slice(0, 100);
      if (own.length === 0) return found;
      await store.txn({ compare: [], then: own.map(({ key }) => ({ delete: { key } })) });
      return true;
    },
    /** Notes a renewal: which SVID asked and which it is to get. Whether the one that asked had been renewed by another. */
    async renewed(agent: string, presented: string, issued: string, address: string): Promise<Advanced> {
      const key = keys.serialChain(agent);
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const found = await store.get(key);
        const chain = found === undefined ? undefined : parseRecord(found.value, parseSerialChain);
        const advanced = advanceChain(chain, presented, issued, { nowMs: clock.nowMs(), address });
        const compare = found === undefined ? { key, exists: false } : { key, modRevision: found.modRevision };
        if ((await store.txn({ compare: [compare], then: [{ put: { key, value: JSON.stringify(advanced.chain) } }] })).ok) return advanced;
      }
      throw fail('IDENTITY_RATE_LIMITED', `${agent} is renewed by several at once`, { facts: { retryAfterMs: 1_000 } });
    },
    /** Agents whose identity two held, with how often that showed. */
    async clones(): Promise<ReadonlyMap<string, SerialChain>> {
      const { entries } = await store.list(keys.serialChains());
      const read = entries.map(({ key, value }) => [key.slice(keys.serialChains().length), parseRecord(value, parseSerialChain)] as const);
      return new Map(read.flatMap(([agent, chain]) => (chain?.clones === undefined ? [] : [[agent, chain] as const])));
    },
    /**
     * Whether this verdict may be admitted as things stand, so that what cannot be is refused before anything is signed
     * or recorded. **Throws** as `admit`.
     */
    async check(verdict: Verdict): Promise<void> {
      const { entry } = await find(verdict.role, verdict.agent);
      if (verdict.method !== 'token') refuseOther(entry, verdict);
      for (const compare of verdict.once.compare) {
        if ('exists' in compare && !compare.exists && (await store.get(compare.key)) !== undefined) throw verdict.refusal;
      }
    },
    /**
     * Makes the entry of a verdict and uses up its evidence, in one transaction: of two who come at once, one is refused.
     * A name belongs to the subject that had it first; only an operator’s token takes it over.
     * **Throws** IDENTITY_ATTESTATION_REFUSED, and the verdict's own refusal.
     */
    async admit(verdict: Verdict, serial: string): Promise<Entry> {
      const { agent, role, services, method, subject } = verdict;
      const { entry: before, compare } = await find(role, agent);
      if (method !== 'token') refuseOther(before, verdict);
      const entry: Entry = { kind: 'entry', agent, role, services, joinedAtMs: clock.nowMs(), method, subject };
      const { ok } = await store.txn({
        compare: [...verdict.once.compare, ...(method === 'token' ? [] : [compare])],
        then: [
          ...verdict.once.then,
          { put: { key: keys.entry(role, agent), value: JSON.stringify(entry) } },
          // Gateways share one ID, so their SVIDs make no chain.
          ...(role === 'agent' ? [{ put: { key: keys.serialChain(agent), value: JSON.stringify(beginChain(serial)) } }] : []),
        ],
      });
      if (!ok) throw verdict.refusal;
      return entry;
    },
  };
}

function refuseOther(before: Entry | undefined, { method, subject, agent, role }: Verdict): void {
  if (before === undefined) return;
  if (before.removedAtMs !== undefined) {
    throw evidenceRefused(method, 'removed', `${role} ${agent} was removed by an operator`, { subject, hint: `\`isthmus agent readmit ${agent}\` lets it in again` });
  }
  if (before.method === method && before.subject === subject) return;
  throw evidenceRefused(method, 'name-taken', `the name ${quote(agent)} belongs to another, who joined by ${before.method ?? 'token'}`, {
    subject,
    // What joined by a token is gone when it is removed; anything else is kept as removed until it is readmitted.
    hint: `if it is the same machine: \`isthmus agent remove ${agent}\`${before.method === undefined || before.method === 'token' ? '' : `, then \`isthmus agent readmit ${agent}\``}`,
  });
}

/** The agent an attested instance joined as. */
function agentIn(value: Buffer): string | undefined {
  return parseRecord(value, parseInstance)?.agent;
}
