// A program's newest log lines at its Unix socket: what there is, and with `follow` what comes; a slow reader misses lines and is told how many.
import { isAtLeast, type LogLevel, type RecentLine, type RecentLines } from '@isthmus/telemetry';
import { type LogLine, type LogsServer, LogsService } from './gen/isthmus/v1/logs.ts';
import type { RpcService } from './server.ts';

/** Readers that follow at once; further ones get what there is and their end. */
const MAX_FOLLOWERS = 32;

/** For `startRpcServer` on a Unix socket: it asks for no identity. */
export function serveLogs({ recent }: { readonly recent: RecentLines }): RpcService {
  let followers = 0;
  const implementation: LogsServer = {
    tail: (call) => {
      const { last, level: wanted, follow } = call.request;
      const level = levelOf(wanted);
      let [isBlocked, lost] = [false, 0];
      const send = (line: RecentLine): void => {
        if (isBlocked) {
          lost += 1;
          return;
        }
        const message: LogLine = { level: line.level, line: line.line, lost: BigInt(lost) };
        lost = 0;
        isBlocked = !call.write(message);
      };
      // What there is fits the ring, so all of it is handed over at once.
      for (const { level: of, line } of recent.last(last, level)) call.write({ level: of, line, lost: 0n });
      if (!follow || followers >= MAX_FOLLOWERS) {
        call.end();
        return;
      }
      followers += 1;
      const unsubscribe = recent.onLine((line) => {
        if (isAtLeast(line.level, level)) send(line);
      });
      let isOpen = true;
      const stop = (): void => {
        if (isOpen) followers -= 1;
        isOpen = false;
        unsubscribe();
      };
      call.on('drain', () => (isBlocked = false));
      for (const event of ['cancelled', 'close', 'error'] as const) call.on(event, stop);
    },
  };
  return { definition: LogsService, implementation };
}

function levelOf(text: string): LogLevel {
  return text === 'error' || text === 'warn' || text === 'info' ? text : 'debug';
}
