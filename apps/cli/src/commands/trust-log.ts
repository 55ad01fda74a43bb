// `isthmus trust log`, `verify-log` and `checkpoint`: what a CA did, and whether its log was changed since.
import { X509Certificate } from 'node:crypto';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { type LogRecord, verifyLog } from '@isthmus/identity';
import { messageOf } from '@isthmus/model';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { withTrustRoot } from '../trust-admin.ts';
import { text } from './cluster.ts';
import { instant } from './token.ts';

const MAX_RECORDS = 1_000;
/** Facts that are long and say nothing to a person; `-o json` shows them. */
const LONG_FACTS: ReadonlySet<string> = new Set(['certificate', 'chain', 'signature', 'head']);

/** Prints records as a table, oldest first. */
export async function showLog(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const last = Number(options['last']);
  if (!Number.isInteger(last) || last < 1 || last > MAX_RECORDS) throw fail('CLI_BAD_INPUT', `--last: must be 1 to ${MAX_RECORDS}`);
  const all = typeof options['file'] === 'string' ? await lastOf(options['file'], last) : await withTrustRoot(context, (api) => api.log(last));
  const kind = options['kind'];
  printRows(context, kind === undefined ? all : all.filter((record) => record.kind === kind), [
    ['index', (r) => r.index],
    ['at', (r) => instant(r.atMs)],
    ['kind', (r) => r.kind],
    ['facts', (r) => Object.entries(r.facts).filter(([name]) => !LONG_FACTS.has(name)).map(([name, value]) => `${name}=${shown(name, value)}`).join(' ')],
    ['hash', (r) => r.hash.slice(0, 12)],
  ]);
}

function shown(name: string, value: unknown): string {
  if (name.endsWith('AtMs')) return instant(value) ?? '-';
  if (name.endsWith('Sha256') || name === 'sha256') return (Array.isArray(value) ? value : [value]).map((hash) => String(hash).slice(0, 12)).join(',');
  return text(value) ?? '-';
}

/** The newest records of a file, which is checked on the way. */
async function lastOf(path: string, last: number): Promise<readonly LogRecord[]> {
  const records: LogRecord[] = [];
  await judged(path, (file) =>
    verifyLog(file, {
      onRecord: (record) => {
        records.push(record);
        if (records.length > 2 * last) records.splice(0, records.length - last);
      },
    }),
  );
  return records.slice(-last);
}

/** Says OK with what the log holds, or fails with the first bad line. */
export async function verifyLogFile(context: CommandContext, [path = '']: readonly string[], options: Options): Promise<void> {
  const checkpoint = options['checkpoint'];
  if (checkpoint !== undefined && (typeof checkpoint !== 'string' || !/^[0-9a-f]{64}$/.test(checkpoint))) {
    throw fail('CLI_BAD_INPUT', '--checkpoint: is no SHA-256 in hex', { hint: '`isthmus trust checkpoint` prints one' });
  }
  const roots = Array.isArray(options['root']) ? await Promise.all(options['root'].map((file) => readRoot(String(file)))) : undefined;
  const verdict = await judged(path, (file) => verifyLog(file, { checkpoint, roots: roots?.flat() }));
  const { head, owner, checkpoints, coveredRecords, byKind, hasTornEnd } = verdict;
  const uncovered = head.records - coveredRecords;
  const lines = [
    `OK: ${head.records} records of ${owner ?? 'an owner no checkpoint names'}, ${checkpoints} checkpoints${roots === undefined ? ', signers not held against a root (--root)' : ' under the given root'}`,
    `head ${head.hash}`,
    ...(uncovered === 0 ? [] : [`the last ${uncovered} records are after the last checkpoint: whether more came after them, only a later one can say`]),
    ...(hasTornEnd ? ['the file ends within a line, as a stop at once leaves it; the program cuts that off at its next start'] : []),
    ...Object.entries(byKind).map(([kind, count]) => `${String(count).padStart(8)}  ${kind}`),
  ];
  printOutcome(context, lines.join('\n'), verdict);
}

/** Signs the head, and prints the hash to keep. */
export async function checkpointLog(context: CommandContext): Promise<void> {
  const head = await withTrustRoot(context, (api) => api.checkpoint());
  printOutcome(context, head.hash, head);
}

type Verdict = Awaited<ReturnType<typeof verifyLog>>;

async function judged(path: string, judge: (file: FileHandle) => Promise<Verdict>): Promise<Extract<Verdict, { ok: true }>> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw fail('CLI_BAD_INPUT', `cannot read ${path}: ${messageOf(error)}`);
  });
  const verdict = await judge(file).finally(() => file.close());
  if (verdict.ok) return verdict;
  throw fail('CLI_LOG_BROKEN', `${path}, line ${verdict.line}: ${verdict.why}`, {
    hint: `the ${verdict.head.records} records before hold; compare with a copy that was kept elsewhere`,
    facts: { line: verdict.line, records: verdict.head.records, head: verdict.head.hash },
  });
}

async function readRoot(path: string): Promise<Buffer[]> {
  try {
    const pem = await readFile(path, 'utf8');
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) throw new TypeError('it holds no PEM certificate');
    return blocks.map((block) => new X509Certificate(block).raw);
  } catch (error) {
    throw fail('CLI_BAD_INPUT', `--root ${path}: ${messageOf(error)}`);
  }
}
