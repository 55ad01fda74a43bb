// `npm run bench`: ours beside nginx, HAProxy and Envoy on loopback, interleaved in one run; medians, ratios and aims.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '@isthmus/model';
import { type Options, parseOptions, USAGE } from './options.ts';
import { findProgram, type MissingProgram, type Program, type ProgramName } from './peers/find-program.ts';
import { documentOf, keptName } from './report/document.ts';
import { exitCodeOf, type Result, resultsOf } from './report/results.ts';
import { endText, workloadText } from './report/text.ts';
import { runWorkload } from './run.ts';
import { machine } from './system/machine.ts';
import { WORKLOADS } from './workloads/all.ts';

const WRONG_USAGE = 64;
const INTERRUPTED = 130;
const TOOLS: readonly ProgramName[] = ['wrk', 'h2load', 'openssl'];

const options = readOptions();
let text = '';
const say = (part: string): void => {
  text += part;
  process.stdout.write(part);
};
// Ctrl-C ends the processes that were started, too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(INTERRUPTED));

const programs = new Map<ProgramName, Program>();
const missing: MissingProgram[] = [];
for (const name of new Set<ProgramName>(['nginx', ...options.peers, ...TOOLS])) {
  const found = findProgram(name, name === 'envoy' ? options.envoy : undefined);
  if ('path' in found) programs.set(name, found);
  else missing.push(found);
}

if (options.action === 'help') process.stdout.write(USAGE);
else if (options.action === 'list') process.stdout.write(listText());
else process.exitCode = await run(options);

async function run({ only, rounds, peers, engine, isQuick, isStrict, json, keep }: Options): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
  const { cpu, cores, memoryGiB, system } = machine();
  say(`${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}, Node ${process.version}\n${[...programs.values()].map(({ name, version }) => `${name} ${version}`).join(', ')}\n`);
  for (const { name, hint } of missing) say(`missing: ${name} (${hint})\n`);
  say(`${rounds} round${rounds === 1 ? '' : 's'}; median ± half the range\n${isQuick ? 'quick: the figures mean nothing\n' : ''}`);

  const results: Result[] = [];
  const errors: string[] = [];
  for (const workload of WORKLOADS.filter(({ name }) => only.includes(name))) {
    const measured = await runWorkload({ workload, bench: { programs, scratch, isQuick, engine }, contenders: ['isthmus', ...peers], rounds, onProgress: progress });
    progress('');
    const found = resultsOf(measured);
    say(`\n${workloadText(measured, found)}`);
    results.push(...found);
    errors.push(...measured.errors);
  }
  say(`\n${endText(results, errors)}`);

  const document = `${JSON.stringify(documentOf({ results, programs: [...programs.values()], missing, errors, rounds, isQuick, machine: machine() }), undefined, 2)}\n`;
  if (json !== undefined) writeFileSync(json, document);
  if (keep !== undefined) {
    mkdirSync(keep, { recursive: true });
    const name = join(keep, keptName(machine()));
    writeFileSync(`${name}.json`, document);
    writeFileSync(`${name}.txt`, text);
  }
  return exitCodeOf(results, errors, isStrict);
}

function readOptions(): Options {
  try {
    return parseOptions(process.argv.slice(2), WORKLOADS.map(({ name }) => name));
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${USAGE}`);
    process.exit(WRONG_USAGE);
  }
}

function listText(): string {
  const workloads = WORKLOADS.map(({ name, summary }) => `${name.padEnd(18)} ${summary}\n`);
  const found = [...programs.values()].map(({ name, version, path }) => `${name.padEnd(18)} ${version}, ${path}\n`);
  return [...workloads, '\n', ...found, ...missing.map(({ name, hint }) => `${name.padEnd(18)} missing: ${hint}\n`)].join('');
}

/** One line that replaces itself, for a person who waits; nothing in a file. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001B[2K${line}`);
}
