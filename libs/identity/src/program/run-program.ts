// One question to another program: JSON on its standard input, JSON on its standard output, within a limit of time and size.
import { type ChildProcess, spawn } from 'node:child_process';
import { messageOf } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';

const MAX_ANSWER_BYTES = 64 * 1024;
const MAX_COMPLAINT_BYTES = 4 * 1024;

/**
 * Runs `command` with the question on its standard input and answers with what it wrote. It is killed at the limit.
 * **Throws** Error saying how it ended, with the last line it complained with: exit code, signal, limit, or too much.
 */
export function askProgram(command: readonly string[], question: string, limits: { readonly timeoutMs: number; readonly clock: Clock }): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const [program = '', ...args] = command;
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    let why: string | undefined;
    const stop = (reason: string): void => {
      why ??= reason;
      killGroup(child);
    };
    const timer = limits.clock.setTimer(limits.timeoutMs, () => stop(`it did not answer within ${limits.timeoutMs} ms`));
    const answer = gather(child.stdout, MAX_ANSWER_BYTES, () => stop(`its answer is longer than ${MAX_ANSWER_BYTES} bytes`));
    const complaint = gather(child.stderr, MAX_COMPLAINT_BYTES, () => undefined);
    const end = (how: string | undefined): void => {
      timer.cancel();
      if (how === undefined) return resolve(Buffer.concat(answer));
      const [last] = Buffer.concat(complaint).toString().trim().split('\n').slice(-1);
      reject(new Error(last === undefined || last === '' ? how : `${how}: ${last.slice(0, 200)}`));
    };
    child.once('error', (error) => end(`it cannot be run: ${messageOf(error)}`));
    // A child of its own that stays would hold the pipes open.
    child.once('exit', () => killGroup(child));
    child.once('close', (code, signal) => end(why ?? (code === 0 ? undefined : `it ended with ${signal ?? code}`)));
    // One that ends without reading is told by how it ends.
    child.stdin.on('error', () => undefined);
    child.stdin.end(question);
  });
}

/** The program and whatever it has started; it leads a group of its own. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All have ended.
  }
}

/** The first bytes of a stream; `onMore` once there are more than the bound. */
function gather(stream: NonNullable<ChildProcess['stdout']>, maxBytes: number, onMore: () => void): Buffer[] {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  stream.on('data', (chunk: Buffer) => {
    parts.push(chunk.subarray(0, Math.max(0, maxBytes - sizeBytes)));
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) onMore();
  });
  return parts;
}
