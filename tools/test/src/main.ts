// `npm test`: every test of the repository, in stages, with totals and the reason of each skip.
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { freshBundles } from '@isthmus/release/bundle-sources';
import { findTests, type Stage } from './find-tests.ts';
import { type FileResult, runFile } from './run-file.ts';
import { endText, fileText, totalsOf } from './summary.ts';

const USAGE = `Usage: npm test -- [--only PATTERN] [--list]
  --only PATTERN  only files whose path contains PATTERN, or matches it as a regular expression
  --list          names the files and runs nothing
`;

const { values } = parseArgs({ options: { only: { type: 'string' }, list: { type: 'boolean' }, help: { type: 'boolean' }, root: { type: 'string' } } });
if (values.help === true) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const root = resolve(values.root ?? new URL('../../..', import.meta.url).pathname);
const stages = findTests(root, values.only);
if (values.list === true) {
  for (const stage of stages) process.stdout.write(`${stage.name}:\n${stage.files.map((file) => `  ${file}\n`).join('')}`);
  process.exit(0);
}

const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => abort.abort());
// Nobody reads on, such as `npm test | head`: the running files end too.
process.stdout.on('error', () => abort.abort());

// Whole processes start from bundles, several times as fast as from their sources; a repository of another root has none.
if (values.root === undefined) process.env['ISTHMUS_BUNDLES'] = await freshBundles();

const results: FileResult[] = [];
for (const stage of stages) {
  process.stdout.write(`\n${stage.name}\n`);
  await runStage(stage);
}
process.stdout.write(`${endText(results)}\n`);
const totals = totalsOf(results);
process.exitCode = totals.failed > 0 || totals.passed === 0 || abort.signal.aborted ? 1 : 0;

async function runStage(stage: Stage): Promise<void> {
  const waiting = [...stage.files];
  const worker = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined && !abort.signal.aborted; file = waiting.shift()) {
      const result = await runFile({ root, file, timeoutMs: stage.timeoutMs, signal: abort.signal });
      results.push(result);
      process.stdout.write(`${fileText(result)}\n`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(stage.concurrency, availableParallelism()) }, worker));
}
