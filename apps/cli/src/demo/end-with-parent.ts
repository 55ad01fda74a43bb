// Loaded before a demo process (`--import`): ends it when the demo itself is gone, even by kill -9, by the pipe on descriptor 3 closing.
import { Socket } from 'node:net';
import { isMainThread } from 'node:worker_threads';

/** How long an orderly stop may take once the demo is gone. */
const STOP_LIMIT_MS = 3_000;

// A successor that such a process hands over to has no pipe of the demo: it belongs to the process group, which the demo ends.
if (isMainThread && process.send === undefined) endWithPipe();

function endWithPipe(): void {
  const parent = new Socket({ fd: 3, readable: true, writable: false });
  parent.on('error', end);
  parent.on('close', end);
  parent.resume();
  parent.unref();
}

function end(): void {
  process.kill(process.pid, 'SIGTERM');
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), STOP_LIMIT_MS).unref();
}
