// What node:test tells of a run, as JSON lines: read by run-file.ts, so that totals never depend on text made for people.
import { AssertionError } from 'node:assert/strict';
import { inspect } from 'node:util';
import type { TestEvent } from 'node:test/reporters';

/** One test that ended. `isTest` is false for suites, and for a parent that failed only because a child did. */
export type Ended = {
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly name: string;
  readonly durationMs: number;
  /** Why it was skipped, or what went wrong. */
  readonly reason?: string;
  readonly line?: number;
};

// The default export is Node's own demand on reporters.
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string, void> {
  const parents: string[] = [];
  for await (const event of events) {
    if (event.type === 'test:start') parents[event.data.nesting] = event.data.name;
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const ended = toEnded(event, parents);
    if (ended !== undefined) yield `${JSON.stringify(ended)}\n`;
  }
}

/** The end of a test, or undefined for what is none of its own: a suite, or a parent whose child failed. */
export function toEnded(event: Extract<TestEvent, { type: 'test:pass' | 'test:fail' }>, parents: readonly string[]): Ended | undefined {
  const { data } = event;
  const base = {
    name: [...parents.slice(0, data.nesting), data.name].join(' › '),
    durationMs: data.details.duration_ms,
    ...(data.line !== undefined && { line: data.line }),
  };
  if (data.skip !== undefined && data.skip !== false) return { outcome: 'skipped', ...base, reason: typeof data.skip === 'string' && data.skip !== '' ? data.skip : 'no reason given' };
  if (data.todo !== undefined && data.todo !== false) return { outcome: 'skipped', ...base, reason: `to do${typeof data.todo === 'string' ? `: ${data.todo}` : ''}` };
  if (event.type === 'test:pass') return data.details.type === 'suite' ? undefined : { outcome: 'passed', ...base };
  const error: unknown = event.data.details.error;
  if (failureTypeOf(error) === 'subtestsFailed') return undefined;
  return { outcome: 'failed', ...base, reason: describe(error) };
}

function failureTypeOf(error: unknown): unknown {
  return error instanceof Error && 'failureType' in error ? error.failureType : undefined;
}

/** The cause is what the test threw; the error around it is the runner's. */
function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (typeof cause === 'string') return cause;
  // An assertion's message holds both values already; inspecting it would print them again.
  const text = cause instanceof AssertionError ? (cause.stack ?? cause.message) : inspect(cause, { depth: 5, colors: false });
  return text
    .split('\n')
    .filter((line) => !/^\s*at .*\bnode:/.test(line))
    .join('\n')
    .trimEnd();
}
