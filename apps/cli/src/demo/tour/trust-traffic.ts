// Traffic that goes on while processes are killed: each kind stops only while the one who sends it, or its only way, is away.
import { type Federation, outboundOf } from '../federation.ts';
import { waitFor } from '../supervisor.ts';
import { LEDGER, names, PAYMENTS } from '../topology.ts';
import { type Load, request, startLoad } from '../traffic.ts';
import { answersFrom } from './step.ts';

const CLIENTS = 2;
const PAUSE_MS = 10;
const SETTLE_LIMIT_MS = 60_000;

export type TrustTrafficFacts = { readonly requests: number; readonly failures: readonly string[]; readonly longestGapMs: number };

export interface TrustTraffic {
  /** Resolves once every kind got so many good answers in a row. */
  settle(answers: number): Promise<void>;
  /** Counts from here. */
  mark(): void;
  facts(): TrustTrafficFacts;
  /** SIGKILL, then a new start; what cannot go another way is held meanwhile. */
  killAndRestart(name: string): Promise<void>;
  stop(): Promise<void>;
}

type Kind = { readonly name: string; readonly agent: string; readonly service: typeof PAYMENTS; readonly needs: readonly string[] };

const VM = 'vm-1';
/** From the VM through its gateway, from each cluster to itself, and across clusters both ways. */
const KINDS: readonly Kind[] = [
  { name: 'vm-1 → payments', agent: VM, service: PAYMENTS, needs: [VM] },
  { name: 'vm-1 → ledger in west', agent: VM, service: LEDGER, needs: [VM, names.gateway('west'), 'west-2'] },
  { name: 'east-2 → payments', agent: 'east-2', service: PAYMENTS, needs: ['east-2'] },
  { name: 'east-1 → ledger in west', agent: 'east-1', service: LEDGER, needs: ['east-1', names.gateway('west'), 'west-2'] },
  { name: 'west-1 → payments', agent: 'west-1', service: PAYMENTS, needs: ['west-1'] },
];

/** Starts all kinds there are processes for. */
export async function openTrustTraffic(federation: Federation): Promise<TrustTraffic> {
  const { supervisor } = federation.options;
  const running = new Map<Kind, Load>();
  const away = new Map<string, number>();
  let past = { requests: 0, failures: [] as string[], longestGapMs: 0 };
  const start = (kind: Kind): void => {
    running.set(kind, startLoad(outboundOf(federation, kind.agent, kind.service), { clients: CLIENTS, pauseMs: PAUSE_MS }));
  };
  const factsOf = (kind: Kind, load: Load): TrustTrafficFacts => {
    const { requests, failures, longestGapMs } = load.facts();
    return { requests, failures: failures.map((why) => `${kind.name}: ${why}`), longestGapMs };
  };
  const sum = (all: readonly TrustTrafficFacts[]) =>
    all.reduce((a, b) => ({ requests: a.requests + b.requests, failures: [...a.failures, ...b.failures], longestGapMs: Math.max(a.longestGapMs, b.longestGapMs) }), { requests: 0, failures: [] as string[], longestGapMs: 0 });
  const stopping = new Map<Kind, Promise<void>>();
  const end = async (kind: Kind, load: Load): Promise<void> => {
    running.delete(kind);
    await load.stop();
    const total = sum([past, factsOf(kind, load)]);
    past = { ...total, failures: [...total.failures] };
  };
  /** What is under way is answered before anything is killed, whoever of several asks. */
  const hold = async (kind: Kind): Promise<void> => {
    const load = running.get(kind);
    if (load !== undefined) stopping.set(kind, end(kind, load));
    await stopping.get(kind);
  };
  const settleOne = (kind: Kind, load: Load, answers: number): Promise<unknown> =>
    Promise.any(['east', 'west'].map((cluster) => answersFrom(load, cluster, answers, SETTLE_LIMIT_MS))).catch(() => {
      throw new Error(`${kind.name} did not settle; last: ${load.facts().failures.at(-1) ?? 'no failure'}`);
    });
  const kinds = KINDS.filter((kind) => kind.needs.every((name) => supervisor.names().includes(name)));
  for (const kind of kinds) start(kind);

  return {
    settle: async (answers) => {
      await Promise.all([...running].map(([kind, load]) => settleOne(kind, load, answers)));
    },
    mark: () => {
      past = { requests: 0, failures: [], longestGapMs: 0 };
      for (const load of running.values()) load.mark();
    },
    facts: () => sum([past, ...[...running].map(([kind, load]) => factsOf(kind, load))]),
    killAndRestart: async (name) => {
      const held = kinds.filter((k) => k.needs.includes(name));
      for (const kind of held) away.set(kind.name, (away.get(kind.name) ?? 0) + 1);
      await Promise.all(held.map(hold));
      await supervisor.kill(name);
      await supervisor.restart(name);
      for (const kind of held) {
        const left = (away.get(kind.name) ?? 1) - 1;
        away.set(kind.name, left);
        if (left > 0) continue;
        // Its only way is open again once the process behind it is known to be well, which is not at its start.
        await waitFor(`an answer for ${kind.name} after its way was away`, SETTLE_LIMIT_MS, async () => ((await request(outboundOf(federation, kind.agent, kind.service))).ok ? true : undefined), 50);
        start(kind);
      }
    },
    stop: async () => {
      await Promise.all([...running.keys()].map(hold));
    },
  };
}
