// `watch=true`: a list and its changes as server-sent events, no faster than the caller reads.
import { fail, toProblemDocument } from '@isthmus/api';
import { IsthmusError } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { type ControlPlane, fromJson } from '../control-plane.ts';
import type { Answered, Work } from '../server.ts';
import { toItem } from './read.ts';

const HEARTBEAT_MS = 15_000;
/** A caller that takes nothing for so long is let go. */
const STALL_MS = 60_000;

export type Watches = { open: number; readonly limit: number };

/**
 * Streams a kind: `put` and `delete` for what there is, `synced`, then changes; a comment every 15 s. Nothing is queued
 * here: a caller that is slow holds its stream back to the control plane, which then tells it the latest only.
 */
export async function watchKind(controlPlane: ControlPlane, kind: string, work: Work, watches: Watches, clock: Clock): Promise<Answered> {
  if (watches.open >= watches.limit) throw fail('API_WATCHERS_FULL', `${watches.limit} watches are open already`);
  watches.open += 1;
  const named = work.query['namespace'];
  const isVisible = (key: string): boolean => work.namespaces === 'all' || work.namespaces.has(key.split('/')[0] ?? '');
  const ended = new AbortController();
  const signal = AbortSignal.any([work.signal, ended.signal]);
  const stream = controlPlane.watch(kind, named ?? '', signal);
  try {
    const first = await stream.next();
    work.reply.hijack();
    const { raw } = work.reply;
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'isthmus-request': work.id });
    const write = async (text: string): Promise<void> => {
      if (raw.write(text) || signal.aborted) return;
      await new Promise<void>((resolve) => {
        const stalled = clock.setTimer(STALL_MS, () => ended.abort());
        const done = (): void => {
          stalled.cancel();
          signal.removeEventListener('abort', done);
          raw.off('drain', done);
          resolve();
        };
        raw.once('drain', done);
        signal.addEventListener('abort', done, { once: true });
      });
    };
    void beat(() => raw.writableNeedDrain || raw.write(': heartbeat\n\n'), clock, signal);
    try {
      for (let next = first; next.done !== true && !signal.aborted; next = await stream.next()) {
        const { puts, deletes, state } = next.value;
        const events = [
          ...puts.filter((p) => isVisible(p.key)).map((p) => eventText('put', toItem({ key: p.key, document: fromJson(p.document), revision: p.revision }), p.revision)),
          ...deletes.filter(isVisible).map((key) => eventText('delete', { key }, 0n)),
          ...(state === '' ? [] : [eventText(state, {}, 0n)]),
        ];
        if (events.length > 0) await write(events.join(''));
      }
    } catch (error) {
      // The answer has begun: the problem goes out as its last event.
      if (error instanceof IsthmusError && !signal.aborted) raw.write(eventText('problem', toProblemDocument(error, { instance: work.id }), 0n));
    }
    if (ended.signal.aborted) raw.destroy();
    else raw.end();
    return 'streamed';
  } finally {
    watches.open -= 1;
    ended.abort();
    await stream.return();
  }
}

async function beat(write: () => unknown, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(HEARTBEAT_MS, signal).catch(() => undefined);
    if (!signal.aborted) write();
  }
}

function eventText(event: string, data: object, revision: bigint): string {
  return `${revision > 0n ? `id: ${revision}\n` : ''}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
