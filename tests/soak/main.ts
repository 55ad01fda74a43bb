// `npm run soak`: the whole federation under load for minutes; a table of what failed and what grew, and a verdict.
import { parseArgs } from 'node:util';
import { writeFileSync } from 'node:fs';
import { soak, type SoakResult } from './soak.ts';

const USAGE = `Usage: npm run soak -- [--minutes N] [--clients N] [--callers N] [--change-ms N] [--json FILE]
  --minutes N     how long to load it (10); memory is judged from 3 on
  --clients N     keep-alive clients that ask vm-1's agent without a pause (16)
  --callers N     callers with a new TLS connection through the gateway for each request (4)
  --change-ms N   an endpoint changes so often (100)
  --json FILE     writes the result to FILE as well

Exit code: 0 nothing failed and nothing grew, 1 otherwise, 64 a wrong flag.
`;
const WRONG_USAGE = 64;

const options = readOptions();
const isLive = process.stderr.isTTY;
const result = await soak({
  ...options,
  ...(isLive
    ? { onSample: (p) => void process.stderr.write(`\r\u001b[K${Math.round(p.elapsedMs / 1_000)} s: ${p.requests} requests, ${p.connections} connections, ${p.changes} changes, ${p.failures} failed`) }
    : {}),
});
if (isLive) process.stderr.write('\r\u001b[K');
process.stdout.write(tableOf(result));
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, undefined, 2)}\n`);
process.exitCode = result.ok ? 0 : 1;

function tableOf(r: SoakResult): string {
  const row = (...cells: readonly (string | number)[]): string => cells.map((cell, i) => (i === 0 ? String(cell).padEnd(14) : String(cell).padStart(11))).join(' ');
  return [
    `${Math.round(r.seconds)} s: ${r.requests} requests (p50 ${r.p50Ms.toFixed(1)} ms, p99 ${r.p99Ms.toFixed(1)} ms), ${r.connections} connections through the gateway, ${r.changes} changes of endpoints`,
    `answered by ${Object.entries(r.byCluster).map(([cluster, count]) => `${cluster} ${count}`).join(', ')}`,
    '',
    row('', 'MiB 1st', '2nd', '3rd third', 'fds 1st', '2nd', '3rd third'),
    ...r.processes.map((p) => `${row(p.name, ...p.residentMib, ...p.descriptors)}${p.ok ? '' : `   ${p.problem}`}`),
    '',
    ...r.failures.map((failure) => `  ${failure}`),
    `${r.ok ? 'ok' : 'FAILED'}: ${r.failureCount} failed, ${r.processes.filter((p) => !p.ok).length} processes grew`,
    '',
  ].join('\n');
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '10' },
        clients: { type: 'string', default: '16' },
        callers: { type: 'string', default: '4' },
        'change-ms': { type: 'string', default: '100' },
        json: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(USAGE);
      process.exit(0);
    }
    const number = (flag: string, text: string, min: number, max: number): number => {
      const value = Number(text);
      if (!(value >= min && value <= max)) throw new TypeError(`${flag} must be a number from ${min} to ${max}, not ${JSON.stringify(text)}`);
      return value;
    };
    return {
      minutes: number('--minutes', values.minutes, 0.1, 10_000),
      clients: number('--clients', values.clients, 1, 1_000),
      callers: number('--callers', values.callers, 0, 1_000),
      changeEveryMs: number('--change-ms', values['change-ms'], 10, 60_000),
      json: values.json,
    };
  } catch (error) {
    process.stderr.write(`soak: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(WRONG_USAGE);
  }
}
