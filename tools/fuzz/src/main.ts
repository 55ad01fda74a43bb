// `npm run fuzz`: mutated inputs into every parser that has a target, reproducible by seed; what breaks one is kept.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { endText, findingText, progressText, resultText } from './report.ts';
import { runTarget, type TargetResult } from './run-target.ts';
import { fileLabel, findTargets } from './target.ts';

const USAGE = `Usage: npm run fuzz -- [--only NAME] [--inputs N] [--seconds N] [--seed S] [--output text|json] [--list]
  --only NAME      targets whose file's path contains NAME
  --inputs N       inputs for each target (1000000); 0 only runs those that once broke something
  --seconds N      at most so long for each target
  --seed S         the same seed makes the same inputs (1)
  --hang-ms N      one input may run so long (5000)
  --output FORM    text, or json: one document at the end
  --list           names the targets and runs nothing

A finding is made small, written to testdata/fuzz/<target>/ beside the target, and every later run begins with it.
Exit code: 0 nothing found, 1 a finding, 64 a wrong flag, 65 a file that is no target.
`;
const WRONG_USAGE = 64;
const NO_TARGET = 65;

const options = readOptions();
const root = options.root;
const files = findTargets(root).filter((file) => options.only === undefined || file.includes(options.only));
if (options.isList) {
  process.stdout.write(files.map((file) => `${fileLabel(file).padEnd(20)} ${file}\n`).join(''));
  process.exit(0);
}
if (files.length === 0) refuse(`no target's path contains ${JSON.stringify(options.only ?? '')}; --list names them all`);

const results: TargetResult[] = [];
const isLive = process.stderr.isTTY && !options.isJson;
for (const file of files) {
  const result = await runTarget({
    root,
    file,
    seed: options.seed,
    inputs: options.inputs,
    hangMs: options.hangMs,
    ...(options.seconds === undefined ? {} : { seconds: options.seconds }),
    ...(isLive ? { onProgress: (progress) => void process.stderr.write(`\r\u001b[K${progressText(progress)}`) } : {}),
  });
  results.push(result);
  if (isLive) process.stderr.write('\r\u001b[K');
  if (options.isJson) continue;
  process.stdout.write(`${resultText(result)}\n`);
  if (result.finding !== undefined) process.stdout.write(findingText(result));
}
process.stdout.write(options.isJson ? `${JSON.stringify({ seed: options.seed, results }, undefined, 2)}\n` : endText(results));
if (results.some((r) => r.invalid !== undefined)) process.exitCode = NO_TARGET;
else if (results.some((r) => r.finding !== undefined)) process.exitCode = 1;

function refuse(why: string): never {
  process.stderr.write(`fuzz: ${why}\n`);
  process.exit(WRONG_USAGE);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        only: { type: 'string' },
        inputs: { type: 'string', default: '1000000' },
        seconds: { type: 'string' },
        seed: { type: 'string', default: '1' },
        'hang-ms': { type: 'string', default: '5000' },
        output: { type: 'string', default: 'text' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        root: { type: 'string' },
      },
    }));
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
  if (values.help) {
    process.stdout.write(USAGE);
    process.exit(0);
  }
  if (values.output !== 'text' && values.output !== 'json') refuse('--output is text or json');
  return {
    root: resolve(values.root ?? new URL('../../..', import.meta.url).pathname),
    only: values.only,
    inputs: integer('--inputs', values.inputs, 0, 2_000_000_000),
    seconds: values.seconds === undefined ? undefined : integer('--seconds', values.seconds, 1, 1_000_000),
    seed: integer('--seed', values.seed, 0, 0xffff_ffff),
    hangMs: integer('--hang-ms', values['hang-ms'], 200, 600_000),
    isJson: values.output === 'json',
    isList: values.list,
  };
}

function integer(flag: string, text: string, min: number, max: number): number {
  const value = Number(text.replaceAll('_', ''));
  return Number.isInteger(value) && value >= min && value <= max ? value : refuse(`${flag} must be a whole number from ${min} to ${max}, not ${JSON.stringify(text)}`);
}
