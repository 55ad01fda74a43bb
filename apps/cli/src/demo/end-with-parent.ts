// Loaded before a demo process (`--import`): ends it when the demo itself is gone, even by kill -9, by the pipe on descriptor 3 closing.
import { spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { isMainThread } from 'node:worker_threads';

/** How long an orderly stop may take once the demo is gone. */
const STOP_LIMIT_SECONDS = 3;

/**
 * Ends its parent ($1) after a while, for certain: a timer of the process itself would not fire while something keeps its
 * thread, and what ends a process in order may do just that. Where it has another parent by then, the process is gone.
 */
const KILL_LATER = `sleep ${STOP_LIMIT_SECONDS}
read -r _ _ _ parent _ </proc/$$/stat || parent=$1
[ "$parent" != "$1" ] || kill -KILL "$1"`;

// A successor that such a process hands over to has no pipe of the demo: it belongs to the process group, which the demo ends.
if (isMainThread && process.send === undefined) endWithPipe();

function endWithPipe(): void {
  const parent = new Socket({ fd: 3, readable: true, writable: false });
  parent.on('error', end);
  parent.on('close', end);
  parent.resume();
  parent.unref();
}

let isEnding = false;
function end(): void {
  if (isEnding) return;
  isEnding = true;
  const killer = spawn('/bin/sh', ['-c', KILL_LATER, 'sh', String(process.pid)], { stdio: 'ignore', detached: true });
  // No room for one more process: then this one goes at once.
  killer.on('error', () => process.kill(process.pid, 'SIGKILL'));
  killer.unref();
  process.kill(process.pid, 'SIGTERM');
}
