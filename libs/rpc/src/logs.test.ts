// A program's log at its socket: what there is, what comes, and that a reader that went away is forgotten.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { openLog, silentLog } from '@isthmus/telemetry';
import { openChannel } from './channel.ts';
import { type LogLine, LogsClient } from './gen/isthmus/v1/logs.ts';
import { serveLogs } from './logs.ts';
import { startRpcServer } from './server.ts';

test('the newest lines come oldest first, by level, and with follow those that are written later', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-logs-'));
  const log = openLog({ program: 'p', level: 'info', format: 'json', stream: new PassThrough().resume() });
  const server = await startRpcServer({ listen: { unixPath: join(dir, 'p.sock') }, services: [serveLogs(log)], log: silentLog() });
  const channel = openChannel({ address: `unix:${join(dir, 'p.sock')}`, log: silentLog() });
  t.after(async () => {
    channel.close();
    await server.close(500);
    await rm(dir, { recursive: true });
  });
  for (let i = 0; i < 5; i += 1) log.info(`line ${i}`);
  log.warn('grave');
  const client = channel.client(LogsClient);
  const read = async (last: number, level: string): Promise<string[]> => {
    const found: string[] = [];
    for await (const { line } of client.tail({ last, level, follow: false }) as AsyncIterable<LogLine>) found.push((JSON.parse(line) as { msg: string }).msg);
    return found;
  };
  assert.deepEqual(await read(3, ''), ['line 3', 'line 4', 'grave']);
  assert.deepEqual(await read(3, 'warn'), ['grave']);

  const stream = client.tail({ last: 1, level: 'warn', follow: true });
  const lines = stream[Symbol.asyncIterator]() as AsyncIterator<LogLine>;
  assert.equal((JSON.parse((await lines.next()).value.line) as { msg: string }).msg, 'grave');
  log.info('not asked for');
  log.error('later');
  assert.equal((JSON.parse((await lines.next()).value.line) as { msg: string }).msg, 'later');
  stream.on('error', () => undefined);
  stream.cancel();
});
