// The agent's sign of life to the capture rules, which take DNS queries only as long as it comes; and how the agent learns that they are in force.
import { createSocket } from 'node:dgram';
import type { Clock } from '@isthmus/runtime';
import { FAREWELL, HEARTBEAT } from './rules.ts';

export interface Heartbeat {
  /** Whether the rules answered the last sign of life; undefined as long as they may still come. */
  readonly isHeard: boolean | undefined;
  /** Ends it. With `farewell` the rules let queries go their usual way at once; without, a successor goes on. */
  close(options: { readonly farewell: boolean }): Promise<void>;
}

const EVERY_MS = 1_000;
/** At boot the rules come after the agent: their absence is told only once it lasts. */
const FIRST_MISSES = 10;

/**
 * Sends an empty datagram a second. The rules drop it and note the time; whoever sends what is dropped on its way out is
 * told EPERM. So the agent, which has no right to read rules, knows whether they are there. `onChange` hears of each turn.
 */
export function startHeartbeat({ clock, onChange }: { readonly clock: Clock; readonly onChange: (isHeard: boolean) => void }): Heartbeat {
  const socket = createSocket('udp4');
  socket.unref();
  socket.on('error', () => undefined);
  let isHeard: boolean | undefined;
  let misses = 0;
  let timer = clock.setTimer(0, beat);
  function beat(): void {
    socket.send('', HEARTBEAT.port, HEARTBEAT.host, (error) => {
      const now = error !== null && 'code' in error && error.code === 'EPERM';
      if (now || isHeard !== undefined) misses = 0;
      else if (++misses < FIRST_MISSES) return;
      if (now !== isHeard) {
        isHeard = now;
        onChange(now);
      }
    });
    timer = clock.setTimer(EVERY_MS, beat);
  }
  return {
    get isHeard() {
      return isHeard;
    },
    close: async ({ farewell }) => {
      timer.cancel();
      if (farewell) await new Promise<void>((resolve) => socket.send('', FAREWELL.port, FAREWELL.host, () => resolve()));
      socket.close();
    },
  };
}
