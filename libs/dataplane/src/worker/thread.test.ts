import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@isthmus/runtime';
import { startThread } from './thread.ts';

const skip = process.platform === 'linux' ? false : 'threads of the Linux engine';

test('what lives as long as a request is collected young, whatever lived longer before', { skip }, async () => {
  const grown = Promise.withResolvers<readonly number[]>();
  const thread = await startThread<never, { readonly kind: 'grown'; readonly bytes: readonly number[] }>({
    script: new URL('./testing-garbage.ts', import.meta.url),
    data: {},
    onMessage: ({ bytes }) => grown.resolve(bytes),
    onExit: (error) => grown.reject(error ?? new Error('the thread ended')),
    clock: systemClock,
  });
  try {
    for (const bytes of await grown.promise) assert.ok(bytes < 2_000_000, `old space grew by ${bytes} bytes`);
  } finally {
    thread.kill();
    await thread.ended;
  }
});
