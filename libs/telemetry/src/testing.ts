// A log that keeps its lines, for tests.
import { Writable } from 'node:stream';
import { type Log, openLog } from './log.ts';

/** A log whose lines are kept as parsed JSON. */
export function recordingLog(): { readonly log: Log & { close(): Promise<void> }; readonly lines: readonly Readonly<Record<string, unknown>>[] } {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      for (const line of chunk.toString().split('\n')) if (line !== '') lines.push(JSON.parse(line) as Record<string, unknown>);
      done();
    },
  });
  return { log: openLog({ program: 'test', level: 'debug', format: 'json', stream }), lines };
}
